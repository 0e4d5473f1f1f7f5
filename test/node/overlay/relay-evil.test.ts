import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { decodeCanonical, encodeCanonical } from '../../../node/identity/canonical.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Member, Overlay } from '../../../node/overlay/overlay.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { freePort } from './door.ts';
import { type Carry, CertifiedRogue, EvilThird } from './evil-third.ts';
import { address } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';
import { protocols } from './rogue.ts';

const soon = { timeout: 60_000, interval: 20 };
// Nobody listens at the discard port: what a node behind a firewall tells the others, it is reached at as little.
const unreachable = '/ip4/127.0.0.1/tcp/9';
const severalTimes = 3;

describe('two members that reach each other only through a third, which is evil', () => {
  let ring: Ring;
  let third: EvilThird;
  const pair: Overlay[] = [];
  const [left, right, other] = [0, 1, 2].map((at) => () => pair[at] as Overlay) as [
    () => Overlay,
    () => Overlay,
    () => Overlay,
  ];

  /** A member whose address is known to the third node alone. */
  async function hidden(name: string): Promise<Member> {
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`${name}@example.org`);
    const certificate = ring.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    const at = `/ip4/127.0.0.1/tcp/${await freePort()}`;
    const options = ring.options(seed, certificate, path.join(ring.nodes[0]!.dir, name));
    const overlay = await startOverlay({ ...options, listen: [at], announce: [unreachable] });
    overlay.handle('who', async (body) => Buffer.concat([Buffer.from(name), body]));
    pair.push(overlay);
    return { ...overlay.self, addresses: [at] };
  }

  const ask = async (from: Overlay, to: Overlay): Promise<string> =>
    Buffer.from(await from.request(to.self.peerId, 'who', Buffer.from('!'), { timeoutMs: 5_000 })).toString();

  // They hear of each other through an honest member, which then goes; from then on the evil one is the only way.
  beforeEach(async () => {
    ring = await makeRing(1);
    const members = [await hidden('left'), await hidden('right'), await hidden('other')];
    await vi.waitFor(() => {
      for (const one of pair) for (const two of pair) expect(one.isUp(two.self.peerId)).toBe(true);
    }, soon);
    third = await EvilThird.start(ring, members);
    await ring.nodes[0]!.overlay.stop();
    await vi.waitFor(() => expect(left().isUp(right().self.peerId)).toBe(false), soon);
  });
  afterEach(async () => {
    await Promise.all(pair.splice(0).map((overlay) => overlay.stop()));
    await third.stop();
    await ring.stop();
  });

  const kinds: readonly [string, (evil: EvilThird, someoneElse: string) => Carry][] = [
    [
      'changes one octet of each piece',
      (evil) => (stream, to, from) =>
        evil.handOn(stream, to, from, (bytes) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte))),
    ],
    ['answers in the place of who is wanted', (evil) => (stream, _to, from) => evil.pose(stream, from)],
    ['leads to another member', (evil, someoneElse) => (stream, _to, from) => evil.handOn(stream, someoneElse, from)],
    ['says nothing more', () => async () => undefined],
    ['ends it at once', () => async (stream) => stream.abort(new Error('evil'))],
  ];

  it.each(kinds)(
    'it %s: they are down for each other, and what they ask is not answered by anyone',
    async (_why, make) => {
      third.carry = make(third, other().self.peerId);
      await vi.waitFor(async () => {
        expect(await ask(left(), right()).catch(() => 'no answer')).toBe('no answer');
        expect(third.asked).toBeGreaterThanOrEqual(severalTimes);
      }, soon);
      expect([left().isUp(right().self.peerId), right().isUp(left().self.peerId)]).toEqual([false, false]);
      // So that the above says something, and shows that it costs them no more than the time.
      third.carry = (stream, to, from) => third.handOn(stream, to, from);
      await vi.waitFor(async () => expect(await ask(left(), right())).toBe('right!'), soon);
    },
  );

  it('it begins to change what it carries later: the connection ends, and no question gets a false answer', async () => {
    let evil = false;
    third.carry = (stream, to, from) =>
      third.handOn(stream, to, from, (bytes) => (evil ? bytes.map((byte) => byte ^ 1) : bytes));
    await vi.waitFor(async () => expect(await ask(left(), right())).toBe('right!'), soon);
    const downs: string[] = [];
    left().onMembership(({ kind, member }) => downs.push(`${kind} ${member.owner}`));
    evil = true;
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(left(), right()).catch(() => 'no answer')));
    expect(new Set(answers)).toEqual(new Set(['no answer']));
    await vi.waitFor(() => expect(downs).toContain(`down ${right().self.owner}`), soon);
    evil = false;
    await vi.waitFor(async () => expect(await ask(left(), right())).toBe('right!'), soon);
  });
});

describe('what one node carries', () => {
  let ring: Ring;
  const rogues: CertifiedRogue[] = [];
  let sink: CertifiedRogue;

  beforeEach(async () => {
    ring = await makeRing(1);
    // Takes every pair that is offered and keeps it open.
    sink = await member('sink');
    await sink.rogue.host.handle(protocols.relayed, async () => undefined, { maxInboundStreams: 128 });
    await sink.meet(ring.nodes[0]!.overlay.self);
  });
  afterEach(async () => {
    await Promise.all(rogues.splice(0).map(({ rogue }) => rogue.stop()));
    await ring.stop();
  });

  async function member(name: string): Promise<CertifiedRogue> {
    const rogue = await CertifiedRogue.start(ring, name);
    rogues.push(rogue);
    return rogue;
  }

  /** Asks for `count` ways to the sink, and keeps those that it gets. */
  async function ways(name: string, count: number): Promise<Stream[]> {
    const connection = await (await member(name)).meet(ring.nodes[0]!.overlay.self);
    const got: Stream[] = [];
    for (let n = 0; n < count; n += 1) {
      try {
        const signal = AbortSignal.timeout(5_000);
        const stream = await connection.newStream(protocols.relay, { signal, maxOutboundStreams: 64 });
        const words = lpStream(stream);
        await words.write(encodeCanonical({ to: sink.rogue.peerId }), { signal });
        const answer = decodeCanonical((await words.read({ signal })).subarray(), 128);
        if (answer.kind === 'decoded' && (answer.value as { ok: boolean }).ok) got.push(stream);
      } catch {
        // Refused.
      }
    }
    return got;
  }

  it('is four pairs of one member, 32 in all, and there is room again when one ends', async () => {
    const eight = await Promise.all(Array.from({ length: 8 }, (_, n) => ways(`greedy${n}`, 6)));
    expect(eight.map((streams) => streams.length)).toEqual(Array.from({ length: 8 }, () => 4));
    expect(await ways('late', 1)).toHaveLength(0);
    eight[0]![0]!.abort(new Error('enough'));
    let n = 0;
    await vi.waitFor(async () => expect(await ways(`later${n++}`, 1)).toHaveLength(1), soon);
  });
});
