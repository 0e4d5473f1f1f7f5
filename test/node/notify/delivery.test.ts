import { afterEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import type { Receipt } from '../../../node/notify/receipt.ts';
import type { Opened } from '../../../node/notify/sealed.ts';
import { methods } from '../../../node/notify/wire.ts';
import { OverlayFault } from '../../../node/overlay/overlay.ts';
import { Ring, until } from './ring.ts';

let ring: Ring;
afterEach(async () => ring.close());

const accepted = { verdict: 'accepted' } as const;

/** Three nodes: alice sends at 0, bob is at home at 2. */
async function three() {
  ring = await Ring.of(3);
  const alice = ring.network.person('alice', [ring.node(0).overlay]);
  const bob = ring.network.person('bob', [ring.node(2).overlay]);
  const receipts: Receipt[] = [];
  ring.node(0).notify.onReceipt((receipt) => receipts.push(receipt));
  const got: string[] = [];
  const take = async (opened: Opened) => {
    got.push(Buffer.from(opened.body).toString());
    return accepted;
  };
  return { alice, bob, receipts, got, take };
}

const empty = () => ring.nodes.every(({ notify }) => notify.stats().pending === 0);

describe('a notification', () => {
  it('reaches a recipient who is there, once, and its receipt the sender, and nothing stays behind', async () => {
    const { alice, bob, receipts, got, take } = await three();
    ring.attach(2, bob, take);
    const sealed = ring.letter(alice, bob, '1');
    expect(await ring.node(0).notify.send(sealed)).toMatchObject({ kind: 'pending' });
    await until(() => receipts.length === 1 && empty());
    expect(got).toEqual(['letter 1']);
    expect(receipts[0]).toMatchObject({ verdict: 'accepted', by: 'bob@example.org' });
    expect(ring.node(0).notify.stats().outstanding).toBe(0);
  });

  it('is pushed to a recipient who is there: nobody has to ask for it', { timeout: 20_000 }, async () => {
    const { alice, bob, receipts, got, take } = await three();
    ring.network.meddle = async ({ method, body }, next) => {
      if (method === methods.list) throw new OverlayFault('timeout', 'nobody may ask');
      return next(body);
    };
    ring.attach(2, bob, take);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await until(() => receipts.length === 1 && empty());
    expect(got).toEqual(['letter 1']);
  });

  it('works in a ring of one', async () => {
    ring = await Ring.of(1);
    const bob = ring.network.person('bob', [ring.node(0).overlay]);
    const got: Opened[] = [];
    ring.attach(0, bob, async (opened) => {
      got.push(opened);
      return accepted;
    });
    expect(await ring.node(0).notify.send(ring.letter(bob, bob, '1'))).toEqual({ kind: 'pending', copies: 1 });
    await until(() => got.length === 1 && empty());
  });

  it('waits for a recipient whose node is down, and reaches it once when it comes up', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(2);
    expect(await ring.node(0).notify.send(ring.letter(alice, bob, '1'))).toEqual({ kind: 'pending', copies: 2 });
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => receipts.length === 1 && empty());
    expect(got).toEqual(['letter 1']);
  });

  it('that came while the recipient’s machine slept is asked for when it wakes, not at the next periodic pull', {
    timeout: 20_000,
  }, async () => {
    const { alice, bob, receipts, got, take } = await three();
    let asleep = true;
    ring.network.meddle = async ({ method, body }, next) => {
      if (asleep && (method === methods.push || method === methods.list))
        throw new OverlayFault('timeout', 'it sleeps');
      return next(body);
    };
    ring.attach(2, bob, take);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    // So that neither the first pull nor the push is still under way.
    await new Promise((resolve) => setTimeout(resolve, 100));
    asleep = false;
    ring.network.wake(ring.node(2).overlay.self.peerId);
    await until(() => receipts.length === 1);
    expect(got).toEqual(['letter 1']);
  });

  it('survives the sender’s node, which is gone before the recipient comes', async () => {
    const { alice, bob, got, take } = await three();
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await ring.down(0);
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => got.length === 1);
    const sealed = ring.letter(alice, bob, '1');
    await ring.up(0);
    // The receipt was kept by a holder for the sender that was away.
    const answered = async () => ring.node(0).notify.watch([{ id: sealed.id, recipient: bob.certificate.address }]);
    await until(async () => (await answered()).length === 1);
    expect(await answered()).toMatchObject([{ verdict: 'accepted' }]);
    expect(got).toHaveLength(1);
  });

  it('is not "pending" while the write quorum is not there, and sending it again is safe', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(1);
    await ring.down(2);
    const sealed = ring.letter(alice, bob, '1');
    expect(await ring.node(0).notify.send(sealed)).toMatchObject({ kind: 'unknown', reason: /1 of 2 copies/ });
    await ring.up(1);
    await ring.up(2);
    ring.attach(2, bob, take);
    expect(await ring.node(0).notify.send(ring.letter(alice, bob, '1'))).toMatchObject({ kind: 'pending' });
    await until(() => receipts.length === 1 && empty());
    expect(got).toEqual(['letter 1']);
  });

  it('is asked for again after "later", and after a handler that threw', async () => {
    const { alice, bob, receipts } = await three();
    let calls = 0;
    ring.attach(2, bob, async () => {
      calls++;
      if (calls === 1) return { later: 'not now' };
      if (calls === 2) throw new Error('it broke');
      return { verdict: 'refused', rule: 'full' } as const;
    });
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    for (let second = 0; second < 8 && receipts.length === 0; second++) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      ring.network.now += 10_000;
    }
    await until(() => receipts.length === 1);
    expect(receipts[0]).toMatchObject({ verdict: 'refused', rule: 'full' });
    expect(calls).toBe(3);
  });

  it('is asked for again after "later" though the clock is set back meanwhile', async () => {
    const { alice, bob, receipts } = await three();
    let calls = 0;
    ring.attach(2, bob, async () => (++calls === 1 ? { later: 'not now' } : { verdict: 'accepted' }));
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await until(() => calls === 1);
    // "Later" has been noted by the end of this turn.
    await new Promise((resolve) => setImmediate(resolve));
    ring.network.now -= 200_000;
    await until(() => receipts.length === 1);
    expect(calls).toBe(2);
  });

  it('sent a second time after the answer tells the answer again and disturbs nobody', async () => {
    const { alice, bob, receipts, got, take } = await three();
    ring.attach(2, bob, take);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await until(() => receipts.length === 1);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await until(() => receipts.length === 2);
    expect(got).toHaveLength(1);
  });

  it('sent from two nodes under one name is handled once, and both get the receipt', async () => {
    const { alice, bob, receipts, got, take } = await three();
    ring.attach(2, bob, take);
    const others: Receipt[] = [];
    ring.node(1).notify.onReceipt((receipt) => others.push(receipt));
    await Promise.all([0, 1].map(async (n) => ring.node(n).notify.send(ring.letter(alice, bob, '1'))));
    await until(() => receipts.length === 1 && others.length === 1 && empty());
    expect(got).toHaveLength(1);
  });

  it('to nobody is said at once, without leaving anything with anybody', async () => {
    const { alice, bob } = await three();
    const sealed = ring.letter(alice, bob, '1');
    ring.network.directory.delete(bob.certificate.address);
    expect(await ring.node(0).notify.send(sealed)).toMatchObject({ kind: 'unknown', reason: /no such identity/ });
    expect(empty()).toBe(true);
  });

  it('is reported undeliverable when its lifetime is over', async () => {
    const { alice, bob } = await three();
    const sealed = ring.letter(alice, bob, '1');
    await ring.node(0).notify.send(sealed);
    ring.network.now += 15 * 86_400_000;
    await ring.down(0);
    await ring.up(0);
    const answered = async () => ring.node(0).notify.watch([{ id: sealed.id, recipient: bob.certificate.address }]);
    await until(async () => (await answered()).length === 1);
    expect(await answered()).toMatchObject([{ verdict: 'undeliverable', by: 'bob@example.org' }]);
  });

  it('whose receipts are lost on every way is answered the same when holders offer it again', async () => {
    const { alice, bob, receipts, got, take } = await three();
    let lost = 0;
    ring.network.meddle = async ({ method, body }, next) => {
      if (method !== methods.receipts || lost >= 6) return next(body);
      lost++;
      throw new OverlayFault('timeout', 'lost');
    };
    ring.attach(2, bob, take);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await until(() => got.length === 1 && lost >= 3);
    ring.network.meddle = undefined;
    ring.network.set(ring.node(1).overlay.self.peerId, false);
    ring.network.set(ring.node(1).overlay.self.peerId, true);
    await until(() => receipts.length === 1 && empty());
    expect(got).toHaveLength(1);
  });

  it('that waits under a key which was renewed meanwhile is found, opened and answered under that key, once', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    const renewed = ring.network.person('bob', [ring.node(2).overlay]);
    await ring.node(0).notify.send(ring.letter(alice, renewed, '2'));
    await ring.up(2);
    ring.attach(2, renewed, take, [bob]);
    await until(() => receipts.length === 2 && empty());
    expect(got.toSorted()).toEqual(['letter 1', 'letter 2']);
  });

  it('sent again to the renewed key is still one notification, and is answered under both keys', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    const renewed = ring.network.person('bob', [ring.node(2).overlay]);
    const second: Receipt[] = [];
    ring.node(1).notify.onReceipt((receipt) => second.push(receipt));
    await ring.node(1).notify.send(ring.letter(alice, renewed, '1'));
    await ring.up(2);
    ring.attach(2, renewed, take, [bob]);
    await until(() => receipts.length === 1 && second.length === 1 && empty());
    expect(got).toEqual(['letter 1']);
    expect(second).toMatchObject([{ verdict: 'accepted', by: 'bob@example.org' }]);
  });

  it('that was sealed to a key of which only the sealing half was renewed is opened', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    const other = generateIdentityKeys();
    const keys = { ...other, signing: bob.keys.signing };
    const certificate = ring.network.authority.issueIdentity({
      kind: 'user',
      address: bob.certificate.address,
      signingKey: bob.keys.signing.public,
      sealingKey: other.sealing.public,
      days: 30,
    });
    await ring.up(2);
    ring.attach(2, { keys, certificate }, take, [bob]);
    await until(() => receipts.length === 1 && empty());
    expect([got, receipts[0]?.verdict]).toEqual([['letter 1'], 'accepted']);
  });

  it('is one of a thousand that waited, and all of them arrive once', async () => {
    const { alice, bob, receipts, got, take } = await three();
    await ring.down(2);
    const count = 1000;
    await Promise.all(
      Array.from({ length: count }, async (_, n) => ring.node(0).notify.send(ring.letter(alice, bob, `${n}`))),
    );
    expect(ring.node(1).notify.stats().pending).toBe(count);
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => receipts.length === count && empty());
    expect(new Set(got).size).toBe(count);
    expect(got).toHaveLength(count);
  });

  it('of a burst that is more than a recipient takes in hand is fetched when there is room, not at the next periodic pull', {
    timeout: 25_000,
  }, async () => {
    const { alice, bob, got, receipts } = await three();
    const open = Promise.withResolvers<void>();
    ring.attach(2, bob, async (opened) => {
      await open.promise;
      got.push(Buffer.from(opened.body).toString());
      return accepted;
    });
    const names = Array.from({ length: 1_200 }, (_, number) => `${number}`);
    await Promise.all(names.map(async (name) => ring.node(0).notify.send(ring.letter(alice, bob, name))));
    open.resolve();
    await until(() => receipts.length === names.length);
    expect(new Set(got).size).toBe(names.length);
    expect(got).toHaveLength(names.length);
  });
});
