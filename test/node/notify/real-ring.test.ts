import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { localRecipient } from '../../../node/notify/local-recipient.ts';
import type { Notify } from '../../../node/notify/notify.ts';
import type { Receipt } from '../../../node/notify/receipt.ts';
import { compose } from '../../../node/notify/sealed.ts';
import { openSeenIds, type SeenIds } from '../../../node/notify/seen.ts';
import { startNotify } from '../../../node/notify/start.ts';
import type { Lookup } from '../../../node/store/directory.ts';
import type { Address } from '../../../policy/address.ts';
import { makeRing, type Ring, type RingNode } from '../overlay/ring-fixture.ts';
import { type Person, quiet } from './network.ts';
import { until } from './ring.ts';

let ring: Ring;
let root: string;
let seen: SeenIds;
let floors: Notify[];
const directory = new Map<Address, Lookup>();
const nodeAt = (number: number): RingNode => ring.nodes[number] as RingNode;
const floor = (number: number): Notify => floors[number] as Notify;

async function startAt(number: number): Promise<void> {
  floors[number] = await startNotify({
    overlay: nodeAt(number).overlay,
    store: { lookupIdentity: async (address) => directory.get(address) ?? { kind: 'none' } },
    dir: path.join(root, `node${number}`),
    now: Date.now,
    log: quiet,
  });
}

function person(name: string, home: number): Person {
  const keys = generateIdentityKeys();
  const address = `${name}@example.org` as Address;
  const keysOf = { signingKey: keys.signing.public, sealingKey: keys.sealing.public };
  const certificate = ring.ca.issueIdentity({ kind: 'user', address, ...keysOf, days: 30 });
  const contacts = [nodeAt(home).overlay.self.peerId];
  directory.set(address, { kind: 'found', certificate, record: { address, version: 1, contacts, publishedAt: 0 } });
  return { certificate, keys };
}

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-notify-ring-'));
  ring = await makeRing(3);
  floors = [];
  for (const number of [0, 1, 2]) await startAt(number);
  seen = openSeenIds({ dir: path.join(root, 'seen'), now: Date.now });
});
afterEach(async () => {
  await Promise.all(floors.map(async (one) => one.stop()));
  await seen.stop();
  await ring.stop();
  await rm(root, { recursive: true, force: true });
});

function letter(from: Person, to: Person, name: string) {
  const author = { certificate: from.certificate, signing: from.keys.signing };
  return compose({ from: author, to: to.certificate, id: Buffer.from(name), body: Buffer.from(name), now: Date.now() });
}

function acceptInto(got: string[], who: Person) {
  const revocations = new RevocationState(ring.ring, ring.ca.revocations());
  return localRecipient({
    ...who,
    trust: () => ({ ring: ring.ring, revocations, now: Date.now() }),
    seen,
    now: Date.now,
    handle: async (opened) => {
      got.push(Buffer.from(opened.body).toString());
      return { verdict: 'accepted' };
    },
  });
}

describe('three real nodes', () => {
  it('bring a thousand notifications to a recipient that is there, each once, each answered', async () => {
    const [alice, bob] = [person('alice', 0), person('bob', 2)];
    const got: string[] = [];
    const receipts: Receipt[] = [];
    floor(0).onReceipt((receipt) => receipts.push(receipt));
    floor(2).attach({ certificate: bob.certificate, accept: acceptInto(got, bob) });
    const sent = await Promise.all(
      Array.from({ length: 1000 }, async (_, n) => floor(0).send(letter(alice, bob, `${n}`))),
    );
    expect(sent.every(({ kind }) => kind === 'pending')).toBe(true);
    await until(() => receipts.length === 1000);
    expect(new Set(got).size).toBe(1000);
    expect(got).toHaveLength(1000);
    await until(() => floors.every((one) => one.stats().pending === 0));
  });

  it('keep a notification for one that is down, though the sender goes too, and deliver it once when it comes back', async () => {
    const [alice, bob] = [person('alice', 0), person('bob', 2)];
    await floor(2).stop();
    await nodeAt(2).overlay.stop();
    await until(() => !nodeAt(0).overlay.isUp(nodeAt(2).overlay.self.peerId));
    expect(await floor(0).send(letter(alice, bob, '1'))).toEqual({ kind: 'pending', copies: 2 });
    await floor(0).stop();
    await nodeAt(0).overlay.stop();
    await ring.restart(nodeAt(2));
    await startAt(2);
    const got: string[] = [];
    floor(2).attach({ certificate: bob.certificate, accept: acceptInto(got, bob) });
    await until(() => got.length === 1 && floor(1).stats().pending === 0);
    await ring.restart(nodeAt(0));
    await startAt(0);
    const { id } = letter(alice, bob, '1');
    const awaited = [{ id, recipient: bob.certificate.address }];
    // The sender, too, hears what became of it: a holder kept the receipt.
    await until(async () => (await floor(0).watch(awaited)).length === 1);
    expect(await floor(0).watch(awaited)).toMatchObject([{ verdict: 'accepted' }]);
    expect(got).toEqual(['1']);
  });
});
