import { afterEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import type { StoreFault } from '../../../node/store/fault.ts';
import { makeHead } from '../../../node/store/head.ts';
import { blockOf, lease, StoreRing, soon } from './store-ring.ts';

let ring: StoreRing;
afterEach(() => ring.stop());

const keys = generateIdentityKeys();
const hex = (all: readonly Uint8Array[]) => all.map((bytes) => Buffer.from(bytes).toString('hex')).sort();
const logId = new Uint8Array(32).fill(7);
const headOf = (version: number, text = 'x') =>
  makeHead({ logId, version, parents: [], at: 1, body: Buffer.from(text) }, keys.signing);

describe('a write succeeds exactly when the quorum of its copies is durable', () => {
  const rows: readonly [string, number, number, 'written' | 'quorum', number][] = [
    ['a ring of one is content with its own copy', 1, 0, 'written', 1],
    ['a ring of two keeps both', 2, 0, 'written', 2],
    ['in a ring of two either node goes on alone', 2, 1, 'written', 1],
    ['three keep three', 3, 0, 'written', 3],
    ['two of three suffice', 3, 1, 'written', 2],
    ['one of three is no quorum', 3, 2, 'quorum', 1],
    ['in a ring of four the fourth takes the copy of one that is down', 4, 1, 'written', 3],
    ['two of four are a quorum of three copies', 4, 2, 'written', 2],
    ['one of four is none', 4, 3, 'quorum', 1],
  ];
  it.each(rows)('%s', async (_why, members, down, expected, copies) => {
    ring = await StoreRing.of(members);
    for (let index = 1; index <= down; index++) await ring.kill(index);
    const { store } = ring.node(0);
    const block = blockOf(`${members} ${down}`);
    const insert = store.insert([block], lease).then(
      ({ wanted }) => (expect(wanted).toBe(Math.min(3, members)), 'written'),
      (fault: unknown) => (fault as { code: string }).code,
    );
    expect(await insert).toBe(expected);
    await soon(() => expect(ring.copies(block.key)).toBe(copies));
    const head = store.putHead(headOf(1).bytes).then(
      () => 'written',
      (fault: unknown) => (fault as { code: string }).code,
    );
    expect(await head).toBe(expected);
  });
});

describe('what was written is read from any node that is left', () => {
  it('after the node that wrote it is gone', async () => {
    ring = await StoreRing.of(3);
    const blocks = Array.from({ length: 40 }, (_, index) => blockOf(`block ${index}`));
    await ring.node(0).store.insert(blocks, lease);
    await ring.node(0).store.putHead(headOf(3).bytes);
    await soon(() => expect(blocks.map(({ key }) => ring.copies(key))).toEqual(blocks.map(() => 3)));
    await ring.kill(0);
    for (const { key, bytes } of blocks) expect(Buffer.from(await ring.node(1).store.fetch(key))).toEqual(bytes);
    expect(hex((await ring.node(2).store.getHeads(headOf(3).key)).heads)).toEqual(hex([headOf(3).bytes]));
  });

  it('a node that has no copy of its own asks the holders', async () => {
    ring = await StoreRing.of(8);
    const block = blockOf('on three of eight');
    await ring.node(0).store.insert([block], lease);
    for (const { store } of ring.nodes) expect(Buffer.from(await store.fetch(block.key))).toEqual(block.bytes);
  });
});

describe('a missing block is told apart from one that cannot be had now', () => {
  const nobody = blockOf('never inserted').key;
  it('missing when every holder said no', async () => {
    ring = await StoreRing.of(3);
    await ring.node(0).store.insert([blockOf('something else')], lease);
    await soon(() => expect(ring.node(2).store.fetch(nobody)).rejects.toMatchObject({ code: 'missing' }));
  });

  it('unavailable when a holder is down, for it may have the only copy', async () => {
    ring = await StoreRing.of(3);
    await ring.kill(2);
    await expect(ring.node(0).store.fetch(nobody)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('unavailable from nodes that are new: they have not been given their copies yet', async () => {
    ring = await StoreRing.of(1);
    const block = blockOf('here before they came');
    await ring.node(0).store.insert([block], lease);
    // Nothing reaches them before they are cut off: on a slow machine the first would have given them their copies by then.
    ring.network.fate = () => 'lose-request';
    const [second, third] = [await ring.join(), await ring.join()];
    ring.network.partition([second.peerId, third.peerId], [ring.node(0).peerId]);
    ring.network.fate = ({ method }) => (method === 'store/sync' ? 'lose-answer' : 'deliver');
    await expect(second.store.fetch(block.key)).rejects.toMatchObject({ code: 'unavailable' });
    expect((await third.store.getHeads(headOf(1).key)).sure).toBe(false);
  });
});

describe('heads', () => {
  it('a version that is not newer is refused with the proof', async () => {
    ring = await StoreRing.of(3);
    const { store } = ring.node(0);
    await store.putHead(headOf(5).bytes);
    await store.putHead(headOf(5).bytes);
    const refused = await ring
      .node(1)
      .store.putHead(headOf(4).bytes)
      .catch((fault: unknown) => fault);
    expect(refused).toMatchObject({ code: 'stale' });
    expect(hex((refused as StoreFault).heads)).toEqual(hex([headOf(5).bytes]));
    await store.putHead(headOf(6).bytes);
    expect(hex((await ring.node(2).store.getHeads(headOf(1).key)).heads)).toEqual(hex([headOf(6).bytes]));
  });

  it('two heads of one version are a fork, and both are kept as evidence', async () => {
    ring = await StoreRing.of(3);
    await ring.node(0).store.putHead(headOf(5, 'one').bytes);
    await expect(ring.node(1).store.putHead(headOf(5, 'other').bytes)).rejects.toMatchObject({ code: 'fork' });
    await soon(async () => {
      const { heads, sure } = await ring.node(2).store.getHeads(headOf(5).key);
      expect(sure).toBe(true);
      expect(hex(heads)).toEqual(hex([headOf(5, 'one').bytes, headOf(5, 'other').bytes]));
    });
  });

  it('a head with a forged signature is not even sent', async () => {
    ring = await StoreRing.of(1);
    const bytes = Uint8Array.from(headOf(5).bytes);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await expect(ring.node(0).store.putHead(bytes)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('a read is sure when those that answered cannot have missed an acknowledged write', async () => {
    ring = await StoreRing.of(3);
    await ring.node(0).store.putHead(headOf(1).bytes);
    await ring.kill(2);
    await soon(async () => expect((await ring.node(0).store.getHeads(headOf(1).key)).sure).toBe(true));
    await ring.kill(1);
    const alone = await ring.node(0).store.getHeads(headOf(1).key);
    expect([alone.sure, alone.answered, alone.asked]).toEqual([false, 1, 3]);
  });
});
