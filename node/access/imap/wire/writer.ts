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

// Portions that were sent and may be filled again: the pages of new ones cost more than what is put into them. Those of a few busy connections.
const spare = new Set<Buffer>();
const maxSpare = 16;
const own = new WeakSet<Uint8Array>();

/** Room for so many octets, or for a full portion of them. */
function portionFor(bytes: number): Buffer {
  if (bytes < portionBytes / 2) return Buffer.allocUnsafe(bytes);
  for (const portion of spare) {
    spare.delete(portion);
    return portion;
  }
  const portion = Buffer.allocUnsafeSlow(portionBytes);
  own.add(portion);
  return portion;
}

/** To be told when the socket has done with it. */
function giveBack(portion: Uint8Array): void {
  if (own.has(portion) && spare.size < maxSpare) spare.add(portion as Buffer);
}

function pieceOf(part: string | Uint8Array, from: number, to: number): string | Uint8Array {
  return typeof part === 'string' ? part.slice(from, to) : part.subarray(from, to);
}

/**
 * Sends to a client that may read slowly. Nothing is buffered beyond one portion and what the socket holds; who writes
 * waits, and a client that takes nothing for `stallMs` loses its connection (WriterFault).
 */
export class Writer {
  #socket: Socket;
  readonly #stallMs: number;
  #text = '';
  #pending: (string | Uint8Array)[] = [];
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
      this.#endText();
      this.#pending.push(part);
    }
    this.#pendingBytes += part.length;
    return this.#pendingBytes >= portionBytes;
  }

  async line(text: string): Promise<void> {
    await this.write(`${text}\r\n`);
  }

  async flush(): Promise<void> {
    const bytes = this.#pendingBytes;
    if (bytes === 0) return;
    this.#endText();
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    let portion = portionFor(bytes);
    let end = 0;
    for (const part of pending) {
      for (let at = 0; at < part.length; ) {
        const length = Math.min(part.length - at, portionBytes - end);
        const piece = length === part.length ? part : pieceOf(part, at, at + length);
        at += length;
        // What fills a portion by itself is sent as it lies.
        if (length === portionBytes && typeof piece !== 'string') {
          await this.#send(piece);
          continue;
        }
        if (typeof piece === 'string') portion.write(piece, end, 'latin1');
        else portion.set(piece, end);
        end += length;
        if (end < portionBytes) continue;
        await this.#send(portion);
        portion = portionFor(bytes);
        end = 0;
      }
    }
    if (end > 0) await this.#send(portion, end);
  }

  async #send(portion: Uint8Array, end = portion.length): Promise<void> {
    if (this.#socket.destroyed || !this.#socket.writable) throw new WriterFault('closed', 'the client is gone');
    const taken = this.#socket.write(end === portion.length ? portion : portion.subarray(0, end), (failed) => {
      if (!failed) giveBack(portion);
    });
    if (!taken) await this.#drained();
  }

  #endText(): void {
    if (this.#text === '') return;
    this.#pending.push(this.#text);
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
