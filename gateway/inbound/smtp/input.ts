import type { Socket } from 'node:net';

export type Line =
  | { readonly kind: 'line'; readonly octets: Uint8Array }
  /** Longer than allowed; it has been passed over. */
  | { readonly kind: 'too-long' }
  /** So long that its end is not waited for. */
  | { readonly kind: 'endless' }
  /** It ends in an LF without its CR: who wrote it and who reads it could differ on where the next begins. */
  | { readonly kind: 'bare-lf' }
  | { readonly kind: 'closed' };

const CR = 13;
const LF = 10;
// How much of a line that is too long is passed over, hoping that it ends.
const maxPassedOver = 64 * 1024;
const nothing = Buffer.alloc(0);

/** The octets of a socket, by line or by piece. Holds at most what one read of the socket brings beyond a line; a client that sends more than is asked for waits. */
export class Input {
  readonly #maxLine: number;
  #socket: Socket | undefined;
  #pending: Buffer = nothing;
  #closed = false;
  #paused = false;
  #passedOver = 0;
  #wake: (() => void) | undefined;
  /** Called when the client has closed its side and nothing of it is left to read. */
  readonly #onLeft: () => void;

  constructor(maxLine: number, onLeft: () => void) {
    this.#maxLine = maxLine;
    this.#onLeft = onLeft;
  }

  /** From now on this socket is what is read. */
  attach(socket: Socket): void {
    this.#socket = socket;
    this.#paused = false;
    socket.on('data', this.#push);
    socket.on('end', this.close);
    socket.on('close', this.close);
    if (socket.readableEnded || socket.destroyed) this.close();
  }

  /** The socket is read by somebody else now; what was read and not used is forgotten. */
  detach(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#pending = nothing;
    this.#passedOver = 0;
    if (socket === undefined) return;
    socket.off('data', this.#push);
    socket.off('end', this.close);
    socket.off('close', this.close);
    socket.pause();
  }

  /** Whatever comes from now on is nothing. */
  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pending.length === 0) this.#onLeft();
    this.#wake?.();
  };

  /** Something is there that was not asked for yet. */
  get isWaiting(): boolean {
    return this.#pending.length > 0;
  }

  /** Gives back what was read too much. */
  unread(rest: Buffer): void {
    this.#pending = this.#pending.length === 0 ? rest : Buffer.concat([rest, this.#pending]);
  }

  /** The next line if it is here already; undefined where it has to be waited for. */
  takeLine(): Line | undefined {
    const pending = this.#pending;
    const end = pending.indexOf(LF);
    if (end >= 0) {
      // An empty part of it would keep all of it in memory for as long as the client is silent.
      this.#pending = end + 1 === pending.length ? nothing : pending.subarray(end + 1);
      const tooLong = this.#passedOver > 0 || end + 1 > this.#maxLine;
      this.#passedOver = 0;
      // The CR of a line that was passed over is kept for this.
      if (end === 0 || pending[end - 1] !== CR) return { kind: 'bare-lf' };
      return tooLong ? { kind: 'too-long' } : { kind: 'line', octets: pending.subarray(0, end - 1) };
    }
    if (pending.length > this.#maxLine) {
      this.#passedOver += pending.length - 1;
      this.#pending = Buffer.from(pending.subarray(-1));
      if (this.#passedOver > maxPassedOver) return { kind: 'endless' };
    }
    return this.#closed ? { kind: 'closed' } : undefined;
  }

  /** All octets that are here; undefined where they have to be waited for, `closed` when none will come. */
  take(): Buffer | 'closed' | undefined {
    const pending = this.#pending;
    if (pending.length > 0) {
      this.#pending = nothing;
      return pending;
    }
    return this.#closed ? 'closed' : undefined;
  }

  /** Until something new is here, or nothing will be. */
  async more(): Promise<void> {
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    if (this.#paused) {
      this.#paused = false;
      this.#socket?.resume();
    }
    await promise;
  }

  readonly #push = (piece: Buffer): void => {
    if (this.#closed) return;
    this.#pending = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    const wake = this.#wake;
    this.#wake = undefined;
    if (wake !== undefined) wake();
    else {
      this.#paused = true;
      this.#socket?.pause();
    }
  };
}
