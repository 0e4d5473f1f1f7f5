// A node in a process of its own, for tests that stop or kill it. Takes its options as JSON on stdin, prints its address when it listens.
import { text } from 'node:stream/consumers';
import { checkNodeCertificate } from '../../../node/identity/certificate.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { decodeRing } from '../../../node/identity/ring.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { silentLog } from './fake-overlay.ts';

type Given = { ring: string; seed: string; certificate: string; bootstrap: string[]; dir: string };
const given = JSON.parse(await text(process.stdin)) as Given;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

const ring = decodeRing(bytes(given.ring));
if (ring.kind === 'invalid') throw new Error(ring.reason);
const trust = { ring: ring.ring, revocations: new RevocationState(ring.ring), now: Date.now() };
const check = checkNodeCertificate(bytes(given.certificate), trust);
if (check.kind === 'invalid') throw new Error(check.reason);
const overlay = await startOverlay({
  ring: ring.ring,
  peerSeed: bytes(given.seed),
  certificate: check.certificate,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: given.bootstrap,
  dir: given.dir,
  now: Date.now,
  log: silentLog,
});
overlay.handle('echo', async (body) => body);
process.stdout.write(`${overlay.self.addresses[0]}\n`);
