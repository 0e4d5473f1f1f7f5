import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PendingTable } from '../../../node/notify/pending-table.ts';
import { itemOf, readReceipt } from '../../../node/notify/receipt.ts';
import { compose } from '../../../node/notify/sealed.ts';
import { openTables } from '../../../node/notify/table.ts';
import { Network } from './network.ts';

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-crash-'));
});
afterEach(async () => rm(root, { recursive: true, force: true }));

describe('a recipient killed with -9', () => {
  const rows: [step: string, handled: number][] = [
    // The handler must bear it: it is idempotent by id.
    ['in the handler', 2],
    ['before the mark', 2],
    ['after the mark', 1],
  ];
  it.each(rows)(
    '%s has the notification handled %i times in all and answers it after the restart',
    async (step, handled) => {
      const network = new Network();
      const [alice, bob] = [network.person('alice'), network.person('bob')];
      const sealed = compose({
        from: { certificate: alice.certificate, signing: alice.keys.signing },
        to: bob.certificate,
        id: Buffer.from('1'),
        body: Buffer.from('letter'),
        now: network.now,
      });
      const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
      const facts = {
        ring: base64(network.authority.ringBytes()),
        revocations: base64(network.revocations.bytes() ?? new Uint8Array()),
        certificate: base64(bob.certificate.bytes),
        keys: base64(bob.keys.export()),
        sealed: base64(sealed.bytes),
        now: String(network.now),
      };
      await writeFile(`${root}/facts`, JSON.stringify(facts));
      const run = (at: string) =>
        spawnSync(process.execPath, [script('dying-recipient.ts'), `${root}/facts`, `${root}/seen`, at], {
          encoding: 'utf8',
        });
      const first = run(step);
      expect(first.signal).toBe('SIGKILL');
      const second = run('never');
      expect(second.stderr).toBe('');
      const lines = `${first.stdout}${second.stdout}`.trim().split('\n');
      expect(lines.filter((line) => line === 'handled')).toHaveLength(handled);
      const [receipt = ''] = lines.filter((line) => line.startsWith('receipt'));
      const read = readReceipt(Buffer.from(receipt.slice(8), 'base64'));
      expect(read?.receipt).toMatchObject({ verdict: 'accepted', by: 'bob@example.org' });
      // And the third time it says the very same.
      expect(run('never').stdout.trim()).toBe(receipt);
    },
  );
});

it('a holder killed with -9 still has everything that it said it kept', async () => {
  const holder = spawn(process.execPath, [script('dying-holder.ts'), `${root}/held`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  holder.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (said.length > 3000) holder.kill('SIGKILL');
  });
  await new Promise((resolve) => holder.on('close', resolve));
  // The last line may have been cut in two.
  const numbers = said.slice(0, said.lastIndexOf('\n')).split('\n').map(Number);
  expect(numbers.length).toBeGreaterThan(300);
  const tables = openTables(`${root}/held`);
  const table = new PendingTable(tables);
  for (const number of numbers) {
    const id = Buffer.alloc(32);
    id.writeUInt32BE(number);
    const bytes = Buffer.alloc(1000, number);
    expect(table.has({ to: Buffer.alloc(32, 1), id, item: itemOf(bytes) })).toBe(true);
  }
  expect(table.stats().items).toBeGreaterThanOrEqual(numbers.length);
  await tables.close();
});
