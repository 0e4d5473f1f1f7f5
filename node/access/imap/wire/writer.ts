import type { Socket } from 'node:net';

/** The client did not read, or is gone; ends the connection. */
export class WriterFault extends Error {
  readonly code: 'slow-reader' | 'closed';
  constructor(code: 'slow-reader' | 'closed', message: string) {
    super(message);
    this.code = code;
  }
}

// Small pieces are joined up to a few TLS records, so that a line is not a packet; and no more than that is handed to the socket at once.
const portionBytes = 65_536;

/**
 * Sends to a client that may read slowly. Nothing is copied or buffered beyond one portion and what the socket holds; who writes
 * waits, and a client that takes nothing for `stallMs` loses its connection (WriterFault).
 */
export class Writer {
  #socket: Socket;
  readonly #stallMs: number;
  #text = '';
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(socket: Socket, stallMs: number) {
    this.#socket = socket;
    this.#stallMs = stallMs;
  }

  /** After STARTTLS: the same conversation through another socket. */
  moveTo(socket: Socket): void {
    this.#socket = socket;
  }

  /** Text in latin1: one character, one octet. */
  async write(part: string | Uint8Array): Promise<void> {
    if (this.put(part)) await this.flush();
  }

  /** The same without a wait, for who writes very many small parts, until it says that there is enough for a {@link flush}. Octets must stay as they are until then. */
  put(part: string | Uint8Array): boolean {
    if (typeof part === 'string') this.#text += part;
    else {
      this.#textToBytes();
      this.#pending.push(part);
    }
    this.#pendingBytes += part.length;
    return this.#pendingBytes >= portionBytes;
  }

  async line(text: string): Promise<void> {
    await this.write(`${text}\r\n`);
  }

  async flush(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    this.#textToBytes();
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    let portion: Uint8Array[] = [];
    let bytes = 0;
    for (const part of pending) {
      for (let at = 0; at < part.length; ) {
        const piece = part.subarray(at, at + portionBytes - bytes);
        at += piece.length;
        bytes += piece.length;
        portion.push(piece);
        if (bytes < portionBytes) continue;
        await this.#send(portion);
        [portion, bytes] = [[], 0];
      }
    }
    if (bytes > 0) await this.#send(portion);
  }

  async #send(portion: readonly Uint8Array[]): Promise<void> {
    const [only] = portion;
    if (this.#socket.destroyed || !this.#socket.writable) throw new WriterFault('closed', 'the client is gone');
    const taken = this.#socket.write(portion.length === 1 && only !== undefined ? only : Buffer.concat(portion));
    if (!taken) await this.#drained();
  }

  #textToBytes(): void {
    if (this.#text === '') return;
    this.#pending.push(Buffer.from(this.#text, 'latin1'));
    this.#text = '';
  }

  async #drained(): Promise<void> {
    const socket = this.#socket;
    await new Promise<void>((resolve, reject) => {
      const finish = (fault?: WriterFault): void => {
        clearInterval(timer);
        socket.off('drain', onDrain);
        socket.off('close', onClose);
        if (fault === undefined) resolve();
        else reject(fault);
      };
      const onDrain = (): void => finish();
      const onClose = (): void => finish(new WriterFault('closed', 'the client is gone'));
      let sent = socket.bytesWritten;
      const timer = setInterval(() => {
        if (socket.bytesWritten === sent) finish(new WriterFault('slow-reader', 'the client does not read'));
        sent = socket.bytesWritten;
      }, this.#stallMs);
      socket.on('drain', onDrain);
      socket.on('close', onClose);
    });
  }
}
