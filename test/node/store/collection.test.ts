import { afterEach, describe, expect, it } from 'vitest';
import type { Block, Lease } from '../../../node/store/content.ts';
import { makeRound } from '../../../node/store/round.ts';
import { packBody } from '../../../node/store/wire.ts';
import { issueUser } from '../overlay/fake-overlay.ts';
import { blockOf, StoreRing, soon } from './store-ring.ts';

const day = 86_400_000;
const start = Date.now();
let now = start;
let ring: StoreRing;
afterEach(() => ring.stop());

type User = ReturnType<typeof issueUser>;

async function ringOf(size: number): Promise<void> {
  now = start;
  ring = await StoreRing.of(size, { now: () => now });
  await settled();
}

/** A node that does not know yet what belongs to it judges nothing. */
async function settled(): Promise<void> {
  const body = packBody({ key: new Uint8Array(32) });
  for (const { overlay } of ring.nodes)
    await soon(() => overlay.request(overlay.self.peerId, 'store/fetch', body, { timeoutMs: 1_000 }));
}

/** An identity that the ring knows. */
async function known(name: string): Promise<User> {
  const user = issueUser(ring.network.ca, `${name}@example.org`);
  await ring.node(0).store.publishIdentity({ certificate: user.certificate.bytes });
  return user;
}

const lease = (user: User): Lease => ({ identity: user.certificate.address, until: now + 28 * day });

async function insert(block: Block, user: User): Promise<void> {
  await ring.node(0).store.insert([block], lease(user));
  await soon(() => expect(ring.copies(block.key)).toBe(Math.min(3, ring.nodes.length)));
}

/** Says at one node that the identity has refreshed all that it still wants. */
async function state(user: User): Promise<void> {
  const round = { address: user.certificate.address, begun: now, completed: now, until: now + 21 * day };
  const { certificate, keys } = user;
  await ring.node(0).store.putRound(makeRound(round, { certificate, signing: keys.signing }));
}

async function collect(): Promise<{ trashed: number; deleted: number; undecided: number }> {
  const sum = { trashed: 0, deleted: 0, undecided: 0 };
  for (const { overlay, store } of ring.nodes) {
    if (!overlay.alive) continue;
    const { ended, orphaned, misplaced, deleted, undecided } = await store.collect();
    sum.trashed += ended + orphaned + misplaced;
    sum.deleted += deleted;
    sum.undecided += undecided;
  }
  return sum;
}

const block = blockOf('a block that may be needed');

describe('what an identity refers to', () => {
  it('is kept while it is away, however long', async () => {
    await ringOf(3);
    await insert(block, await known('alice'));
    now += 350 * day;
    expect(await collect()).toEqual({ trashed: 0, deleted: 0, undecided: 0 });
    expect(ring.copies(block.key)).toBe(3);
  });

  it('rests in the trash when a refresh has left it out, readable; then its bytes are gone', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await insert(block, alice);
    now += 29 * day;
    await state(alice);
    expect(await collect()).toEqual({ trashed: 3, deleted: 0, undecided: 0 });
    now += 6 * day;
    expect(await collect()).toEqual({ trashed: 0, deleted: 0, undecided: 0 });
    now += 2 * day;
    expect(await collect()).toEqual({ trashed: 0, deleted: 3, undecided: 0 });
    expect(ring.copies(block.key)).toBe(0);
    expect(await ring.node(1).store.stats()).toMatchObject({ blocks: 0, trash: 0, leases: 0, orphans: 0 });
    await expect(ring.node(1).store.fetch(block.key)).rejects.toMatchObject({ code: 'missing' });
  });

  it('is kept for the other who refers to it too', async () => {
    await ringOf(3);
    const [alice, bob] = [await known('alice'), await known('bob')];
    await insert(block, alice);
    await insert(block, bob);
    now += 29 * day;
    await state(alice);
    expect(await collect()).toMatchObject({ trashed: 0 });
    await state(bob);
    expect(await collect()).toMatchObject({ trashed: 3 });
  });

  it('renewed by key stays, and no block moves for it', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await insert(block, alice);
    now += 27 * day;
    let moved = 0;
    ring.network.fate = ({ method }) => {
      if (method === 'store/insert' || method === 'store/fetch') moved++;
      return 'deliver';
    };
    expect(await ring.node(1).store.renew([block.key], lease(alice))).toEqual({
      renewed: 1,
      missing: [],
      unreached: [],
    });
    expect(moved).toBe(0);
    now += 20 * day;
    await state(alice);
    expect(await collect()).toMatchObject({ trashed: 0 });
  });

  it('at a holder that missed the renewal is kept, because the others say so', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await insert(block, alice);
    await ring.kill(2);
    now += 27 * day;
    expect(await ring.node(0).store.renew([block.key], lease(alice))).toMatchObject({ renewed: 1 });
    now += 2 * day;
    await state(alice);
    await ring.restart(2);
    expect(await ring.node(2).store.collect()).toMatchObject({ ended: 0, learnt: 1 });
  });

  it('is kept while one of its holders cannot be asked', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await insert(block, alice);
    now += 29 * day;
    await state(alice);
    await ring.kill(2);
    expect(await collect()).toEqual({ trashed: 0, deleted: 0, undecided: 2 });
  });

  it('comes out of the trash by a new lease, and by being read', async () => {
    await ringOf(3);
    const alice = await known('alice');
    const read = blockOf('a block that somebody reads');
    await insert(block, alice);
    await insert(read, alice);
    now += 29 * day;
    await state(alice);
    expect(await collect()).toMatchObject({ trashed: 6 });
    await ring.node(1).store.renew([block.key], lease(alice));
    for (const { store } of ring.nodes) await store.fetch(read.key);
    for (const { store } of ring.nodes) expect(await store.stats()).toMatchObject({ trash: 0 });
    now += 20 * day;
    expect(await collect()).toEqual({ trashed: 0, deleted: 0, undecided: 0 });
  });

  it('is let go of long after the identity was revoked, and not before', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await insert(block, alice);
    ring.node(0).overlay.offerRevocations(ring.network.ca.revoke([alice.certificate.serial]));
    now += 60 * day;
    expect(await collect()).toMatchObject({ trashed: 0 });
    now += 170 * day;
    expect(await collect()).toMatchObject({ trashed: 0 });
    now += 20 * day;
    expect(await collect()).toMatchObject({ trashed: 3 });
  });

  it('is not let go of for what another says in its name', async () => {
    await ringOf(3);
    const [alice, mallory] = [await known('alice'), await known('mallory')];
    await insert(block, alice);
    now += 29 * day;
    const round = { address: alice.certificate.address, begun: now, completed: now, until: now + 21 * day };
    const forged = makeRound(round, { certificate: alice.certificate, signing: mallory.keys.signing });
    await expect(ring.node(0).store.putRound(forged)).rejects.toMatchObject({ code: 'invalid' });
    await state(mallory);
    expect(await collect()).toMatchObject({ trashed: 0 });
  });
});

describe('a block without a lease', () => {
  /** A copy that came without its leases, as read repair makes it. */
  async function strip(index: number): Promise<void> {
    const { overlay } = ring.node(index === 0 ? 1 : 0);
    const body = packBody({ blocks: [{ bytes: block.bytes, leases: [] }] });
    await overlay.request(ring.node(index).peerId, 'store/insert', body, { timeoutMs: 5_000 });
  }

  it('gets its leases from the other holders', async () => {
    await ringOf(3);
    const alice = await known('alice');
    await ring.kill(2);
    await ring.node(0).store.insert([block], lease(alice));
    await soon(() => expect(ring.copies(block.key)).toBe(2));
    ring.network.fate = ({ method }) => (method === 'store/lacks' ? 'lose-request' : 'deliver');
    await ring.restart(2, 'lost');
    await strip(2);
    expect(await ring.node(2).store.stats()).toMatchObject({ leases: 0, orphans: 1 });
    await ring.node(0).store.collect();
    ring.network.fate = () => 'deliver';
    await soon(async () => {
      await ring.node(2).store.collect();
      expect(await ring.node(2).store.stats()).toMatchObject({ leases: 1, orphans: 0 });
    });
  });

  it('goes only when all holders have said for long that nobody has one', async () => {
    await ringOf(3);
    for (const index of [0, 1, 2]) await strip(index);
    expect(await collect()).toMatchObject({ trashed: 0 });
    now += 41 * day;
    expect(await collect()).toMatchObject({ trashed: 0 });
    now += 2 * day;
    await ring.kill(2);
    expect(await collect()).toMatchObject({ trashed: 0, undecided: 2 });
    await ring.restart(2);
    await soon(() => expect(ring.node(0).overlay.isUp(ring.node(2).peerId)).toBe(true));
    expect(await collect()).toMatchObject({ trashed: 3 });
  });
});

describe('a copy that is no longer at its place', () => {
  it('goes when all proper holders have it, and stays while one of them is away', async () => {
    await ringOf(3);
    const alice = await known('alice');
    const blocks = Array.from({ length: 20 }, (_, index) => blockOf(`moving ${index}`));
    await ring.node(0).store.insert(blocks, lease(alice));
    await soon(() => expect(blocks.every(({ key }) => ring.copies(key) === 3)).toBe(true));
    await ring.join();
    await ring.join();
    await settled();
    const proper = (key: Uint8Array): string[] =>
      ring
        .node(0)
        .overlay.closest(key, 3)
        .map(({ peerId }) => peerId);
    const held = (key: Uint8Array): string[] =>
      ring.nodes.filter(({ store }) => store.has(key)).map((one) => one.peerId);
    await soon(() =>
      expect(blocks.every(({ key }) => proper(key).every((peerId) => held(key).includes(peerId)))).toBe(true),
    );
    const extra = blocks.reduce((sum, { key }) => sum + held(key).length - 3, 0);
    expect(extra).toBeGreaterThan(0);
    await ring.kill(4);
    const { trashed } = await collect();
    expect(trashed).toBeLessThan(extra);
    await ring.restart(4);
    await soon(() => expect(ring.nodes.every(({ peerId }) => ring.node(0).overlay.isUp(peerId))).toBe(true));
    await soon(async () => {
      await collect();
      const stats = await Promise.all(ring.nodes.map(({ store }) => store.stats()));
      expect(stats.reduce((sum, { trash }) => sum + trash, 0)).toBe(extra);
    });
    now += 8 * day;
    await collect();
    for (const { key } of blocks) expect(held(key).sort()).toEqual(proper(key).sort());
    expect(Buffer.from(await ring.node(1).store.fetch(blocks[3]?.key ?? Buffer.of()))).toEqual(blocks[3]?.bytes);
  });
});

describe('a quota', () => {
  const bytes = (seed: number, size = 10_000): Block => blockOf(Buffer.alloc(size, seed));

  it('is counted for whoever brings it, and refuses with a fault of its own', async () => {
    now = start;
    ring = await StoreRing.of(1, { now: () => now, quota: { identityBytes: 25_000, othersBytes: 45_000 } });
    const owner = ring.node(0).overlay.self.owner;
    const own = { identity: owner, until: now + day };
    const { store } = ring.node(0);
    await store.insert([bytes(1), bytes(2)], own);
    await expect(store.insert([bytes(3)], own)).rejects.toMatchObject({ code: 'quota' });
    // The same again costs nothing, and others have accounts of their own.
    await store.insert([bytes(1), bytes(2)], own);
    const alice = await known('alice');
    await store.insert([bytes(3), bytes(4), bytes(5)], lease(alice));
    await expect(store.insert([bytes(6), bytes(7)], lease(alice))).rejects.toMatchObject({ code: 'quota' });
    expect(store.has(bytes(6).key)).toBe(false);
    expect(await store.accounts()).toEqual([
      { payer: `*${owner}`, bytes: 30_000 },
      { payer: owner, bytes: 20_000 },
    ]);
  });

  it('is refused by the holders to a writer elsewhere', async () => {
    now = start;
    ring = await StoreRing.of(3, { now: () => now, quota: { identityBytes: 25_000, othersBytes: 25_000 } });
    const own = { identity: ring.node(0).overlay.self.owner, until: now + day };
    await ring.node(0).store.insert([bytes(1), bytes(2)], own);
    await expect(ring.node(0).store.insert([bytes(3)], own)).rejects.toMatchObject({ code: 'quota' });
    await ring.node(1).store.insert([bytes(3)], { ...own, identity: ring.node(1).overlay.self.owner });
  });

  it('has room again when something is deleted, and its sums can be made anew', async () => {
    now = start;
    ring = await StoreRing.of(1, { now: () => now, quota: { identityBytes: 25_000, othersBytes: 25_000 } });
    const { store } = ring.node(0);
    const alice = await known('alice');
    await store.insert([bytes(1), bytes(2)], lease(alice));
    await expect(store.insert([bytes(3)], lease(alice))).rejects.toMatchObject({ code: 'quota' });
    now += 29 * day;
    await state(alice);
    await collect();
    now += 8 * day;
    expect(await collect()).toMatchObject({ deleted: 2 });
    expect(await store.accounts()).toEqual([]);
    await store.insert([bytes(3)], lease(alice));
    expect(await store.recount()).toBe(0);
  });
});
