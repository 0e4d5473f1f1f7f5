// Several nodes in a process of their own, each with a store; lying ones where that is wanted. Takes its options as JSON on stdin, prints `ready` when all listen.
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { checkNodeCertificate } from '../../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { decodeRing } from '../../../node/identity/ring.ts';
import type { TableBounds } from '../../../node/overlay/member-table.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { openStore } from '../../../node/store/store.ts';
import { silentLog } from './fake-overlay.ts';
import { lieInLookups } from './lying-lookups.ts';

type Given = {
  ring: string;
  list: string;
  bootstrap: string[];
  table: TableBounds;
  nodes: { seed: string; certificate: string; dir: string }[];
  lying: boolean;
};
const given = JSON.parse(await text(process.stdin)) as Given;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

const ring = decodeRing(bytes(given.ring));
if (ring.kind === 'invalid') throw new Error(ring.reason);
const revocations = bytes(given.list);
const trust = { ring: ring.ring, revocations: new RevocationState(ring.ring, revocations), now: Date.now() };
if (given.lying) lieInLookups(given.nodes.map(({ seed }) => signingKeyFromSeed(bytes(seed)).public));
for (const node of given.nodes) {
  const check = checkNodeCertificate(bytes(node.certificate), trust);
  if (check.kind === 'invalid') throw new Error(check.reason);
  const overlay = await startOverlay({
    ring: ring.ring,
    peerSeed: bytes(node.seed),
    certificate: check.certificate,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: given.bootstrap,
    dir: path.join(node.dir, 'overlay'),
    revocations,
    table: given.table,
    now: Date.now,
    log: silentLog,
  });
  overlay.handle('echo', async (body) => body);
  await openStore({ overlay, dir: path.join(node.dir, 'store'), now: Date.now, log: silentLog });
}
process.stdout.write('ready\n');
