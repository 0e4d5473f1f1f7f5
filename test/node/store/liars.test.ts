import { afterEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { makeHead } from '../../../node/store/head.ts';
import { methods, packBody, shapes, unpackBody } from '../../../node/store/wire.ts';
import { issueUser } from '../overlay/fake-overlay.ts';
import { blockOf, lease, StoreRing, soon } from './store-ring.ts';

let ring: StoreRing;
afterEach(() => ring.stop());

const keys = generateIdentityKeys();
const logId = new Uint8Array(32);
const headOf = (version: number, signing = keys.signing) =>
  makeHead({ logId, version, parents: [], at: 1, body: Buffer.from(`v${version}`) }, signing);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const never = new Promise<Uint8Array>(() => undefined);

/** Two of the three holders are honest, the third answers as told. */
async function withLiar(method: string, lie: (body: Uint8Array) => Promise<Uint8Array>): Promise<void> {
  ring = await StoreRing.of(3);
  ring.node(2).lies.set(method, lie);
}

describe('a holder that lies about a block harms nobody', () => {
  const block = blockOf('the truth');
  const other = blockOf('another block');
  it.each<[string, () => Promise<Uint8Array>]>([
    ['garbage for a frame', async () => Buffer.from('garbage')],
    ['a well-formed frame of other bytes', async () => packBody({ block: Buffer.from('not it') })],
    ['another block', async () => packBody({ block: other.bytes })],
    ['that it has none', async () => packBody({ block: null })],
    ['nothing, ever', () => never],
    ['a refusal', async () => Promise.reject(new Error('no'))],
  ])('%s', async (_why, lie) => {
    await withLiar(methods.fetch, lie);
    // The one that asks has lost its disk; one honest holder and the liar are left to ask.
    await ring.node(0).store.insert([block], lease);
    await soon(() => expect(ring.copies(block.key)).toBe(3));
    await ring.kill(0);
    await ring.restart(0, 'lost');
    expect(hex(await ring.node(0).store.fetch(block.key))).toBe(hex(block.bytes));
  });

  it('a liar’s “none” alone does not make a block missing', async () => {
    await withLiar(methods.fetch, async () => packBody({ block: null }));
    await ring.kill(1);
    await expect(ring.node(0).store.fetch(block.key)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a holder that acknowledges and forgets is not the only one', async () => {
    ring = await StoreRing.of(3);
    ring
      .node(2)
      .lies.set(methods.insert, async (body) => packBody({ kept: unpackBody(body, shapes.insert).blocks.length }));
    await ring.node(0).store.insert([block], lease);
    await soon(() => expect(ring.copies(block.key)).toBe(2));
  });
});

describe('a copy that is read back', () => {
  const forgets = async (body: Uint8Array) => packBody({ kept: unpackBody(body, shapes.insert).blocks.length });

  it('counts only when it comes: who acknowledges and forgets is replaced by the next nearest', async () => {
    ring = await StoreRing.of(5);
    const blocks = Array.from({ length: 12 }, (_, index) => blockOf(`read back ${index}`));
    ring.node(2).lies.set(methods.insert, forgets);
    expect(await ring.node(0).store.insert(blocks, lease, { readBack: true })).toMatchObject({ wanted: 3 });
    await soon(() => expect(blocks.map(({ key }) => ring.copies(key))).toEqual(blocks.map(() => 3)));
  });

  it('is no copy where too few holders keep their word', async () => {
    ring = await StoreRing.of(3);
    const block = blockOf('nobody keeps this');
    for (const index of [1, 2]) ring.node(index).lies.set(methods.insert, forgets);
    await expect(ring.node(0).store.insert([block], lease, { readBack: true })).rejects.toMatchObject({
      code: 'quorum',
    });
    expect(await ring.node(0).store.insert([block], lease)).toMatchObject({ wanted: 3 });
  });
});

describe('a holder that lies about leases', () => {
  const block = blockOf('somebody else’s');

  it('that it has renewed what it does not have harms nobody: the others have', async () => {
    await withLiar(methods.renew, async (body) => {
      const { keys: packed } = unpackBody(body, shapes.renew);
      return packBody({ bits: new Uint8Array(Math.ceil(packed.length / 32 / 8)) });
    });
    await ring.node(0).store.insert([block], lease);
    await soon(() => expect(ring.copies(block.key)).toBe(3));
    expect(await ring.node(0).store.renew([block.key], lease)).toMatchObject({ renewed: 1 });
    for (const index of [0, 1]) expect(await ring.node(index).store.stats()).toMatchObject({ leases: 1 });
  });

  it.each<[string, () => Promise<Uint8Array>]>([
    ['garbage', async () => Buffer.from('garbage')],
    ['nothing at all', async () => packBody({ items: [] })],
    [
      'more than was asked',
      async () => packBody({ items: Array.from({ length: 50 }, () => ({ held: true, leases: [] })) }),
    ],
  ])('in an exchange, with %s, ends no walk of others', async (_why, lie) => {
    await withLiar(methods.exchange, lie);
    const body = packBody({ blocks: [{ bytes: block.bytes, leases: [] }] });
    await ring.node(1).overlay.request(ring.node(0).peerId, methods.insert, body, { timeoutMs: 5_000 });
    await soon(async () => expect(await ring.node(0).store.collect()).toMatchObject({ looked: 1, orphaned: 0 }));
    expect(ring.node(0).store.has(block.key)).toBe(true);
  });

  it.each<[string, () => Promise<Uint8Array>]>([
    ['garbage', async () => Buffer.from('garbage')],
    ['sums that are none of it', async () => packBody({ stamps: new Uint8Array(2_048).fill(7) })],
    ['a refusal', async () => Promise.reject(new Error('no'))],
  ])('in its sums, with %s, is asked about each key', async (_why, lie) => {
    await withLiar(methods.summary, lie);
    await ring.kill(2);
    await ring.node(0).store.insert([block], lease);
    await ring.restart(2);
    await soon(() => expect(ring.copies(block.key)).toBe(3));
  });
});

describe('a holder that lies about a head harms nobody', () => {
  it.each<[string, () => Promise<Uint8Array>]>([
    ['an old head', async () => packBody({ heads: [headOf(1).bytes] })],
    [
      'a head that somebody else signed',
      async () => packBody({ heads: [headOf(9, generateIdentityKeys().signing).bytes] }),
    ],
    ['none', async () => packBody({ heads: [] })],
    ['garbage', async () => Buffer.from([0xff, 0, 1])],
  ])('%s', async (_why, lie) => {
    await withLiar(methods.heads, lie);
    await ring.node(0).store.putHead(headOf(1).bytes);
    await ring.node(0).store.putHead(headOf(2).bytes);
    for (const index of [0, 1]) {
      const { heads, sure } = await ring.node(index).store.getHeads(headOf(1).key);
      expect([heads.map(hex), sure]).toEqual([[hex(headOf(2).bytes)], true]);
    }
  });

  it('“stale” without a proof is a failure of that holder, not of the write', async () => {
    await withLiar(methods.putHead, async () => packBody({ verdict: 'stale', heads: [headOf(1).bytes] }));
    await ring.node(0).store.putHead(headOf(1).bytes);
    expect(await ring.node(0).store.putHead(headOf(2).bytes)).toEqual({ copies: 2 });
  });
});

describe('the directory', () => {
  it('finds, denies and revokes; a stranger’s certificate is no entry', async () => {
    ring = await StoreRing.of(3);
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    const { store } = ring.node(0);
    await soon(async () =>
      expect(await ring.node(1).store.lookupIdentity(alice.certificate.address)).toEqual({ kind: 'none' }),
    );
    await store.publishIdentity({ certificate: alice.certificate.bytes });
    for (const index of [0, 2]) {
      const lookup = await ring.node(index).store.lookupIdentity(alice.certificate.address);
      expect(lookup).toMatchObject({ kind: 'found', certificate: { address: 'alice@example.org' } });
    }
    ring.node(0).overlay.offerRevocations(ring.network.ca.revoke([alice.certificate.serial]));
    expect(await store.lookupIdentity(alice.certificate.address)).toEqual({ kind: 'revoked' });
    const forged = Uint8Array.from(alice.certificate.bytes);
    forged[20] = (forged[20] ?? 0) ^ 1;
    await expect(store.publishIdentity({ certificate: forged })).rejects.toMatchObject({ code: 'invalid' });
  });

  it('holders that are down make it unknown, never none', async () => {
    ring = await StoreRing.of(3);
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    await ring.kill(1);
    await ring.kill(2);
    expect((await ring.node(0).store.lookupIdentity(alice.certificate.address)).kind).toBe('unknown');
  });

  it('a liar that denies an identity is outvoted by one that shows it', async () => {
    await withLiar(methods.entry, async () => packBody({ entry: null }));
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    await ring.node(0).store.publishIdentity({ certificate: alice.certificate.bytes });
    expect((await ring.node(1).store.lookupIdentity(alice.certificate.address)).kind).toBe('found');
  });

  it('a clock that was set back makes it unknown, never none', async () => {
    let now = 10_000_000;
    ring = await StoreRing.of(1, { now: () => now });
    const { store } = ring.node(0);
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    await store.publishIdentity({ certificate: alice.certificate.bytes });
    now -= 3_600_000;
    expect((await store.lookupIdentity(alice.certificate.address)).kind).toBe('unknown');
    now += 3_600_000;
    expect((await store.lookupIdentity(alice.certificate.address)).kind).toBe('found');
  });

  it('what was denied before the clock was set back is asked again', async () => {
    let now = 10_000_000;
    ring = await StoreRing.of(2, { now: () => now });
    const alice = issueUser(ring.network.ca, 'alice@example.org');
    const { store } = ring.node(0);
    now += 3_600_000;
    await soon(async () => expect(await store.lookupIdentity(alice.certificate.address)).toEqual({ kind: 'none' }));
    await ring.node(1).store.publishIdentity({ certificate: alice.certificate.bytes });
    now -= 3_600_000;
    expect((await store.lookupIdentity(alice.certificate.address)).kind).toBe('found');
  });
});
