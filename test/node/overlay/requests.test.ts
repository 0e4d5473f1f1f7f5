import type { Connection, Stream } from '@libp2p/interface';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { decodeFrame, encodeFrame, FrameCutter } from '../../../node/overlay/frame.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { address } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';
import { protocols, Rogue, say } from './rogue.ts';

const soon = { timeout: 5_000, interval: 10 };
const request = (id: number, method: string, timeoutMs = 60_000, body = new Uint8Array()): Uint8Array =>
  encodeFrame({ kind: 'request', id, timeoutMs, method, body });

describe('a member that keeps no rule', () => {
  let ring: Ring;
  let rogue: Rogue;
  let victim: Overlay;
  let connection: Connection;

  beforeEach(async () => {
    ring = await makeRing(2);
    victim = ring.nodes[0]!.overlay;
    rogue = await Rogue.start();
    const peerKey = signingKeyFromSeed(rogue.seed).public;
    const certificate = ring.ca.issueNode({ peerKey, owner: address('mallory@example.org'), days: 1 });
    connection = await rogue.connect(victim.self);
    await say(connection, protocols.admit, rogue.hello(certificate.bytes));
    await vi.waitFor(() => expect(victim.isUp(rogue.peerId)).toBe(true), soon);
  });
  afterEach(async () => {
    await rogue.stop();
    await ring.stop();
  });

  function open(): Promise<Stream> {
    return connection.newStream(protocols.request, { signal: AbortSignal.timeout(3_000) });
  }

  async function othersAreServed(): Promise<boolean> {
    const answer = await ring.nodes[1]!.overlay.request(victim.self.peerId, 'fine', new Uint8Array([1]), {
      timeoutMs: 5_000,
    });
    return answer.length === 1;
  }

  it.each([
    ['an impossible length', Buffer.from('ffffffff', 'hex')],
    ['a frame that cannot be read', Buffer.from('000000050900000001', 'hex')],
    ['an answer to nothing', encodeFrame({ kind: 'answer', id: 1, body: new Uint8Array() })],
    ['the same id twice', Buffer.concat([request(1, 'hang'), request(1, 'hang')])],
  ])('loses the stream on which it sends %s, and what ran there is stopped; others are served', async (_why, bytes) => {
    victim.handle('fine', async (body) => body);
    const running = new Set<AbortSignal>();
    victim.handle('hang', (_body, _from, signal) => {
      running.add(signal);
      return Promise.withResolvers<Uint8Array>().promise;
    });
    const stream = await open();
    stream.send(request(99, 'hang'));
    await vi.waitFor(() => expect(running.size).toBeGreaterThan(0), soon);
    stream.send(bytes);
    await vi.waitFor(() => expect(stream.status).not.toBe('open'), soon);
    await vi.waitFor(() => expect([...running].every((signal) => signal.aborted)).toBe(true), soon);
    expect(await othersAreServed()).toBe(true);
  });

  it('that sends thousands of requests gets a bounded number worked on at once', async () => {
    victim.handle('fine', async (body) => body);
    let running = 0;
    let most = 0;
    victim.handle('slow', async (body) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      return body;
    });
    const stream = await open();
    let answers = 0;
    const cutter = new FrameCutter();
    stream.addEventListener('message', (event) => {
      const contents = cutter.push(event.data.subarray());
      if (contents !== 'broken')
        answers += contents.filter((content) => decodeFrame(content)?.kind === 'answer').length;
    });
    for (let id = 1; id <= 2_000 && stream.status === 'open'; id += 1) stream.send(request(id, 'slow'));
    await vi.waitFor(() => expect(answers === 2_000 || stream.status !== 'open').toBe(true), {
      timeout: 15_000,
      interval: 50,
    });
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(128);
    expect(await othersAreServed()).toBe(true);
  });

  it('that asks and cancels in turn does not multiply handlers that cannot be stopped', async () => {
    victim.handle('fine', async (body) => body);
    let called = 0;
    victim.handle('hang', () => {
      called += 1;
      return Promise.withResolvers<Uint8Array>().promise;
    });
    const stream = await open();
    for (let id = 1; id <= 1_000; id += 1)
      stream.send(Buffer.concat([request(id, 'hang'), encodeFrame({ kind: 'cancel', id })]));
    stream.send(request(5_000, 'fine'));
    await vi.waitFor(() => expect(called).toBeGreaterThan(200), soon);
    expect(await othersAreServed()).toBe(true);
    expect(called).toBeLessThanOrEqual(256);
    expect(stream.status).toBe('open');
  });

  it('that does not read its answers stops being answered, and holds no memory but its window', async () => {
    victim.handle('fine', async (body) => body);
    let called = 0;
    victim.handle('much', async () => {
      called += 1;
      return new Uint8Array(100_000);
    });
    const stream = await open();
    stream.addEventListener('message', () => undefined);
    stream.pause();
    for (let id = 1; id <= 1_000; id += 1) stream.send(request(id, 'much'));
    await vi.waitFor(() => expect(called).toBeGreaterThan(0), soon);
    await othersAreServed();
    await new Promise((resolve) => setTimeout(resolve, 200));
    // Two bounds of requests in flight and what fits the window: far from the thousand it asked for.
    expect(called).toBeLessThan(200);
    expect(await othersAreServed()).toBe(true);
  });

  it('may have only so many request streams', async () => {
    const streams = await Promise.allSettled(Array.from({ length: 20 }, open));
    await vi.waitFor(() => {
      const alive = streams.filter((one) => one.status === 'fulfilled' && one.value.status === 'open');
      expect(alive.length).toBeLessThanOrEqual(8);
    }, soon);
    expect(await othersAreServed().catch(() => false)).toBe(false);
    victim.handle('fine', async (body) => body);
    expect(await othersAreServed()).toBe(true);
  });
});
