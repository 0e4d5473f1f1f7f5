import { rm } from 'node:fs/promises';
import { encode } from '@ipld/dag-cbor';
import { afterEach, describe, expect, it } from 'vitest';
import { memoryMs } from '../../../node/notify/lifetime.ts';
import { itemOf, makeReceipt, type Receipt } from '../../../node/notify/receipt.ts';
import { decodeOuter, type Opened } from '../../../node/notify/sealed.ts';
import { livingHolders } from '../../../node/notify/spread.ts';
import {
  decodePut,
  decodePutAnswers,
  encodeKeys,
  encodeListed,
  encodePush,
  encodePut,
  encodePutAnswers,
  encodeReceipts,
  encodeStandings,
  encodeWords,
  methods,
} from '../../../node/notify/wire.ts';
import { OverlayFault } from '../../../node/overlay/overlay.ts';
import { Ring, until } from './ring.ts';

let ring: Ring;
afterEach(async () => ring.close());

const accepted = { verdict: 'accepted' } as const;
const ask = { timeoutMs: 1000 };

/** Three nodes; alice sends at 0; bob's home is 2; what node 1 does is up to the test. */
async function three() {
  ring = await Ring.of(3);
  const alice = ring.network.person('alice', [ring.node(0).overlay]);
  const bob = ring.network.person('bob', [ring.node(2).overlay]);
  const mallory = ring.network.person('mallory', [ring.node(1).overlay]);
  const receipts: Receipt[] = [];
  ring.node(0).notify.onReceipt((receipt) => receipts.push(receipt));
  const got: string[] = [];
  const take = async (opened: Opened) => {
    got.push(Buffer.from(opened.body).toString());
    return accepted;
  };
  const liar = ring.node(1).overlay.self.peerId;
  const evil = ring.node(1).overlay;
  return { alice, bob, mallory, receipts, got, take, liar, evil };
}

const pending = (number: number) => ring.node(number).notify.stats().pending;

describe('a holder that', () => {
  it('says "kept" and forgets loses nothing while another is honest', async () => {
    const { alice, bob, receipts, got, take, liar } = await three();
    ring.network.meddle = async ({ to, method, body }, next) =>
      to === liar && method === methods.put
        ? encodePutAnswers(decodePut(body).map(() => ({ kind: 'kept' })))
        : next(body);
    await ring.down(2);
    expect(await ring.node(0).notify.send(ring.letter(alice, bob, '1'))).toMatchObject({ kind: 'pending' });
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => receipts.length === 1);
    expect(got).toEqual(['letter 1']);
  });

  it('claims that there is a receipt, which is forged, does not count as a copy', async () => {
    const { alice, bob, mallory, receipts, liar } = await three();
    const sealed = ring.letter(alice, bob, '1');
    const facts = { id: sealed.id, verdict: 'accepted', now: ring.network.now } as const;
    const forged = makeReceipt({ ...facts, by: bob.certificate, signing: mallory.keys.signing });
    ring.network.meddle = async ({ to, method, body }, next) => {
      if (to !== liar) return next(body);
      if (method === methods.put)
        return encodePutAnswers(decodePut(body).map(() => ({ kind: 'answered', receipt: forged.bytes })));
      return method === methods.ask ? encodeStandings([{ kind: 'answered', receipt: forged.bytes }]) : next(body);
    };
    await ring.down(2);
    expect(await ring.node(0).notify.send(sealed)).toMatchObject({ kind: 'unknown', reason: /forged/ });
    expect(receipts).toEqual([]);
    expect(ring.node(0).notify.stats().outstanding).toBe(1);
  });

  it('answers garbage to a pull holds up nobody', async () => {
    const { alice, bob, got, take, liar } = await three();
    ring.network.meddle = async ({ to, method, body }, next) =>
      to === liar && (method === methods.list || method === methods.get) ? Buffer.from('garbage') : next(body);
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => got.length === 1);
  });

  const slow = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const keyAt = (page: number, at: number) => Buffer.alloc(32, `${page} ${at}`);
  const endless: readonly [string, (page: number) => Promise<Uint8Array>][] = [
    [
      'lists without end what it does not have',
      async (page) => {
        await slow(0);
        const keys = Array.from({ length: 10 }, (_, at) => ({ id: keyAt(page, at), item: keyAt(page, at) }));
        return encodeListed({ keys, next: Buffer.alloc(96, `${page}`) });
      },
    ],
    ['takes its time for each answer', async () => slow(8_000).then(() => encodeListed({ keys: [] }))],
  ];
  it.each(endless)('%s holds up nobody', async (_why, answer) => {
    const { alice, bob, got, take } = await three();
    const home = ring.node(2).overlay;
    // The one that is asked first.
    const holders = await livingHolders(home, bob.certificate.signingKey);
    const first = holders.find(({ peerId }) => peerId !== home.self.peerId);
    let pages = 0;
    ring.network.meddle = async ({ to, method, body }, next) =>
      to === first?.peerId && method === methods.list ? answer(pages++) : next(body);
    await ring.down(2);
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    await ring.up(2);
    ring.attach(2, bob, take);
    await until(() => got.length === 1);
    expect(pages).toBeLessThan(100);
  });

  it('hands out the same notification for ever has it answered the same, and handled once', async () => {
    const { alice, bob, receipts, got, take, evil } = await three();
    ring.attach(2, bob, take);
    const sealed = ring.letter(alice, bob, '1');
    await ring.node(0).notify.send(sealed);
    await until(() => receipts.length === 1);
    const replay = encodePush([{ bytes: sealed.bytes, origin: evil.self.peerId }]);
    for (let day = 0; day < 20; day++) {
      ring.network.now += 86_400_000;
      await evil.request(ring.node(2).overlay.self.peerId, methods.push, replay, ask);
    }
    await ring.node(2).notify.stop();
    expect(got).toHaveLength(1);
    await ring.up(2);
  });

  it('is killed with its disk is stood in for, and gets its share back when it comes again empty', async () => {
    ring = await Ring.of(5);
    const alice = ring.network.person('alice', [ring.node(0).overlay]);
    const bob = ring.network.person('bob');
    await ring.node(0).notify.send(ring.letter(alice, bob, '1'));
    const all = [0, 1, 2, 3, 4];
    const holding = (among: number[]) => among.filter((number) => pending(number) > 0);
    await until(() => holding(all).length === 3);
    const proper = holding(all);
    const [lost = 0] = proper;
    const others = all.filter((number) => number !== lost);
    await ring.down(lost);
    for (const number of others) await ring.node(number).notify.repair();
    expect(holding(others)).toHaveLength(3);
    await rm(ring.node(lost).dir, { recursive: true });
    await ring.up(lost);
    for (const number of others) await ring.node(number).notify.repair();
    expect(holding(all)).toEqual(proper);
  });
});

describe('what a holder keeps', () => {
  async function held() {
    const scene = await three();
    const { alice, bob } = scene;
    await ring.down(2);
    const sealed = ring.letter(alice, bob, '1');
    await ring.node(0).notify.send(sealed);
    const holder = ring.node(0).overlay.self.peerId;
    const say = async (receipt: Receipt) =>
      scene.evil.request(holder, methods.receipts, encodeReceipts([receipt.bytes]), ask);
    return { ...scene, sealed, say, holder };
  }

  it('is not removed by a receipt that somebody else signed, nor by one for another id, nor by one for other bytes', async () => {
    const { bob, mallory, sealed, say } = await held();
    const base = { id: sealed.id, verdict: 'accepted', now: ring.network.now } as const;
    const bobs = { by: bob.certificate, signing: bob.keys.signing };
    await say(makeReceipt({ ...base, by: bob.certificate, signing: mallory.keys.signing }));
    await say(makeReceipt({ ...base, by: mallory.certificate, signing: mallory.keys.signing }));
    await say(makeReceipt({ ...base, ...bobs, id: Buffer.alloc(32) }));
    await say(makeReceipt({ ...base, ...bobs, item: itemOf(Buffer.from('others')) }));
    expect(pending(0)).toBe(1);
    await say(makeReceipt({ ...base, ...bobs }));
    expect(pending(0)).toBe(0);
  });

  it('does not come back by a late copy once it is answered', async () => {
    const { alice, bob, sealed, say, holder, evil } = await held();
    const bobs = { by: bob.certificate, signing: bob.keys.signing };
    await say(makeReceipt({ id: sealed.id, verdict: 'accepted', now: ring.network.now, ...bobs }));
    const item = {
      bytes: sealed.bytes,
      origin: evil.self.peerId,
      at: ring.network.now,
      certificate: bob.certificate.bytes,
    };
    const [answer] = decodePutAnswers(await evil.request(holder, methods.put, encodePut([item]), ask));
    expect(answer?.kind).toBe('answered');
    expect(pending(0)).toBe(0);
    expect(alice).toBeDefined();
  });

  it('is only for certified recipients, only for the one it names, and not older than anybody remembers', async () => {
    const { bob, mallory, sealed, holder, evil } = await held();
    const now = ring.network.now;
    const base = { bytes: sealed.bytes, origin: '', at: now };
    const items = [
      { ...base, certificate: Buffer.alloc(200) },
      { ...base, certificate: mallory.certificate.bytes },
      { ...base, certificate: bob.certificate.bytes, bytes: Buffer.from('garbage') },
      { ...base, certificate: bob.certificate.bytes, at: now - memoryMs - 1 },
    ];
    const answers = decodePutAnswers(await evil.request(holder, methods.put, encodePut(items), ask));
    expect(answers.map(({ kind }) => kind)).toEqual(['refused', 'refused', 'refused', 'refused']);
    expect(pending(0)).toBe(1);
  });

  it('is bounded for each identity whose nodes bring it, and not for the others', async () => {
    const { bob, holder, evil } = await held();
    const item = {
      bytes: Buffer.from('garbage'),
      origin: '',
      at: ring.network.now,
      certificate: bob.certificate.bytes,
    };
    const frame = encodePut(Array.from({ length: 500 }, () => item));
    const kinds = new Set<string>();
    for (let number = 0; number < 21; number++) {
      const answers = decodePutAnswers(await evil.request(holder, methods.put, frame, ask));
      for (const { kind } of answers) kinds.add(kind);
    }
    expect(kinds).toEqual(new Set(['refused', 'busy']));
    const [owner = ''] = evil.self.owner.split('@');
    for (const [whose, kind] of [
      [owner, 'busy'],
      ['somebody-else', 'refused'],
    ] as const) {
      const another = ring.network.overlay(whose);
      const answers = decodePutAnswers(await another.request(holder, methods.put, frame, ask));
      expect(new Set(answers.map((answer) => answer.kind))).toEqual(new Set([kind]));
    }
  });

  const nonsense: [why: string, method: string, body: Uint8Array][] = [
    ['no CBOR', methods.put, Buffer.from([0xff, 0xff])],
    ['another shape', methods.put, encode({ a: 1 })],
    ['more items than a frame has', methods.ask, encode(Array.from({ length: 501 }, () => [1, 2, 3]))],
    [
      'keys of another length',
      methods.ask,
      encodeKeys([{ to: Buffer.alloc(31), id: Buffer.alloc(32), item: Buffer.alloc(32) }]),
    ],
    ['an item whose certificate is missing', methods.put, encode([[], [[0, Buffer.from('x'), '', 0]]])],
    ['a receipt that is longer than receipts are', methods.receipts, encodeReceipts([Buffer.alloc(1025)])],
    ['a list of nobody', methods.list, encodeWords(['x'])],
  ];
  it.each(nonsense)('is not touched by a request that is %s', async (_why, method, body) => {
    const { holder, evil } = await held();
    await expect(evil.request(holder, method, body, ask)).rejects.toBeInstanceOf(OverlayFault);
    expect(pending(0)).toBe(1);
  });
});

describe('a stranger’s notification under a known id', () => {
  it('is answered for its own bytes alone: the true one still arrives', async () => {
    const { alice, bob, receipts, got, take, evil } = await three();
    ring.attach(2, bob, take);
    const sealed = ring.letter(alice, bob, '1');
    const { to } = decodeOuter(sealed.bytes);
    const fake = encode({ v: 1, id: sealed.id, to, box: Buffer.alloc(100) });
    const home = ring.node(2).overlay.self.peerId;
    const answers: Uint8Array[] = [];
    evil.handle(methods.receipts, async (body) => {
      answers.push(body);
      return encodeWords(['taken']);
    });
    await evil.request(home, methods.push, encodePush([{ bytes: fake, origin: evil.self.peerId }]), ask);
    await until(() => answers.length > 0);
    await ring.node(0).notify.send(sealed);
    await until(() => receipts.length === 1);
    expect(receipts[0]).toMatchObject({ verdict: 'accepted' });
    expect(got).toEqual(['letter 1']);
  });
});
