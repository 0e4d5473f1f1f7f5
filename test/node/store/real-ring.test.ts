import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { getContent, putContent } from '../../../node/store/content.ts';
import { makeHead } from '../../../node/store/head.ts';
import { openStore, type Store } from '../../../node/store/store.ts';
import { address, issueUser, silentLog } from '../overlay/fake-overlay.ts';
import { makeRing, type Ring, type RingNode } from '../overlay/ring-fixture.ts';
import { lease, soon } from './store-ring.ts';

let ring: Ring;
const stores = new Map<RingNode, Store>();
afterEach(async () => {
  for (const store of stores.values()) await store.stop();
  stores.clear();
  await ring.stop();
});

async function openAt(node: RingNode): Promise<Store> {
  const dir = path.join(node.dir, 'store');
  const store = await openStore({ overlay: node.overlay, dir, now: Date.now, log: silentLog });
  stores.set(node, store);
  return store;
}

it('three nodes over libp2p keep an attachment, a head and an identity, and give them back when the writer is gone', async () => {
  ring = await makeRing(3);
  const [one, two, three] = await Promise.all(ring.nodes.map(openAt));
  if (one === undefined || two === undefined || three === undefined) throw new Error('three were asked for');
  const bytes = randomBytes(3_000_000);
  const ref = await putContent(one, bytes, { kind: 'convergent' }, lease);
  const again = await putContent(two, bytes, { kind: 'convergent' }, lease);
  expect(again).toEqual(ref);
  const keys = generateIdentityKeys();
  const head = makeHead(
    { logId: new Uint8Array(32), version: 1, parents: [], at: 1, body: randomBytes(50_000) },
    keys.signing,
  );
  expect((await one.putHead(head.bytes)).copies).toBeGreaterThanOrEqual(2);
  const alice = issueUser(ring.ca, 'alice@example.org');
  await one.publishIdentity({ certificate: alice.certificate.bytes });
  await soon(async () => {
    const blocks = await Promise.all([one, two, three].map(async (store) => (await store.stats()).blocks));
    expect(new Set(blocks).size).toBe(1); // kept once by each, though two inserted it
  });
  const [first] = ring.nodes;
  if (first === undefined) throw new Error('three were asked for');
  await one.stop();
  await first.overlay.stop();
  expect(Buffer.compare(await getContent(two, ref), bytes)).toBe(0);
  expect((await three.getHeads(head.key)).heads.map((found) => Buffer.compare(found, head.bytes))).toEqual([0]);
  expect((await three.lookupIdentity(alice.certificate.address)).kind).toBe('found');
  // As soon as both that are left have been given all that is theirs.
  await soon(async () => expect((await two.lookupIdentity(address('nobody@example.org'))).kind).toBe('none'));
});
