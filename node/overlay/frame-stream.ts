import type { Stream } from '@libp2p/interface';
import { decodeFrame, encodeFrame, type Frame, FrameCutter } from './frame.ts';

export interface FrameStreamOwner {
  frame(frame: Frame): void;
  /** The peer sent what no frame begins with; the stream ends. */
  broken?(what: string): void;
  /** Called once, however the stream ended. No frame comes afterwards. */
  closed(): void;
}

type Waiting = { readonly bytes: Uint8Array; readonly sent: () => void; readonly failed: (error: Error) => void };

/**
 * Frames over one libp2p stream, both ways. Sending waits its turn and honours the peer's window: what cannot go yet
 * waits here, in order, so that a peer that does not read costs the memory of what its callers have in flight and no more.
 */
export class FrameStream {
  readonly #stream: Stream;
  readonly #owner: FrameStreamOwner;
  readonly #cutter = new FrameCutter();
  #waiting: Waiting[] = [];
  #full = false;
  #closed = false;

  constructor(stream: Stream, owner: FrameStreamOwner) {
    this.#stream = stream;
    this.#owner = owner;
    // libp2p's own onDrain() keeps a promise that stays resolved after its first use: listen for the event instead.
    stream.addEventListener('drain', () => queueMicrotask(() => this.#goOn()));
    stream.addEventListener('close', () => this.#end());
    stream.addEventListener('remoteCloseWrite', () => this.abort('the peer closed its side'));
    stream.addEventListener('message', (event) => this.#receive(event.data.subarray()));
    // The stream may have ended between its opening and now; its close event is then over.
    if (stream.status !== 'open') queueMicrotask(() => this.#end());
  }

  get open(): boolean {
    return !this.#closed && this.#stream.status === 'open';
  }

  /** Resolves when the frame was handed to the connection, rejects when the stream ended first. */
  async send(frame: Frame, signal?: AbortSignal): Promise<void> {
    if (!this.open) throw new Error('the stream is closed');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry: Waiting = { bytes: encodeFrame(frame), sent: resolve, failed: reject };
    this.#waiting.push(entry);
    const forget = (): void => {
      this.#waiting = this.#waiting.filter((one) => one !== entry);
      reject(new Error('given up before it was sent'));
    };
    signal?.addEventListener('abort', forget, { once: true });
    this.#flush();
    await promise.finally(() => signal?.removeEventListener('abort', forget));
  }

  /** Frames that wait for the peer to read. */
  get backlog(): number {
    return this.#waiting.length;
  }

  /** Stops taking frames in until `resume`; the peer's window fills up and it has to wait. */
  pause(): void {
    if (this.open) this.#stream.pause();
  }

  resume(): void {
    if (this.open) this.#stream.resume();
  }

  abort(reason: string): void {
    if (!this.#closed) this.#stream.abort(new Error(reason));
    this.#end();
  }

  #break(what: string): void {
    this.#owner.broken?.(what);
    this.abort(what);
  }

  #goOn(): void {
    this.#full = false;
    this.#flush();
  }

  #flush(): void {
    while (!this.#full && this.open) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      try {
        // False: taken, but the window is full. The next one waits for the drain event.
        this.#full = !this.#stream.send(next.bytes);
        next.sent();
      } catch (error) {
        next.failed(error instanceof Error ? error : new Error(String(error)));
        this.abort('sending failed');
      }
    }
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    const contents = this.#cutter.push(chunk);
    if (contents === 'broken') return this.#break('a frame of an impossible length');
    for (const content of contents) {
      const frame = decodeFrame(content);
      if (frame === undefined) return this.#break('a frame that cannot be read');
      if (!this.#closed) this.#owner.frame(frame);
    }
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const entry of waiting) entry.failed(new Error('the stream ended'));
    this.#owner.closed();
  }
}
