// A recipient in a process of its own that ends itself with SIGKILL at a given step. Says what it did, a line each.
import { readFileSync, writeSync } from 'node:fs';
import { checkIdentityCertificate, type Trust } from '../../../node/identity/certificate.ts';
import { importIdentityKeys } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { decodeRing } from '../../../node/identity/ring.ts';
import { localRecipient } from '../../../node/notify/local-recipient.ts';
import { openSeenIds } from '../../../node/notify/seen.ts';

const [file = '', dir = '', step = ''] = process.argv.slice(2);
const facts = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
const bytes = (name: string): Uint8Array => Buffer.from(facts[name] ?? '', 'base64');
const say = (line: string): number => writeSync(1, `${line}\n`);
const dieAt = (here: string): void => {
  if (step === here) process.kill(process.pid, 'SIGKILL');
};

const read = decodeRing(bytes('ring'));
if (read.kind === 'invalid') throw new Error(read.reason);
const now = Number(facts['now']);
const trust: Trust = { ring: read.ring, revocations: new RevocationState(read.ring, bytes('revocations')), now };
const me = checkIdentityCertificate(bytes('certificate'), trust);
if (me.kind !== 'valid') throw new Error(me.kind);

const disk = openSeenIds({ dir, now: () => now });
const seen = {
  ...disk,
  async keep(...row: Parameters<typeof disk.keep>) {
    dieAt('before the mark');
    await disk.keep(...row);
    dieAt('after the mark');
  },
};
const accept = localRecipient({
  keys: importIdentityKeys(bytes('keys')),
  certificate: me.certificate,
  trust: () => trust,
  seen,
  now: () => now,
  handle: async () => {
    say('handled');
    dieAt('in the handler');
    return { verdict: 'accepted' };
  },
});
const receipt = await accept(bytes('sealed'));
say(`receipt ${Buffer.from(receipt ?? []).toString('base64')}`);
await disk.stop();
