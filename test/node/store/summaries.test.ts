import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Member } from '../../../node/overlay/overlay.ts';
import { differingBuckets, Summaries } from '../../../node/store/summaries.ts';
import { blockOf, lease, StoreRing, soon } from './store-ring.ts';

const keyOf = (text: string): Uint8Array => createHash('sha256').update(text).digest();
const member = (peerId: string): Member => ({ peerId }) as Member;

/** Blocks of a node in memory, and its summaries. */
class Shelf {
  readonly keys = new Map<string, Uint8Array>();
  readonly summaries: Summaries;
  members = ['a', 'b', 'c', 'd'];

  constructor(selfId: string) {
    this.summaries = new Summaries({
      selfId,
      keepers: (key) => this.members.filter((_, index) => index !== (key[1] ?? 0) % this.members.length).map(member),
      ring: () => this.members.join(),
      page: (after, limit) =>
        [...this.keys.values()]
          .sort((left, right) => Buffer.compare(left, right))
          .filter((key) => after === undefined || Buffer.compare(key, after) > 0)
          .slice(0, Math.min(limit, 5)),
      isWanted: (key) => this.keys.has(Buffer.from(key).toString('hex')),
      signal: new AbortController().signal,
    });
  }

  toggle(key: Uint8Array): void {
    const name = Buffer.from(key).toString('hex');
    if (!this.keys.delete(name)) this.keys.set(name, key);
    this.summaries.changed(key);
  }
}

describe('the sums of what two nodes should both have', () => {
  it('are the same whatever the order in which blocks came and went, also while they are made', async () => {
    const names = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(names, names, names, async (before, during, after) => {
        const shelf = new Shelf('a');
        for (const name of before) shelf.toggle(keyOf(`${name}`));
        const making = shelf.summaries.of('b');
        for (const name of during) {
          shelf.toggle(keyOf(`${name}`));
          await Promise.resolve();
        }
        await making;
        for (const name of after) shelf.toggle(keyOf(`${name}`));
        const fresh = new Shelf('a');
        for (const key of shelf.keys.values()) fresh.toggle(key);
        for (const peer of ['b', 'c', 'd'])
          expect((await shelf.summaries.of(peer)).root()).toEqual((await fresh.summaries.of(peer)).root());
      }),
      { numRuns: 40 },
    );
  });

  it('of two nodes are the same exactly when both have the same of what both should have', async () => {
    const [a, b] = [new Shelf('a'), new Shelf('b')];
    for (let i = 0; i < 200; i++) for (const shelf of [a, b]) shelf.toggle(keyOf(`${i}`));
    const roots = async () => [(await a.summaries.of('b')).root(), (await b.summaries.of('a')).root()];
    const [left, right] = await roots();
    expect(left).toEqual(right);
    // 0 and 1 in this place are keys that one of the two need not have.
    const common = [...a.keys.values()].find((key) => (key[1] ?? 0) % 4 > 1) ?? never();
    b.toggle(common);
    const [still, less] = await roots();
    expect(still).not.toEqual(less);
    expect([...differingBuckets(await a.summaries.of('b'), (await b.summaries.of('a')).stamps())]).toEqual([common[0]]);
    const others = [...b.keys.values()].find((key) => (key[1] ?? 0) % 4 === 1) ?? never();
    a.toggle(common);
    b.toggle(others);
    const [again, same] = await roots();
    expect(again).toEqual(same);
  });

  it('are made anew when the members change', async () => {
    const a = new Shelf('a');
    for (let i = 0; i < 50; i++) a.toggle(keyOf(`${i}`));
    const before = (await a.summaries.of('b')).root();
    a.members = ['a', 'b', 'c'];
    expect((await a.summaries.of('b')).root()).not.toEqual(before);
  });
});

function never(): never {
  throw new Error('200 keys have one of each kind');
}

describe('repair', () => {
  let ring: StoreRing;
  afterEach(() => ring.stop());

  it('of an unchanged range costs some bytes, and of one block that is lacking one bucket', async () => {
    ring = await StoreRing.of(3);
    const blocks = Array.from({ length: 1_000 }, (_, index) => blockOf(`block ${index}`));
    await ring.node(0).store.insert(blocks, lease);
    await soon(() => expect(blocks.every(({ key }) => ring.copies(key) === 3)).toBe(true));
    const asked = new Map<string, number>();
    ring.network.fate = ({ method, from, to }) => {
      if (from !== to) asked.set(method, (asked.get(method) ?? 0) + 1);
      return 'deliver';
    };
    await soon(async () => {
      asked.clear();
      expect(await ring.node(0).store.repair()).toMatchObject({ pushed: 0, unreached: 0 });
      expect([...asked]).toEqual([['store/summary', 2]]);
    });
    const late = blockOf('a block that one holder did not get');
    ring.network.fate = ({ method, to }) =>
      method === 'store/insert' && to === ring.node(2).peerId ? 'lose-request' : 'deliver';
    await ring.node(0).store.insert([late], lease);
    ring.network.fate = ({ method, from, to }) => {
      if (from !== to) asked.set(method, (asked.get(method) ?? 0) + 1);
      return 'deliver';
    };
    asked.clear();
    expect(ring.node(2).store.has(late.key)).toBe(false);
    expect(await ring.node(1).store.repair()).toMatchObject({ pushed: 1 });
    expect(ring.node(2).store.has(late.key)).toBe(true);
    expect(asked.get('store/insert')).toBe(1);
  });
});
