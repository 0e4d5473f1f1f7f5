import { describe, expect, it } from 'vitest';
import { allowanceAt } from '../../../node/store/claims.ts';
import { type Disk, diskOn } from '../../../node/store/disk.ts';
import { MemoryEngine } from '../../simulation/memory-engine.ts';
import { blockOf, lease } from './store-ring.ts';

const block = blockOf('twelve bytes');
const terms = { now: 1_000, payer: '*neighbour@example.org', allowance: () => 1_000 };
const own = { ...lease, payer: lease.identity };
const brought = { ...lease, payer: '*neighbour@example.org' };

function accounts(disk: Disk): Record<string, number> {
  return Object.fromEntries(disk.blocks.leases.accounts(10).map(({ payer, bytes }) => [payer, bytes]));
}

describe('who pays for a block', () => {
  it('is whoever brings it in another’s name, until that one confirms it; then that one, and it stays so', async () => {
    const disk = diskOn(new MemoryEngine().asRoot());
    await disk.blocks.put([{ ...block, leases: [brought] }], terms);
    expect(accounts(disk)).toEqual({ '*neighbour@example.org': 12 });
    await disk.blocks.renew([block.key], () => [own]);
    expect(accounts(disk)).toEqual({ [lease.identity]: 12 });
    await disk.blocks.put([{ ...block, leases: [{ ...brought, until: lease.until + 1 }] }], terms);
    expect(accounts(disk)).toEqual({ [lease.identity]: 12 });
    expect(disk.blocks.leases.of(block.key)).toEqual([{ ...own, until: lease.until + 1 }]);
  });

  it('is everyone who leases it, in full', async () => {
    const disk = diskOn(new MemoryEngine().asRoot());
    const other = { ...own, identity: terms.payer.slice(1) as typeof own.identity, payer: terms.payer.slice(1) };
    await disk.blocks.put([{ ...block, leases: [own, other] }], terms);
    expect(accounts(disk)).toEqual({ [own.identity]: 12, [other.identity]: 12 });
  });

  it('of one without a lease is whose node brought it, until a lease comes', async () => {
    const disk = diskOn(new MemoryEngine().asRoot());
    await disk.blocks.put([{ ...block, leases: [] }], terms);
    expect([accounts(disk), disk.blocks.leases.orphanSince(block.key)]).toEqual([{ [terms.payer]: 12 }, 1_000]);
    await disk.blocks.renew([block.key], () => [own]);
    expect([accounts(disk), disk.blocks.leases.orphanSince(block.key)]).toEqual([{ [own.identity]: 12 }, undefined]);
  });

  it('of one from before there were accounts is nobody, until its lease is renewed', async () => {
    const engine = new MemoryEngine();
    const disk = diskOn(engine.asRoot());
    const until = Buffer.alloc(8);
    until.writeBigUInt64BE(BigInt(lease.until));
    engine.openDB('blocks').putSync(block.key, block.bytes);
    engine.openDB('leases').putSync(Buffer.concat([block.key, Buffer.from(lease.identity)]), until);
    expect(disk.blocks.leases.of(block.key)).toEqual([{ ...lease, payer: '' }]);
    expect(await disk.blocks.recount()).toBe(0);
    await disk.blocks.renew([block.key], () => [own]);
    expect(accounts(disk)).toEqual({ [lease.identity]: 12 });
  });

  it('that was summed up wrongly is found by summing up anew', async () => {
    const engine = new MemoryEngine();
    const disk = diskOn(engine.asRoot());
    await disk.blocks.put([{ ...block, leases: [own] }], terms);
    const wrong = Buffer.alloc(8);
    wrong.writeBigUInt64BE(99n);
    engine.openDB('usage').putSync(own.payer, wrong);
    engine.openDB('usage').putSync('nobody@example.org', wrong);
    expect(await disk.blocks.recount()).toBe(2);
    expect(accounts(disk)).toEqual({ [own.payer]: 12 });
  });

  it('may use a tenth more for what it takes to delete something', async () => {
    const disk = diskOn(new MemoryEngine().asRoot());
    const tight = { ...terms, allowance: () => 11 };
    expect(await disk.blocks.put([{ ...block, leases: [own] }], tight)).toEqual({
      kind: 'over-quota',
      payer: own.payer,
    });
    expect(await disk.blocks.put([{ ...block, leases: [{ ...own, reserve: true }] }], tight)).toEqual({ kind: 'kept' });
  });
});

describe('what one holder allows of a quota', () => {
  const quota = { identityBytes: 10_000_000_000, othersBytes: 50_000_000_000 };
  it.each<[string, number, string, number]>([
    ['is all of it where every node keeps everything', 3, 'a@example.org', 10_000_000_000],
    ['is twice the even share in a large ring', 100, 'a@example.org', 600_000_000],
    ['is never less than a large attachment', 100_000, 'a@example.org', 64 * 2 ** 20],
    ['is counted apart for what is brought for others', 3, '*a@example.org', 50_000_000_000],
  ])('%s', (_, members, payer, bytes) => {
    expect(allowanceAt(quota, 3, members)(payer)).toBe(bytes);
  });
});
