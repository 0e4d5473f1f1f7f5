import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { encode } from '@ipld/dag-cbor';
import type { Connection, Stream } from '@libp2p/interface';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { encodeCanonical } from '../../node/identity/canonical.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import { itemOf, makeReceipt } from '../../node/notify/receipt.ts';
import { compose, decodeOuter, notificationId } from '../../node/notify/sealed.ts';
import {
  decodePut,
  decodePutAnswers,
  encodePush,
  encodePut,
  encodePutAnswers,
  encodeStandings,
  methods as notify,
} from '../../node/notify/wire.ts';
import { signNodeRecord } from '../../node/overlay/node-record.ts';
import { checkHead, makeHead } from '../../node/store/head.ts';
import { placeKey } from '../../node/store/placement.ts';
import { packBody, shapes, methods as store, unpackBody } from '../../node/store/wire.ts';
import { address, issueUser, testDomain } from '../node/overlay/fake-overlay.ts';
import { poke, protocols, Rogue, say } from '../node/overlay/rogue.ts';
import type { Lie } from './evil-node.ts';
import { EvilRing, type HonestMachine } from './evil-ring.ts';
import type { HexRef } from './honest-node.ts';

// Three honest nodes, each a process of its own, and two certified evil ones: of three copies two are in evil hands wherever that is possible.
const patiently = { timeout: 30_000, interval: 50 };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

let ring: EvilRing;
let alice: HonestMachine;
let bob: HonestMachine;
let carol: HonestMachine;

beforeAll(async () => {
  ring = await EvilRing.start();
  [alice, bob, carol] = ring.honest;
}, 120_000);
afterEach(() => ring.behave());
afterAll(() => ring.stop());

let names = 0;
const fresh = (what: string): string => `${what} ${names++}`;

/** Who keeps this key, nearest first. */
function holdersOf(key: Uint8Array): string[] {
  const [evil] = ring.evil;
  return placeKey((near, count) => evil?.overlay.closest(near, count) ?? [], key, 3).proper.map(({ peerId }) => peerId);
}

/** Where both evil nodes are among the three that keep this key: an honest node that is not. */
function readerInEvilHands(key: Uint8Array): HonestMachine | undefined {
  const holders = holdersOf(key);
  if (!ring.evil.every(({ peerId }) => holders.includes(peerId))) return undefined;
  return [bob, carol].find(({ peerId }) => !holders.includes(peerId));
}

/** Something of alice's whose copies lie so, once all of them are there, and who is to read it. */
async function putInEvilHands(): Promise<{ text: string; ref: HexRef; reader: HonestMachine }> {
  for (;;) {
    const text = fresh('what alice put');
    const ref = await alice.ask<HexRef>({ ask: 'put', text });
    const reader = readerInEvilHands(bytes(ref.key));
    if (reader !== undefined) return { text, ref, reader };
  }
}

describe('a reader gets what was stored, though two of its three holders answer', () => {
  const lies: readonly [string, Lie][] = [
    ['garbage for a frame', async () => Buffer.from('garbage')],
    ['that they have none', async () => packBody({ block: null })],
    ['other bytes', async () => packBody({ block: Buffer.from('not it') })],
    ['nothing, for ever', async () => new Promise(() => undefined)],
    ['with a refusal', async () => Promise.reject(new Error('no'))],
  ];
  it.each(lies)('%s', async (_why, lie) => {
    const { text, ref, reader } = await putInEvilHands();
    // The honest copy may still be on its way when the quorum has answered.
    await sleep(300);
    ring.lie(store.fetch, lie);
    expect(await reader.ask({ ask: 'get', ref })).toBe(text);
  });

  it('another block that is a good one', async () => {
    const one = await putInEvilHands();
    const other = await putInEvilHands();
    await sleep(300);
    const seen = new Map<string, Uint8Array>();
    ring.lie(store.fetch, async (body, _from, honestly) => {
      const { key } = unpackBody(body, shapes.fetch);
      const answer = await honestly();
      seen.set(hex(key), answer);
      const [swapped] = [...seen].filter(([name]) => name !== hex(key)).map(([, value]) => value);
      return swapped ?? answer;
    });
    expect(await one.reader.ask({ ask: 'get', ref: one.ref })).toBe(one.text);
    expect(await other.reader.ask({ ask: 'get', ref: other.ref })).toBe(other.text);
  });
});

it('what two of three holders acknowledge and forget is read from the third', async () => {
  ring.lie(store.insert, async (body) => packBody({ kept: unpackBody(body, shapes.insert).blocks.length }));
  const { text, ref, reader } = await putInEvilHands();
  await vi.waitFor(async () => expect(await reader.ask({ ask: 'get', ref })).toBe(text), patiently);
});

describe('a log whose head lies with two evil holders', () => {
  /** Alice's log of two records whose head is in evil hands, and what the evil ones saw of it. */
  async function headsInEvilHands(): Promise<{
    name: string;
    seen: Uint8Array[];
    key: Uint8Array;
    reader: HonestMachine;
  }> {
    for (;;) {
      const name = fresh('log');
      const seen: Uint8Array[] = [];
      ring.lie(store.putHead, async (body, _from, honestly) => {
        seen.push(unpackBody(body, shapes.putHead).head);
        return honestly();
      });
      await alice.ask({ ask: 'append', log: name, text: 'one', create: true });
      await alice.ask({ ask: 'append', log: name, text: 'two', create: false });
      await sleep(200);
      const key = seen.map((head) => checkHead(head)?.key).at(0);
      const reader = key === undefined ? undefined : readerInEvilHands(key);
      if (key !== undefined && reader !== undefined) return { name, seen, key, reader };
    }
  }
  const versionsOf = ({ heads }: { heads: string[] }): number[] =>
    heads.map((head) => checkHead(bytes(head))?.version ?? 0);
  const old = (seen: readonly Uint8Array[]): Uint8Array =>
    [...seen].sort((left, right) => (checkHead(left)?.version ?? 0) - (checkHead(right)?.version ?? 0))[0] ??
    new Uint8Array();

  const lies: readonly [string, (seen: readonly Uint8Array[]) => Lie][] = [
    ['that show an old one', (seen) => async () => packBody({ heads: [old(seen)] })],
    ['that show none', () => async () => packBody({ heads: [] })],
    [
      'that show a newer one, which they signed themselves',
      () => async () => {
        const mallory = issueUser(ring.authority, 'mallory@example.org').keys.signing;
        const forged = makeHead(
          { logId: randomBytes(32), version: 99, parents: [], at: 1, body: randomBytes(8) },
          mallory,
        );
        return packBody({ heads: [forged.bytes] });
      },
    ],
  ];
  it.each(lies)('%s is read at its newest head', async (_why, lie) => {
    const { seen, key, reader } = await headsInEvilHands();
    const newest = Math.max(...seen.map((head) => checkHead(head)?.version ?? 0));
    ring.lie(store.heads, lie(seen));
    const found = await reader.ask<{ heads: string[] }>({ ask: 'heads', key: hex(key) });
    expect(versionsOf(found)).toEqual([newest]);
  });

  it('that call every write stale, with an old head as their proof, is written all the same', async () => {
    const { name, seen } = await headsInEvilHands();
    ring.lie(store.putHead, async () => packBody({ verdict: 'stale', heads: [old(seen)] }));
    // Two of three refuse without a proof that holds: stand-ins take the copies instead.
    await alice.ask({ ask: 'append', log: name, text: 'three', create: false });
    ring.behave();
    expect(await alice.ask({ ask: 'records', log: name })).toEqual(['one', 'two', 'three']);
  });
});

describe('a notification whose holders are evil but for one', () => {
  const got = async (text: string): Promise<number> =>
    (await bob.ask<string[]>({ ask: 'got' })).filter((one) => one.endsWith(text)).length;
  const send = async (text: string, to = bob.owner): Promise<unknown> =>
    alice.ask({ ask: 'send', to, name: text, text });

  it('arrives though they say "kept" and forget, while the recipient was away', async () => {
    ring.lie(notify.put, async (body) => encodePutAnswers(decodePut(body).map(() => ({ kind: 'kept' }))));
    await bob.end();
    const text = fresh('forgotten');
    await send(text);
    await bob.start([alice.at]);
    await ring.whenWhole();
    await vi.waitFor(async () => expect(await got(text)).toBe(1), patiently);
  });

  it('arrives though they claim that it was answered: with a forged receipt, and with a true one for something else', async () => {
    const mallory = issueUser(ring.authority, 'mallory@example.org');
    const facts = { verdict: 'accepted', now: Date.now() } as const;
    const stale = makeReceipt({ ...facts, id: randomBytes(32), by: bob.certificate, signing: bob.keys.signing });
    let claims = 0;
    const receiptFor = (item: Uint8Array): Uint8Array => {
      claims += 1;
      const { id } = decodeOuter(item);
      const forged = makeReceipt({
        ...facts,
        id,
        item: itemOf(item),
        by: bob.certificate,
        signing: mallory.keys.signing,
      });
      return claims % 2 === 0 ? forged.bytes : stale.bytes;
    };
    ring.lie(notify.put, async (body) =>
      encodePutAnswers(decodePut(body).map((item) => ({ kind: 'answered', receipt: receiptFor(item.bytes) }))),
    );
    ring.lie(notify.ask, async () => encodeStandings([{ kind: 'answered', receipt: stale.bytes }]));
    await bob.end();
    const text = fresh('claimed');
    await send(text);
    expect(claims).toBeGreaterThan(0);
    await bob.start([alice.at]);
    await ring.whenWhole();
    // One honest holder, or the sender's own memory, is enough.
    await vi.waitFor(async () => {
      await send(text);
      expect(await got(text)).toBe(1);
    }, patiently);
  });

  it('arrives once, however often yesterday’s is pushed again, also after a restart', async () => {
    const seen: Uint8Array[] = [];
    ring.lie(notify.put, async (body, _from, honestly) => {
      seen.push(...decodePut(body).map((item) => item.bytes));
      return honestly();
    });
    const text = fresh('replayed');
    await send(text);
    await vi.waitFor(async () => expect(await got(text)).toBe(1), patiently);
    const push = async (): Promise<void> => {
      const [evil] = ring.evil;
      const again = encodePush(seen.map((one) => ({ bytes: one, origin: evil?.peerId ?? '' })));
      for (let time = 0; time < 5; time += 1)
        await evil?.overlay.request(bob.peerId, notify.push, again, { timeoutMs: 5_000 });
    };
    expect(seen.length).toBeGreaterThan(0);
    await push();
    // A crash between handling and its mark may hand it over again; a receipt says that the mark is there.
    await vi.waitFor(async () => {
      const { notify } = await alice.ask<{ notify: { outstanding: number } }>({ ask: 'stats' });
      expect(notify.outstanding).toBe(0);
    }, patiently);
    await bob.end();
    await bob.start([alice.at]);
    await ring.whenWhole();
    await push();
    await sleep(500);
    // The process is new: what it counts came after its start, and the id was known.
    expect(await got(text)).toBe(0);
  });

  it('is never taken as another’s: neither under the thief’s id, nor by his signature around it', async () => {
    const seen: Uint8Array[] = [];
    ring.lie(notify.put, async (body, _from, honestly) => {
      seen.push(...decodePut(body).map((item) => item.bytes));
      return honestly();
    });
    const text = fresh('stolen');
    await send(text);
    await vi.waitFor(async () => expect(await got(text)).toBe(1), patiently);
    const before = await bob.ask<string[]>({ ask: 'got' });
    const mallory = issueUser(ring.authority, 'mallory@example.org');
    const { to, box } = decodeOuter(seen[0] ?? new Uint8Array());
    const renamed = encode({ v: 1, id: notificationId(mallory.certificate.address, Buffer.from('mine')), to, box });
    const from = { certificate: mallory.certificate, signing: mallory.keys.signing };
    // All that a thief can do with a box that he cannot open: carry it in something of his own.
    const wrapped = compose({ from, to: bob.certificate, id: Buffer.from(text), body: box, now: Date.now() });
    const [evil] = ring.evil;
    const stolen = [renamed, wrapped.bytes].map((one) => ({ bytes: one, origin: evil?.peerId ?? '' }));
    await evil?.overlay.request(bob.peerId, notify.push, encodePush(stolen), { timeoutMs: 5_000 });
    await vi.waitFor(async () => {
      const now = await bob.ask<string[]>({ ask: 'got' });
      expect(now.slice(before.length).map((one) => one.split(':')[0])).toEqual(['mallory@example.org']);
    }, patiently);
    expect(await got(text)).toBe(1);
  });

  it('is not kept out by a flood of others: the flooder gets no further than his share', async () => {
    const [evil] = ring.evil;
    const mallory = issueUser(ring.authority, 'mallory@example.org');
    const from = { certificate: mallory.certificate, signing: mallory.keys.signing };
    const items = Array.from({ length: 100 }, (_, number) => ({
      bytes: compose({
        from,
        to: carol.certificate,
        id: Buffer.from(`${number}`),
        body: randomBytes(100),
        now: Date.now(),
      }).bytes,
      certificate: carol.certificate.bytes,
      origin: evil?.peerId ?? '',
      at: Date.now(),
    }));
    const frame = encodePut(items);
    const kinds = new Map<string, number>();
    const flood = (async () => {
      for (let time = 0; time < 300; time += 1) {
        const answer = await evil?.overlay.request(alice.peerId, notify.put, frame, { timeoutMs: 20_000 });
        for (const { kind } of decodePutAnswers(answer ?? encodePutAnswers([])))
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
    })();
    const text = fresh('through the flood');
    await send(text);
    await vi.waitFor(async () => expect(await got(text)).toBe(1), patiently);
    await flood;
    // 30,000 in a burst; an identity's nodes together have 10,000 and 1,000 a second.
    expect(kinds.get('busy') ?? 0).toBeGreaterThan(0);
  });
});

describe('a member that breaks the rules of the line', () => {
  let rogue: Rogue;
  let connection: Connection;
  beforeEach(async () => {
    rogue = await Rogue.start();
    const peerKey = signingKeyFromSeed(rogue.seed).public;
    const certificate = ring.authority.issueNode({ peerKey, owner: address('eve@example.org'), days: 1 });
    const [at = '', peerId = ''] = alice.at.split('/p2p/');
    connection = await rogue.connect({ addresses: [at], peerId } as never);
    await say(connection, protocols.admit, rogue.hello(certificate.bytes));
  });
  afterEach(() => rogue.stop());

  const others = async (): Promise<void> => {
    const text = fresh('meanwhile');
    const ref = await bob.ask<HexRef>({ ask: 'put', text });
    expect(await carol.ask({ ask: 'get', ref })).toBe(text);
    expect(await alice.ask({ ask: 'get', ref })).toBe(text);
  };

  it('a frame of 2^31 bytes costs the one who announces it his stream, and nobody memory', async () => {
    const before = await alice.ask<number>({ ask: 'memory' });
    for (const length of ['80000000', '7fffffff', 'ffffffff'])
      await poke(connection, protocols.request, Buffer.from(`${length}0100000001`, 'hex'), 300);
    await others();
    expect((await alice.ask<number>({ ask: 'memory' })) - before).toBeLessThan(200 << 20);
  });

  it('10,000 streams are more than he gets, and the others are served', async () => {
    const before = await alice.ask<number>({ ask: 'memory' });
    const streams: Stream[] = [];
    let refused = 0;
    for (let batch = 0; batch < 100 && connection.status === 'open'; batch += 1) {
      const asked = await Promise.allSettled(
        Array.from({ length: 100 }, async () =>
          connection.newStream(protocols.request, { signal: AbortSignal.timeout(5_000) }),
        ),
      );
      for (const one of asked) {
        if (one.status === 'fulfilled') streams.push(one.value);
        else refused += 1;
      }
    }
    // Most look open for a moment, until the answer that they are not has come.
    const open = (): number => streams.filter(({ status }) => status === 'open').length;
    await vi.waitFor(() => expect(open()).toBeLessThan(300), patiently);
    expect(refused + streams.length).toBeGreaterThan(300);
    await others();
    expect((await alice.ask<number>({ ask: 'memory' })) - before).toBeLessThan(300 << 20);
  });
});

it('false neighbours are nobody’s neighbours: certificates of another authority, and records that another key signed', async () => {
  const [evil] = ring.evil;
  const before = await alice.ask<{ peerId: string }[]>({ ask: 'members' });
  const seeds = [randomBytes(32), randomBytes(32), randomBytes(32)];
  const [foreign, forged, stolen] = seeds.map((seed) => signingKeyFromSeed(Uint8Array.from(seed)));
  if (foreign === undefined || forged === undefined || stolen === undefined || evil === undefined)
    throw new Error('no seeds');
  const other = CertificateAuthority.create(testDomain, [], Date.now);
  const owner = address('eve@example.org');
  const fields = { ring: testDomain, addresses: ['/ip4/127.0.0.1/tcp/1'], sequence: 1 };
  const altered = Uint8Array.from(ring.authority.issueNode({ peerKey: forged.public, owner, days: 1 }).bytes);
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  const proofs = [
    {
      certificate: other.issueNode({ peerKey: foreign.public, owner, days: 1 }).bytes,
      record: signNodeRecord(fields, foreign),
    },
    { certificate: altered, record: signNodeRecord(fields, forged) },
    {
      certificate: ring.authority.issueNode({ peerKey: stolen.public, owner, days: 1 }).bytes,
      record: signNodeRecord(fields, forged),
    },
  ];
  await evil.overlay
    .request(alice.peerId, 'overlay/tell', encodeCanonical({ proofs }), { timeoutMs: 5_000 })
    .catch(() => undefined);
  const known = (await alice.ask<{ peerId: string }[]>({ ask: 'members' })).map(({ peerId }) => peerId);
  for (const { peerId } of before) expect(known).toContain(peerId);
  expect(known.length).toBeLessThanOrEqual(before.length);
});

it('what was done is counted against those who did it, and against nobody else; a writer of two heads is proven', async () => {
  interface Row {
    readonly kind: string;
    readonly name: string;
    readonly offence: string;
  }
  const seen = async (machine: HonestMachine): Promise<string[]> =>
    (await machine.ask<Row[]>({ ask: 'evidence' })).map(({ kind, name, offence }) => `${kind} ${name} ${offence}`);
  const evil = ring.evil.map(({ peerId }) => peerId);
  // Some of this was told to alice by the tests above: forged receipts, false neighbours, broken frames.
  const caught = async (machine: HonestMachine): Promise<boolean> =>
    (await seen(machine)).some((row) => row.endsWith('false-answer'));
  // Whose nearest holder is evil, and who is no holder himself: he asks the liar first.
  let reader: HonestMachine;
  do {
    ring.behave();
    const text = fresh('what alice put');
    const ref = await alice.ask<HexRef>({ ask: 'put', text });
    const holders = holdersOf(bytes(ref.key));
    reader = holders.includes(bob.peerId) ? carol : bob;
    if (holders.includes(reader.peerId) || !evil.includes(holders[0] ?? '')) continue;
    await sleep(300);
    ring.lie(store.fetch, async () => packBody({ block: Buffer.from('not it') }));
    expect(await reader.ask({ ask: 'get', ref })).toBe(text);
  } while (!(await caught(reader)));
  const hers = await seen(alice);
  expect(hers.some((row) => row.endsWith('forged-receipt'))).toBe(true);
  expect(hers).toContain(`node ${evil[0]} forged-member`);
  expect(hers.some((row) => row.endsWith('broken-line'))).toBe(true);
  const mallory = issueUser(ring.authority, 'mallory@example.org').keys.signing;
  const logId = Uint8Array.from(randomBytes(32));
  for (const at of [1, 2]) {
    const { bytes: head } = makeHead({ logId, version: 1, parents: [], at, body: randomBytes(8) }, mallory);
    await ring.evil[0]?.overlay.request(alice.peerId, store.putHead, packBody({ head }), { timeoutMs: 5_000 });
  }
  expect(await seen(alice)).toContain(`writer ${hex(mallory.public)} two-heads`);
  const honest = ring.honest.map(({ peerId }) => peerId);
  for (const machine of ring.honest)
    for (const row of await seen(machine)) for (const peerId of honest) expect(row).not.toContain(peerId);
});
