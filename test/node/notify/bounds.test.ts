import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askDelayMs, retryDelayMs } from '../../../node/notify/backoff.ts';
import { Batcher } from '../../../node/notify/batcher.ts';
import { clockSkewMs, lifetimeMs, memoryMs } from '../../../node/notify/lifetime.ts';
import { PendingTable, pendingCaps } from '../../../node/notify/pending-table.ts';
import { type Bucket, draw, PeerRates } from '../../../node/notify/rate.ts';
import { itemOf } from '../../../node/notify/receipt.ts';
import { SentTable, undeliverable } from '../../../node/notify/sent-table.ts';
import { afterPrefix, openTables, type Tables } from '../../../node/notify/table.ts';
import type { Address } from '../../../policy/address.ts';

let root: string;
let tables: Tables;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-bounds-'));
  tables = openTables(root);
});
afterEach(async () => {
  await tables.close();
  await rm(root, { recursive: true, force: true });
});

const bob = Buffer.alloc(32, 1);
const carol = Buffer.alloc(32, 2);
const idOf = (number: number): Buffer => {
  const id = Buffer.alloc(32);
  id.writeUInt32BE(number);
  return id;
};
const item = (number: number, at = 0) => ({ bytes: Buffer.from(`item ${number}`), origin: 'x', at });

describe('the table of what was sent', () => {
  const sealed = (number: number) => {
    const bytes = encode({ v: 1, id: idOf(number), to: bob, box: Buffer.from(`box ${number}`) });
    return { id: idOf(number), recipient: 'bob@example.org' as Address, bytes };
  };
  const answer = (number: number) => undeliverable(idOf(number), 'bob@example.org' as Address, 5);

  it('knows after a restart what waits and what was answered', async () => {
    const before = new SentTable(tables.sent);
    for (const number of [1, 2, 3]) await before.add(sealed(number), 1);
    expect(await before.answer(answer(2))).toBe(true);
    const after = new SentTable(tables.sent);
    expect([...after.allOutstanding()].map(({ id }) => Buffer.from(id))).toEqual([idOf(1), idOf(3)]);
    expect(after.find(idOf(2))?.state.kind).toBe('answered');
    expect(await after.answer(answer(2))).toBe(false);
  });

  it('starts though a row is damaged, which may be sent again', async () => {
    const before = new SentTable(tables.sent);
    for (const number of [1, 2]) await before.add(sealed(number), 1);
    await tables.sent.put(idOf(1), (tables.sent.get(idOf(1)) ?? Buffer.alloc(0)).subarray(0, 40));
    const after = new SentTable(tables.sent);
    expect(after.waiting).toBe(1);
    expect(after.find(idOf(1))).toBeUndefined();
    await after.add(sealed(1), 1);
    expect(after.find(idOf(1))?.state.kind).toBe('outstanding');
  });

  it('forgets what was answered long ago, and nothing that waits', async () => {
    const table = new SentTable(tables.sent);
    for (const number of [1, 2]) await table.add(sealed(number), 1);
    await table.answer(answer(1));
    await table.sweep(1 + 2 * memoryMs);
    expect(table.find(idOf(1))).toBeDefined();
    await table.sweep(2 + 2 * memoryMs);
    expect(table.find(idOf(1))).toBeUndefined();
    expect(table.find(idOf(2))).toBeDefined();
  });
});

describe('the table of pending items', () => {
  const caps = { ...pendingCaps, itemsPerRecipient: 3, bytesPerRecipient: 10_000, bytes: 1_000_000 };

  it('takes no more for one recipient than his share, and the others are not touched by that', async () => {
    const table = new PendingTable(tables, caps);
    const put = async (to: Buffer, number: number) => table.put(to, idOf(number), item(number), bob);
    const answers = await Promise.all([1, 2, 3, 4, 5].map(async (number) => put(bob, number)));
    expect(answers).toEqual(['kept', 'kept', 'kept', 'full', 'full']);
    // What it has already it has, full or not.
    expect(await put(bob, 2)).toBe('kept');
    expect(await put(carol, 1)).toBe('kept');
  });

  it('counts bytes as it counts items, for one and for all', async () => {
    const big = { bytes: Buffer.alloc(6000), origin: 'x', at: 0 };
    const table = new PendingTable(tables, { ...caps, bytes: 15_000 });
    expect(await table.put(bob, idOf(1), big, bob)).toBe('kept');
    expect(await table.put(bob, idOf(2), big, bob)).toBe('full');
    expect(await table.put(carol, idOf(1), big, carol)).toBe('kept');
    expect(await table.put(Buffer.alloc(32, 3), idOf(1), big, carol)).toBe('full');
  });

  it('knows after a restart what it had counted', async () => {
    const before = new PendingTable(tables, caps);
    for (const number of [1, 2, 3]) await before.put(bob, idOf(number), item(number), bob);
    const after = new PendingTable(tables, caps);
    expect(after.stats()).toEqual(before.stats());
    expect(await after.put(bob, idOf(4), item(4), bob)).toBe('full');
  });

  it('takes no more from one identity’s nodes than its share, whomever it is for; also after a restart, and from the others as before', async () => {
    const big = { bytes: Buffer.alloc(1000), origin: 'x', at: 0 };
    const shares = { ...pendingCaps, bytesPerBringer: 3500 };
    const before = new PendingTable(tables, shares);
    const bring = async (table: PendingTable, to: number, bringer: string) =>
      table.put(Buffer.alloc(32, to), idOf(to), big, bob, bringer);
    const said = await Promise.all([1, 2, 3, 4].map(async (to) => bring(before, to, 'mallory')));
    expect(said).toEqual(['kept', 'kept', 'kept', 'full']);
    const after = new PendingTable(tables, shares);
    expect([await bring(after, 4, 'mallory'), await bring(after, 5, 'alice')]).toEqual(['full', 'kept']);
    await after.drop({ to: Buffer.alloc(32, 1), id: idOf(1), item: itemOf(big.bytes) });
    expect([await bring(after, 6, 'mallory'), await bring(after, 7, 'mallory')]).toEqual(['kept', 'full']);
  });

  it('reads what was kept before it was written down who brought it', async () => {
    const row = Buffer.from(encode(item(1, 7)));
    const key = { to: bob, id: idOf(1), item: itemOf(item(1).bytes) };
    await tables.pending.put(Buffer.concat([key.to, key.id, key.item]), row);
    expect(new PendingTable(tables).get(key)?.at).toBe(7);
  });

  it('keeps receipts up to the recipient’s share, and frees the places of what was answered all the same', async () => {
    const shares = { ...pendingCaps, receiptsPerRecipient: 2 };
    let table = new PendingTable(tables, shares);
    const answer = async (to: Buffer, number: number) => {
      await table.put(to, idOf(number), item(number), bob);
      const by = 'bob@example.org' as Address;
      await table.answer({ id: idOf(number), verdict: 'accepted', at: 5, by, bytes: Buffer.from('receipt') }, to, 5);
    };
    for (const number of [1, 2]) await answer(bob, number);
    table = new PendingTable(tables, shares);
    await answer(bob, 3);
    await answer(carol, 1);
    expect(table.stats()).toMatchObject({ items: 0, receipts: 3 });
    await table.sweep(memoryMs + 6);
    await answer(bob, 4);
    expect(table.stats().receipts).toBe(1);
  });

  it('counts a removal once, however often it is asked for', async () => {
    const table = new PendingTable(tables, caps);
    await table.put(bob, idOf(1), item(1), bob);
    const key = { to: bob, id: idOf(1), item: itemOf(item(1).bytes) };
    await Promise.all([table.drop(key), table.drop(key), table.drop(key)]);
    expect(table.stats()).toMatchObject({ items: 0, bytes: 0 });
  });

  it('removes a copy that comes after its receipt, as the slowest of three copies may', async () => {
    const table = new PendingTable(tables, caps);
    const facts = {
      verdict: 'accepted',
      at: 5,
      by: 'bob@example.org' as Address,
      bytes: Buffer.from('receipt'),
    } as const;
    await table.answer({ ...facts, id: idOf(1) }, bob, 5);
    expect(await table.put(bob, idOf(1), item(1), bob)).toBe('kept');
    const key = { to: bob, id: idOf(1), item: itemOf(item(1).bytes) };
    expect([table.has(key), table.stats().items, table.receiptFor(key)]).toEqual([false, 0, facts.bytes]);
    // Written, but not yet to be seen, when the receipt comes.
    const putting = table.put(bob, idOf(2), item(2), bob);
    await table.answer({ ...facts, id: idOf(2) }, bob, 5);
    await putting;
    expect(table.stats().items).toBe(0);
    // The same beside another copy that is there already.
    await table.put(bob, idOf(4), item(4), bob);
    const second = table.put(bob, idOf(4), item(44), bob);
    await table.answer({ ...facts, id: idOf(4) }, bob, 5);
    await second;
    expect(table.stats().items).toBe(0);
    // Of other bytes it says nothing.
    await table.answer({ ...facts, id: idOf(3), item: itemOf(Buffer.from('other')) }, bob, 5);
    await table.put(bob, idOf(3), item(3), bob);
    expect(table.stats().items).toBe(1);
  });

  it('lists all of one recipient, page by page, and nothing of the others', async () => {
    const table = new PendingTable(tables);
    const count = 1100;
    await Promise.all(Array.from({ length: count }, async (_, n) => table.put(bob, idOf(n), item(n), bob)));
    await table.put(carol, idOf(1), item(1), carol);
    const ids = new Set<string>();
    let after: Uint8Array | undefined;
    let pages = 0;
    do {
      const listed = table.list(bob, after);
      for (const { id } of listed.keys) ids.add(Buffer.from(id).toString('hex'));
      after = listed.next;
      pages++;
    } while (after !== undefined);
    expect(ids.size).toBe(count);
    expect(pages).toBe(3);
  });

  it('forgets what nobody can ask for any more, and only that', async () => {
    const table = new PendingTable(tables);
    await table.put(bob, idOf(1), item(1, 0), bob);
    await table.put(bob, idOf(2), item(2, 1000), bob);
    await table.sweep(memoryMs + 500);
    expect(table.list(bob).keys.map(({ id }) => id)).toEqual([idOf(2)]);
  });

  it('does not give out a damaged item, and does not let it hold up the others', async () => {
    const table = new PendingTable(tables);
    const damages: readonly ((row: Buffer) => Buffer)[] = [
      (row) => row.subarray(0, row.length - 3),
      (row) => Buffer.from(row.map((byte, at) => (at === row.indexOf('item') ? byte ^ 1 : byte))),
      () => Buffer.from('nothing of ours'),
    ];
    await Promise.all([0, 1, 2, 3].map(async (number) => table.put(bob, idOf(number), item(number, 7), bob)));
    for (const [number, damage] of damages.entries()) {
      const key = Buffer.concat([bob, idOf(number), itemOf(item(number).bytes)]);
      await tables.pending.put(key, damage(tables.pending.get(key) ?? Buffer.alloc(0)));
    }
    const keys = table.list(bob).keys;
    expect(keys.map((key) => table.get(key)?.at)).toEqual([undefined, undefined, undefined, 7]);
    await table.sweep(8);
    expect(table.list(bob).keys).toEqual([keys[3]]);
    expect(table.stats().items).toBe(1);
  });

  it('ends a range behind the last key with that beginning', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (prefix, rest) => {
        const end = afterPrefix(prefix);
        if (end === undefined) expect(prefix.every((byte) => byte === 0xff)).toBe(true);
        else {
          expect(Buffer.compare(Buffer.concat([prefix, rest]), end)).toBe(-1);
          expect(Buffer.compare(end, prefix)).toBe(1);
        }
      }),
    );
  });
});

describe('a rate', () => {
  const rate = { perSecond: 10, burst: 100 };

  it('never gives more than the burst and what time has brought, whatever the clock does', () => {
    const asks = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: -5000, max: 5000 })), { maxLength: 50 });
    fc.assert(
      fc.property(asks, (steps) => {
        let bucket: Bucket | undefined;
        let now = 1_000_000;
        let given = 0;
        let passed = 0;
        for (const [want, ms] of steps) {
          now += ms;
          passed += Math.max(0, ms);
          const drawn = draw(bucket, want, rate, now);
          expect(drawn.given).toBeLessThanOrEqual(want);
          given += drawn.given;
          bucket = drawn;
        }
        expect(given).toBeLessThanOrEqual(rate.burst + (passed / 1000) * rate.perSecond + 1e-6);
      }),
    );
  });

  it('of one peer is not the rate of another', () => {
    const rates = new PeerRates(rate, () => 0);
    expect(rates.draw('a', 150)).toBe(100);
    expect(rates.draw('a', 1)).toBe(0);
    expect(rates.draw('b', 1)).toBe(1);
  });
});

describe('frames', () => {
  const bounds = { bytesOf: (text: string) => text.length, maxBytes: 10, maxItems: 4 };

  it('hold a burst together within their bounds, in order, with each answer to its asker', async () => {
    const frames: string[][] = [];
    const batcher = new Batcher<string, string>({
      ...bounds,
      send: async (_peer, items) => {
        frames.push([...items]);
        await new Promise((resolve) => setTimeout(resolve, 1));
        return items.map((text) => text.toUpperCase());
      },
    });
    const texts = ['a', 'bb', 'ccc', 'dddd', 'eeeee', 'f', 'g', 'h', 'i', 'much too long for one'];
    expect(await Promise.all(texts.map(async (text) => batcher.add('p', text)))).toEqual(
      texts.map((t) => t.toUpperCase()),
    );
    expect(frames.flat()).toEqual(texts);
    for (const frame of frames) {
      expect(frame.length).toBeLessThanOrEqual(4);
      if (frame.length > 1) expect(frame.join('').length).toBeLessThanOrEqual(10);
    }
    expect(frames.length).toBeLessThan(texts.length);
  });

  it('that fail fail their own items and nobody else’s', async () => {
    const batcher = new Batcher<string, string>({
      ...bounds,
      send: async (peer, items) => {
        if (peer === 'bad') throw new Error('gone');
        return peer === 'short' ? [] : [...items];
      },
    });
    const asked = ['bad', 'short', 'good'].map(async (peer) => batcher.add(peer, 'x'));
    const results = await Promise.allSettled(asked);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });

  it('that are not answered do not gather without end', async () => {
    const batcher = new Batcher<string, string>({ ...bounds, send: async () => new Promise(() => undefined) });
    const many = Array.from({ length: 5100 }, async () =>
      batcher.add('p', 'x').catch((error: { code: string }) => error.code),
    );
    expect(await Promise.race(many.slice(-1))).toBe('too-many');
  });
});

describe('the times', () => {
  it('leave no gap between the end of a notification’s window and the end of the memory of its id', () => {
    // The latest that it may say of itself, taken at once: its window ends two skews after a lifetime.
    expect(lifetimeMs + 2 * clockSkewMs).toBeLessThan(memoryMs);
  });
});

describe('back-off', () => {
  it('grows and has an end', () => {
    expect([1, 2, 3, 9, 10, 1000].map(retryDelayMs)).toEqual([1000, 2000, 4000, 256_000, 300_000, 300_000]);
    expect([0, 1, 2, 3, 100].map(askDelayMs)).toEqual([60_000, 300_000, 1_500_000, 3_600_000, 3_600_000]);
  });
});
