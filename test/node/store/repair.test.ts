import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { decode, encode } from '@ipld/dag-cbor';
import { afterEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { maxDeadlineMs } from '../../../node/overlay/request-server.ts';
import { makeHead } from '../../../node/store/head.ts';
import { handOverWaitMs } from '../../../node/store/wire.ts';
import { issueUser } from '../overlay/fake-overlay.ts';
import { blockOf, lease, StoreRing, soon } from './store-ring.ts';

let ring: StoreRing;
afterEach(() => ring.stop());

const keys = generateIdentityKeys();
const headOf = (version: number) =>
  makeHead({ logId: new Uint8Array(32), version, parents: [], at: 1, body: Buffer.of(version) }, keys.signing);
const many = (count: number) => Array.from({ length: count }, (_, index) => blockOf(`block ${index}`));

describe('copies come back', () => {
  it('a node that was down during writes gets blocks, heads and entries when it returns', async () => {
    ring = await StoreRing.of(3);
    await ring.node(0).store.putHead(headOf(1).bytes);
    await ring.kill(2);
    const blocks = many(600);
    await ring.node(0).store.insert(blocks, lease);
    await ring.node(0).store.putHead(headOf(2).bytes);
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    await ring.node(0).store.publishIdentity({ certificate: alice.certificate.bytes });
    await ring.restart(2);
    await soon(async () =>
      expect(await ring.node(2).store.stats()).toMatchObject({ blocks: 600, heads: 1, entries: 1 }),
    );
    await ring.kill(0);
    await ring.kill(1);
    expect((await ring.node(2).store.getHeads(headOf(1).key)).heads.map((head) => Buffer.from(head))).toEqual([
      Buffer.from(headOf(2).bytes),
    ]);
    expect(Buffer.from(await ring.node(2).store.fetch(blocks[7]?.key ?? Buffer.of()))).toEqual(blocks[7]?.bytes);
  });

  it('a node that lost its disk gets everything again', async () => {
    ring = await StoreRing.of(3);
    await ring.node(0).store.insert(many(50), lease);
    await soon(async () => expect((await ring.node(1).store.stats()).blocks).toBe(50));
    await ring.kill(1);
    await ring.restart(1, 'lost');
    await soon(async () => expect((await ring.node(1).store.stats()).blocks).toBe(50));
  });

  it('the share of a revoked node moves to the next nearest', async () => {
    ring = await StoreRing.of(4);
    const blocks = many(40);
    await ring.node(0).store.insert(blocks, lease);
    await soon(() => expect(blocks.every(({ key }) => ring.copies(key) === 3)).toBe(true));
    const { certificate } = ring.node(3).overlay.self;
    ring.node(0).overlay.offerRevocations(ring.network.ca.revoke([certificate.serial]));
    await soon(() =>
      expect(blocks.every(({ key }) => [0, 1, 2].every((index) => ring.node(index).store.has(key)))).toBe(true),
    );
  });

  it('a node that stays away for ten minutes counts as lost, and the others go back to three copies', async () => {
    let now = 1_000_000;
    ring = await StoreRing.of(4, { now: () => now });
    const blocks = many(40);
    await ring.node(0).store.insert(blocks, lease);
    // Also answered: a holder that breaks off before it has answered is replaced by a stand-in at once, and nothing would be lacking.
    await soon(() => {
      expect(blocks.filter(({ key }) => ring.copies(key) < 3)).toEqual([]);
      expect(ring.node(0).overlay.asking).toBe(0);
    });
    const onKilled = blocks.filter(({ key }) => ring.node(3).store.has(key) && ring.copies(key) === 3).length;
    await ring.kill(3);
    await ring.node(0).store.repair();
    const lacking = (): number => blocks.filter(({ key }) => ring.copies(key) < 3).length;
    expect(onKilled).toBeGreaterThan(0);
    expect(lacking()).toBe(onKilled);
    now += 11 * 60_000;
    for (const index of [0, 1, 2]) await ring.node(index).store.repair();
    expect(lacking()).toBe(0);
  });

  it('a member that joins gets its share', async () => {
    ring = await StoreRing.of(1);
    await ring.node(0).store.insert(many(30), lease);
    const second = await ring.join();
    await soon(async () => expect((await second.store.stats()).blocks).toBe(30));
  });

  it('an entry that a holder does not take keeps no block from it', async () => {
    ring = await StoreRing.of(2);
    await ring.kill(1);
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    await ring.node(0).store.publishIdentity({ certificate: alice.certificate.bytes });
    await ring.node(0).store.insert(many(5), lease);
    ring.node(1).lies.set('store/entry-put', () => Promise.reject(new Error('expired, says my clock')));
    await ring.restart(1);
    await soon(async () => expect((await ring.node(1).store.stats()).blocks).toBe(5));
  });

  it('a member that keeps asking for its copies costs one walk at a time', async () => {
    ring = await StoreRing.of(2);
    await ring.node(0).store.insert(many(3), lease);
    await soon(async () => expect((await ring.node(1).store.stats()).blocks).toBe(3));
    let compared = 0;
    ring.network.fate = ({ method, from }) => {
      if (method === 'store/lacks' && from === ring.node(0).peerId) compared++;
      return 'deliver';
    };
    const sync = () =>
      ring.node(1).overlay.request(ring.node(0).peerId, 'store/sync', encode({}), { timeoutMs: 5_000 });
    const answers = await Promise.all(Array.from({ length: 60 }, sync));
    expect(answers.map((answer) => decode(answer))).toEqual(answers.map(() => ({ complete: true })));
    expect(compared).toBeLessThan(10);
  });

  it('a handing over that takes long is answered before the overlay stops waiting for it', () => {
    expect(handOverWaitMs).toBeLessThan(maxDeadlineMs);
  });
});

describe('damage on the disk', () => {
  /** Changes one byte of each block of this text, wherever lmdb keeps it. */
  async function damage(dir: string, texts: readonly string[]): Promise<void> {
    const file = path.join(dir, 'store.lmdb', 'data.mdb');
    const isFile = await readFile(file).then(
      () => file,
      () => path.join(dir, 'store.lmdb'),
    );
    const bytes = await readFile(isFile);
    for (const text of texts)
      for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes[at + 5] = 0x21;
    await writeFile(isFile, bytes);
  }

  it('is found when the block is read, and healed from a replica', async () => {
    ring = await StoreRing.of(3);
    const texts = ['a block that will rot on the disk', `${'large '.repeat(9_000)}and rotten`];
    const blocks = texts.map(blockOf);
    await ring.node(0).store.insert(blocks, lease);
    await soon(() => expect(blocks.map(({ key }) => ring.copies(key))).toEqual([3, 3]));
    await ring.kill(0);
    await damage(
      ring.node(0).dir,
      texts.map((text) => text.slice(0, 30)),
    );
    await ring.restart(0);
    for (const { key, bytes } of blocks) expect(Buffer.compare(await ring.node(0).store.fetch(key), bytes)).toBe(0);
    await soon(() => expect(blocks.every(({ key }) => ring.node(0).store.has(key))).toBe(true));
    await soon(async () => expect((await ring.node(0).store.stats()).damaged).toBe(0));
  });

  it('is found by repair, which reads everything', async () => {
    ring = await StoreRing.of(3);
    const blocks = many(20);
    await ring.node(0).store.insert(blocks, lease);
    await soon(() => expect(blocks.every(({ key }) => ring.copies(key) === 3)).toBe(true));
    await ring.kill(1);
    await damage(ring.node(1).dir, ['block 7', 'block 11']);
    await ring.restart(1);
    expect(await ring.node(1).store.repair()).toMatchObject({ damaged: 2, healed: 2 });
    expect((await ring.node(1).store.stats()).blocks).toBe(20);
  });

  it('without a good replica is neither given out nor called missing', async () => {
    ring = await StoreRing.of(1);
    const block = blockOf('the only copy of this');
    await ring.node(0).store.insert([block], lease);
    await ring.kill(0);
    await damage(ring.node(0).dir, ['the only copy']);
    await ring.restart(0);
    for (const _ of [1, 2])
      await expect(ring.node(0).store.fetch(block.key)).rejects.toMatchObject({ code: 'unavailable' });
    expect(await ring.node(0).store.stats()).toMatchObject({ blocks: 0, damaged: 1 });
    await ring.node(0).store.insert([block], lease);
    expect(Buffer.from(await ring.node(0).store.fetch(block.key))).toEqual(block.bytes);
    expect((await ring.node(0).store.stats()).damaged).toBe(0);
  });
});
