import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Door } from '../../../node/door/door.ts';
import { localRecipient } from '../../../node/notify/local-recipient.ts';
import type { Receipt } from '../../../node/notify/receipt.ts';
import { openSeenIds } from '../../../node/notify/seen.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import type { Address } from '../../../policy/address.ts';
import { until } from '../notify/ring.ts';
import { block, NodeBehind } from './node-behind.ts';

const lease = { identity: 'gateway@example.org' as Address, until: 2_000_000_000_000 };

describe.each(['in process', 'over a socket'] as const)('a door %s', (kind) => {
  let node: NodeBehind;
  let door: Door;
  beforeEach(async () => {
    node = await NodeBehind.start();
    door = await node.open(kind);
  });
  afterEach(async () => {
    await door.close();
    await node.stop();
  });

  it('puts blocks into the store and gets them out again, byte for byte', async () => {
    const blocks = Array.from({ length: 40 }, () => block(randomBytes(65_000)));
    expect(await door.insert(blocks, lease)).toMatchObject({ wanted: 3 });
    for (const { key, bytes } of blocks) expect(Buffer.compare(await door.fetch(key), bytes)).toBe(0);
  });

  it('says as many copies as the weakest block has', async () => {
    const blocks = Array.from({ length: 4 }, () => block(randomBytes(65_000)));
    const { copies } = await door.insert(blocks, lease);
    expect(copies).toBe(kind === 'in process' ? 3 : 2);
  });

  it('hands a fault of the store on as what it is', async () => {
    const missing = door.fetch(randomBytes(32));
    await expect(missing).rejects.toBeInstanceOf(StoreFault);
    await expect(missing).rejects.toMatchObject({ code: 'missing' });
    node.full = true;
    await expect(door.insert([block(randomBytes(10))], lease)).rejects.toMatchObject({ code: 'quorum' });
  });

  it('looks identities up, and tells "nobody" from "revoked" and "cannot know"', async () => {
    const { network } = node.ring;
    const bob = network.person('bob');
    const found = await door.lookup(bob.certificate.address);
    expect(found).toMatchObject({ kind: 'found', record: { version: 1 } });
    expect(found.kind === 'found' && Buffer.compare(found.certificate.bytes, bob.certificate.bytes)).toBe(0);
    expect(await door.lookup('nobody@example.org' as Address)).toEqual({ kind: 'none' });
    network.directory.set(bob.certificate.address, { kind: 'unknown', reason: 'too few answered' });
    expect(await door.lookup(bob.certificate.address)).toEqual({ kind: 'unknown', reason: 'too few answered' });
  });

  it('sends, has the recipient at its own side, and brings the receipt once', async () => {
    const { network } = node.ring;
    const bob = network.person('bob', [node.ring.node(0).overlay], 'service');
    const alice = network.person('alice');
    const seen = openSeenIds({ dir: `${node.root}/seen`, now: network.clock });
    const got: string[] = [];
    const accept = localRecipient({
      ...bob,
      trust: async () => door.trust(),
      seen,
      now: network.clock,
      handle: async (opened) => {
        got.push(Buffer.from(opened.body).toString());
        return { verdict: 'refused', rule: 'not today' };
      },
    });
    const detach = door.attach({ certificate: bob.certificate, accept });
    const receipts: Receipt[] = [];
    door.onReceipt((receipt) => receipts.push(receipt));
    const sealed = node.ring.letter(alice, bob, '1');
    expect(await door.notify(sealed)).toEqual({ kind: 'pending', copies: 1 });
    await until(() => receipts.length === 1);
    expect(receipts[0]).toMatchObject({ verdict: 'refused', rule: 'not today', by: 'bob@example.org' });
    expect(got).toEqual(['letter 1']);
    // Whoever asks later hears it too.
    await door.watch([sealed]);
    await until(() => receipts.length === 2);
    detach();
    await until(() => node.ring.node(0).notify.stats().attached === 0);
    await seen.stop();
  });

  it('does not tell the receipts of others', async () => {
    const { network } = node.ring;
    const bob = network.person('bob', [node.ring.node(0).overlay]);
    const receipts: Receipt[] = [];
    const others: Receipt[] = [];
    door.onReceipt((receipt) => receipts.push(receipt));
    node.ring.node(0).notify.onReceipt((receipt) => others.push(receipt));
    const { seen } = node.ring.attach(0, bob, async () => ({ verdict: 'accepted' }));
    await node.ring.node(0).notify.send(node.ring.letter(bob, bob, '1'));
    await until(() => others.length === 1);
    await door.call('echo', null);
    expect(receipts).toEqual([]);
    expect(seen).toBeDefined();
  });

  it('calls what the program added, and says when there is no such thing or it failed', async () => {
    expect(await door.call('echo', { a: [1, 'two'] })).toEqual({ a: [1, 'two'] });
    await expect(door.call('no', null)).rejects.toMatchObject({ code: 'no-such-method' });
    await expect(door.call('toString', null)).rejects.toMatchObject({ code: 'no-such-method' });
    await expect(door.call('broken', null)).rejects.toMatchObject({ code: 'failed', message: 'it broke' });
  });

  it('gives the ring and what is needed to judge certificates', async () => {
    const { network } = node.ring;
    const trust = await door.trust();
    expect(trust.ring.name).toBe('example.org');
    expect(trust.now).toBe(network.now);
    expect(trust.revocations.current()?.version).toBe(network.revocations.current()?.version);
    expect((await door.ring()).name).toBe('example.org');
  });

  it('answers nothing after it was closed', async () => {
    await door.close();
    await expect(door.fetch(randomBytes(32))).rejects.toMatchObject({ code: 'closed' });
    expect(door.connected()).toBe(false);
  });
});
