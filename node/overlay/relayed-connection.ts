import type { AbortOptions, MultiaddrConnection, Stream } from '@libp2p/interface';
import { AbstractMultiaddrConnection } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';

type Sent = ReturnType<AbstractMultiaddrConnection['sendData']>;
type Bytes = Parameters<AbstractMultiaddrConnection['sendData']>[0];

/** A stream to a third node, as what libp2p upgrades (Noise, Yamux) to a connection with whoever is at the other end of it. */
export class RelayedConnection extends AbstractMultiaddrConnection implements MultiaddrConnection {
  readonly #stream: Stream;

  constructor(stream: Stream, remoteAddr: Multiaddr, direction: 'inbound' | 'outbound') {
    super({ remoteAddr, direction, log: stream.log.newScope('relayed') });
    this.#stream = stream;
    stream.addEventListener('message', ({ data }) => this.onData(data));
    stream.addEventListener('drain', () => this.safeDispatchEvent('drain'));
    stream.addEventListener('remoteCloseWrite', () => stream.abort(new Error('the other end closed')));
    stream.addEventListener('close', ({ error }) => this.onTransportClosed(error));
    // It may have ended before anyone listened.
    if (stream.status !== 'open') queueMicrotask(() => this.onTransportClosed());
  }

  sendData(data: Bytes): Sent {
    return { sentBytes: data.byteLength, canSendMore: this.#stream.send(data) };
  }

  sendReset(error: Error): void {
    this.#stream.abort(error);
  }

  async sendClose(options?: AbortOptions): Promise<void> {
    await this.#stream.close(options);
  }

  sendPause(): void {
    if (this.#stream.status === 'open') this.#stream.pause();
  }

  sendResume(): void {
    if (this.#stream.status === 'open') this.#stream.resume();
  }
}
