import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { tlsExporter } from '../../scram-exchange.ts';
import { type FrameLimits, Framer } from '../wire/framer.ts';
import { Writer } from '../wire/writer.ts';

/** Why waiting for the client ended. */
export type Arrival = 'data' | 'closed' | 'timed-out' | 'woken';

/**
 * One client's connection: octets in through a framer, octets out through a writer. Reading is asked for: while nobody
 * waits the socket is paused, so that a client cannot send more than one portion ahead.
 */
export class Connection {
  readonly address: string;
  readonly framer: Framer;
  readonly writer: Writer;
  /** Fires when the connection is over, for whatever reason. */
  readonly signal: AbortSignal;
  #socket: Socket;
  readonly #over = new AbortController();
  #waiting: ((arrival: Arrival) => void) | undefined;

  constructor(socket: Socket, options: { frameLimits: () => FrameLimits; stallMs: number }) {
    this.#socket = socket;
    this.address = socket.remoteAddress ?? '';
    this.framer = new Framer(options.frameLimits);
    this.writer = new Writer(socket, options.stallMs);
    this.signal = this.#over.signal;
    this.#listen(socket);
  }

  /** Waits until more octets are in the framer, the connection ended, the time is over or {@link wake} was called. One caller at a time. */
  async more(timeoutMs: number): Promise<Arrival> {
    if (this.signal.aborted) return 'closed';
    return await new Promise<Arrival>((resolve) => {
      const timer = setTimeout(() => this.#arrived('timed-out'), Math.max(1, timeoutMs));
      this.#waiting = (arrival) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        this.#socket.pause();
        resolve(arrival);
      };
      this.#socket.resume();
    });
  }

  /** Ends a wait under way; nothing happens when nobody waits. */
  wake(): void {
    this.#arrived('woken');
  }

  /** Puts TLS under the conversation. Resolves with whether the handshake succeeded. */
  async secure(context: SecureContext, timeoutMs: number): Promise<boolean> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('end');
    this.framer.clear();
    const socket = new TLSSocket(plain, { isServer: true, secureContext: context });
    this.#socket = socket;
    this.writer.moveTo(socket);
    this.#listen(socket);
    return await new Promise<boolean>((resolve) => {
      const finish = (succeeded: boolean): void => {
        clearTimeout(timer);
        socket.off('secure', onSecure);
        this.signal.removeEventListener('abort', onOver);
        resolve(succeeded);
      };
      const onSecure = (): void => finish(true);
      const onOver = (): void => finish(false);
      const timer = setTimeout(onOver, timeoutMs);
      socket.on('secure', onSecure);
      this.signal.addEventListener('abort', onOver);
    });
  }

  /** RFC 9266: what binds a log-in to this TLS channel; undefined where there is none. */
  channelBinding(): Buffer | undefined {
    return this.#socket instanceof TLSSocket ? tlsExporter(this.#socket) : undefined;
  }

  /** Says no more and lets go; what was written is still sent if the client takes it. */
  end(): void {
    this.#socket.end();
    this.#socket.resume();
    this.#finish();
  }

  destroy(): void {
    this.#socket.destroy();
    this.#finish();
  }

  /** Resolves when the socket is closed. */
  async closed(): Promise<void> {
    if (this.#socket.closed) return;
    await new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
  }

  #listen(socket: Socket): void {
    socket.setNoDelay(true);
    socket.pause();
    socket.on('data', (chunk: Buffer) => {
      if (this.signal.aborted) return;
      this.framer.push(chunk);
      this.#arrived('data');
    });
    socket.on('end', () => this.#finish());
    // An error is always followed by close, which is what counts.
    socket.on('error', () => this.destroy());
    socket.on('close', () => this.#finish());
  }

  #arrived(arrival: Arrival): void {
    this.#waiting?.(arrival);
  }

  #finish(): void {
    this.#over.abort();
    this.#arrived('closed');
  }
}
