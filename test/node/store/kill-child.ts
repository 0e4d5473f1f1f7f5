/**
 * Does a fixed row of changes to a store's disk, and prints what is there after each. Arguments: the folder, and where to die as by a power
 * cut: the number of the commit, and the moment in it. Without these it lives to the end.
 */
import { writeSync } from 'node:fs';
import { open, type RootDatabase } from 'lmdb';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { sha256 } from '../../../node/store/block-cipher.ts';
import { diskOn } from '../../../node/store/disk.ts';
import { makeHead } from '../../../node/store/head.ts';
import type { Address } from '../../../policy/address.ts';
import { dump, type killMoments, openOptions, storeFile } from './kill-dump.ts';

const [dir = '', commit = '-1', moment = ''] = process.argv.slice(2);
const die = (): void => {
  process.kill(process.pid, 'SIGKILL');
};

const lease = { identity: 'alice@example.org' as Address, until: 2_000_000_000_000 };
const blockOf = (text: string | Uint8Array) => ({ key: sha256(text), bytes: Buffer.from(text) });

let commits = 0;
/** The engine, with a death in it. */
function deadly(root: RootDatabase<Buffer, string>): RootDatabase<Buffer, string> {
  return new Proxy(root, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'transaction') return typeof value === 'function' ? value.bind(target) : value;
      return async (work: () => unknown) => {
        const mine = commits++ === Number(commit);
        const at = (which: (typeof killMoments)[number]): boolean => mine && moment === which;
        if (at('before')) die();
        const done = await target.transaction(() => {
          const result = work();
          if (at('within')) die();
          if (at('while it is written')) setImmediate(die);
          return result;
        });
        if (at('after')) die();
        return done;
      };
    },
  });
}

const root = open<Buffer, string>({ path: storeFile(dir), ...openOptions });
const disk = diskOn(deadly(root));
const { blocks } = disk;
const paid = (payer: string) => ({ ...lease, payer });
const terms = { now: 1_000, payer: '*owner@example.org', allowance: () => 100_000 };
const small = [1, 2, 3].map((number) => blockOf(`block ${number}`));
const large = blockOf(Buffer.alloc(60_000, 7));
const keys = small.map(({ key }) => key);
const all = () => true;

const steps: (() => Promise<unknown>)[] = [
  () =>
    blocks.put(
      small.map((block) => ({ ...block, leases: [paid(lease.identity)] })),
      terms,
    ),
  () => blocks.put([{ ...large, leases: [paid(terms.payer)] }], terms),
  () => blocks.put([{ ...blockOf('without a lease'), leases: [] }], terms),
  () => blocks.renew(keys, () => [{ ...paid(lease.identity), until: lease.until + 1_000 }]),
  () => blocks.trash([...keys, large.key], { now: 2_000, misplaced: false }, all),
  () => blocks.restore(keys[0] ?? large.key, 3_000, terms.payer),
  () => blocks.empty([keys[1] ?? large.key, large.key], 2_500),
  () =>
    disk.heads.put(
      makeHead(
        { logId: new Uint8Array(32), version: 1, parents: [], at: 1, body: Buffer.of(1) },
        signingKeyFromSeed(new Uint8Array(32).fill(3)),
      ),
    ),
];

for (const step of steps) {
  await step();
  writeSync(1, `${dump(disk)}\n`);
}
await disk.close();
