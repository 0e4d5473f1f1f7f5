import type { Stream } from '@libp2p/interface';
import { beforeDeadline } from './deadline.ts';
import type { Frame } from './frame.ts';
import { FrameStream } from './frame-stream.ts';
import { OverlayFault, type RequestOptions } from './overlay.ts';

// Two streams, so that a large answer does not hold up all small ones; opening one costs about 2 ms, so they are kept.
const streamsPerPeer = 2;
// Enough to fill a local link (128 KiB each: 8 MiB at most in memory for a peer that does not answer).
export const maxInFlight = 64;
// Beyond this the caller is flooding: waiting longer would only move the memory here.
const maxQueued = 1024;

type Pending = { readonly answered: (body: Uint8Array) => void; readonly failed: (fault: OverlayFault) => void };
type Kept = { readonly frames: FrameStream; readonly pending: Map<number, Pending> };

/** The requests of this node to one peer: a few kept streams, request ids, a bound on what is in flight. */
export class PeerLine {
  readonly #peerId: string;
  readonly #openStream: (signal: AbortSignal) => Promise<Stream>;
  readonly #slots: (Promise<Kept> | undefined)[] = Array.from({ length: streamsPerPeer }, () => undefined);
  readonly #queue: (() => void)[] = [];
  #inFlight = 0;
  #nextId = 0;
  #stopped = false;

  constructor(peerId: string, openStream: (signal: AbortSignal) => Promise<Stream>) {
    this.#peerId = peerId;
    this.#openStream = openStream;
  }

  async request(method: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    return beforeDeadline(options, `${method} at ${this.#peerId}`, async (over) => {
      await this.#turn(over);
      try {
        return await this.#ask(method, body, options.timeoutMs, over);
      } finally {
        this.#inFlight -= 1;
        this.#queue.shift()?.();
      }
    });
  }

  /** Ends the streams; requests in flight fail as unreachable. */
  stop(): void {
    this.#stopped = true;
    for (const slot of this.#slots)
      slot?.then(
        ({ frames }) => frames.abort('the line is closed'),
        () => undefined,
      );
  }

  /** Waits until fewer than the allowed number are in flight, then counts one more. */
  async #turn(over: AbortSignal): Promise<void> {
    if (this.#inFlight >= maxInFlight) {
      if (this.#queue.length >= maxQueued) throw new OverlayFault('refused', 'too many requests wait for this peer');
      await this.#waitInQueue(over);
    }
    this.#inFlight += 1;
  }

  async #waitInQueue(over: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (): void => {
      const at = this.#queue.indexOf(resolve);
      if (at >= 0) this.#queue.splice(at, 1);
      reject(over.reason as OverlayFault);
    };
    this.#queue.push(resolve);
    over.addEventListener('abort', giveUp, { once: true });
    await promise.finally(() => over.removeEventListener('abort', giveUp));
  }

  async #ask(method: string, body: Uint8Array, timeoutMs: number, over: AbortSignal): Promise<Uint8Array> {
    const id = this.#newId();
    const { frames, pending } = await this.#stream(id % streamsPerPeer);
    if (over.aborted) throw over.reason as OverlayFault;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    pending.set(id, { answered: resolve, failed: reject });
    let sent = false;
    const giveUp = (): void => {
      // An answer that still comes finds nobody waiting for it and is dropped.
      if (!pending.delete(id)) return;
      reject(over.reason as OverlayFault);
      if (sent && frames.backlog < maxInFlight)
        frames.send({ kind: 'cancel', id }).catch(() => frames.abort('cancel failed'));
    };
    over.addEventListener('abort', giveUp, { once: true });
    frames.send({ kind: 'request', id, timeoutMs, method, body }, over).then(
      () => {
        sent = true;
      },
      (cause: unknown) => {
        pending.delete(id);
        reject(this.#unreachable(cause));
      },
    );
    return promise.finally(() => over.removeEventListener('abort', giveUp));
  }

  #stream(slot: number): Promise<Kept> {
    const kept = this.#slots[slot];
    if (kept !== undefined) return kept;
    const opened = this.#open(slot);
    this.#slots[slot] = opened;
    return opened;
  }

  async #open(slot: number): Promise<Kept> {
    try {
      // Not the first caller's signal: others wait for the same stream.
      const stream = await this.#openStream(AbortSignal.timeout(openTimeoutMs));
      const pending = new Map<number, Pending>();
      const closed = (): void => {
        this.#slots[slot] = undefined;
        for (const { failed } of pending.values()) failed(this.#unreachable());
        pending.clear();
      };
      const frames = new FrameStream(stream, { frame: (frame) => receive(frame, pending, frames), closed });
      if (this.#stopped) frames.abort('the line is closed');
      return { frames, pending };
    } catch (cause) {
      this.#slots[slot] = undefined;
      throw this.#unreachable(cause);
    }
  }

  #newId(): number {
    this.#nextId = (this.#nextId + 1) % 0xffff_ffff;
    return this.#nextId;
  }

  #unreachable(cause?: unknown): OverlayFault {
    return new OverlayFault('unreachable', `the connection to ${this.#peerId} broke`, cause);
  }
}

// Opening takes milliseconds; a peer that is silent for this long is about to be found dead anyway.
const openTimeoutMs = 10_000;

function receive(frame: Frame, pending: Map<number, Pending>, frames: FrameStream): void {
  if (frame.kind !== 'answer' && frame.kind !== 'refused') {
    frames.abort('a request on the stream of an asker');
    return;
  }
  const asked = pending.get(frame.id);
  pending.delete(frame.id);
  if (frame.kind === 'answer') asked?.answered(frame.body);
  else asked?.failed(new OverlayFault(frame.code, frame.message));
}
