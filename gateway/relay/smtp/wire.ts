/** One socket to a mail server: commands out, whole replies in, each within its time. Knows no SMTP but replies. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Reply, ReplyFault, ReplyReader } from './reply.ts';

/** The connection failed, ended or took too long; `code` and `reply` are what the host said last of its own accord, if it did. */
export class WireFault extends Error {
  override readonly name = 'WireFault';
  readonly kind: 'connection' | 'time-out' | 'protocol' | 'tls';
  readonly reply: Reply | undefined;

  constructor(kind: WireFault['kind'], message: string, reply?: Reply) {
    super(message);
    this.kind = kind;
    this.reply = reply;
  }
}

interface Expected {
  readonly take: (reply: Reply) => void;
  readonly fail: (fault: WireFault) => void;
}

export class Wire {
  #socket: Socket | TLSSocket;
  #reader = new ReplyReader();
  readonly #expected: Expected[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #silenceMs: number;
  #fault: WireFault | undefined;

  private constructor(socket: Socket, silenceMs: number) {
    this.#socket = socket;
    this.#silenceMs = silenceMs;
    this.#listen(socket);
  }

  /** Connected, nothing read yet. Throws {@link WireFault}. */
  static async open(address: string, port: number, times: { connectMs: number; silenceMs: number }): Promise<Wire> {
    // Without Nagle's algorithm: the final dot is a small packet of its own and would wait 40 ms for the host's delayed ACK.
    const socket = connect({ host: address, port, noDelay: true });
    const wire = new Wire(socket, times.silenceMs);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => wire.#break(new WireFault('time-out', 'connecting took too long')), times.connectMs);
    socket.once('connect', resolve);
    wire.#expected.push({ take: () => undefined, fail: reject });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
    wire.#expected.shift();
    return wire;
  }

  get isDead(): boolean {
    return this.#fault !== undefined || this.#socket.destroyed;
  }

  /** Undefined without TLS. */
  get tls(): TLSSocket | undefined {
    return 'getPeerX509Certificate' in this.#socket ? this.#socket : undefined;
  }

  get encrypted(): boolean {
    return this.tls !== undefined;
  }

  /** The greeting, or whatever comes next without a command. */
  next(timeoutMs?: number): Promise<Reply> {
    return new Promise((resolve, reject) => this.#expect({ take: resolve, fail: reject }, timeoutMs));
  }

  /** Sends one line and gives its reply. */
  command(line: string, timeoutMs?: number): Promise<Reply> {
    const reply = this.next(timeoutMs);
    this.put(`${line}\r\n`);
    return reply;
  }

  /** The next reply goes to `take` in the tick in which it was read. */
  expect(take: (reply: Reply) => void, fail: (fault: WireFault) => void): void {
    this.#expect({ take, fail });
  }

  /** Sends a few lines. Nothing is thrown: a broken wire fails whoever expects a reply. */
  put(lines: string): void {
    if (!this.isDead) this.#socket.write(lines);
  }

  /** Sends a piece of something large. Resolves at once, or when the host has read enough that more can be sent. Nothing is thrown: a broken wire fails whoever expects a reply. */
  async write(bytes: string | Uint8Array): Promise<void> {
    if (this.isDead || this.#socket.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = this.#socket;
    const timer = setTimeout(() => this.#break(new WireFault('time-out', 'the host stopped reading')), this.#silenceMs);
    socket.once('drain', resolve).once('close', resolve);
    await promise;
    clearTimeout(timer);
    socket.off('drain', resolve).off('close', resolve);
    this.#rearm();
  }

  /**
   * TLS over what is open. RFC 3207 §5: what came before it is forgotten; bytes that a listener put behind the 220 must not be read as said under TLS,
   * so there may be none.
   */
  async upgrade(servername: string | undefined, timeoutMs: number): Promise<void> {
    const plain = this.#socket;
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#reader.isMidway) {
      throw this.#break(new WireFault('protocol', 'the host said more before TLS than it was asked'));
    }
    plain.removeAllListeners('data');
    plain.removeAllListeners('close');
    plain.removeAllListeners('error');
    // RFC 6066 §3: names only, never addresses. What the certificate has to prove is looked at afterwards (tls-demand.ts).
    const secure = connectTls({
      socket: plain,
      rejectUnauthorized: false,
      ...(servername === undefined ? {} : { servername }),
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new WireFault('tls', 'the TLS handshake took too long')), timeoutMs);
    const fail = (error?: Error): void =>
      reject(new WireFault('tls', `TLS failed: ${error?.message ?? 'the connection was closed'}`));
    secure.once('secureConnect', resolve).once('error', fail).once('close', fail);
    try {
      await promise;
    } catch (error) {
      // Errors after this have nobody to go to.
      secure.on('error', () => undefined);
      throw this.#break(error as WireFault);
    } finally {
      clearTimeout(timer);
      plain.on('error', () => undefined);
    }
    secure.off('error', fail).off('close', fail);
    this.#reader = new ReplyReader();
    this.#socket = secure;
    this.#listen(secure);
  }

  close(fault = new WireFault('connection', 'the connection was closed')): void {
    this.#break(fault);
  }

  #listen(socket: Socket): void {
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('error', (error: Error) => this.#break(new WireFault('connection', error.message)));
    socket.on('close', () => this.#break(new WireFault('connection', 'the connection was closed')));
  }

  #read(bytes: Buffer): void {
    let replies: Reply[];
    try {
      replies = this.#reader.feed(bytes);
    } catch (error) {
      if (!(error instanceof ReplyFault)) throw error;
      this.#break(new WireFault('protocol', error.message));
      return;
    }
    for (const reply of replies) {
      const expected = this.#expected.shift();
      if (expected === undefined) this.#said(reply);
      else expected.take(reply);
    }
    this.#rearm();
  }

  /** Nobody asked. 421 says that the host closes (RFC 5321 §3.8); some say it and stay, and whoever waits for them waits for nothing. */
  #said(reply: Reply): void {
    if (reply.code === 421) this.#break(new WireFault('connection', reply.text.trimEnd(), reply));
    else this.#break(new WireFault('protocol', 'the host said what it was not asked', reply));
  }

  #expect(expected: Expected, timeoutMs = this.#silenceMs): void {
    if (this.#fault !== undefined) {
      expected.fail(this.#fault);
      return;
    }
    this.#expected.push(expected);
    this.#rearm(timeoutMs);
  }

  #rearm(timeoutMs = this.#silenceMs): void {
    clearTimeout(this.#timer);
    if (this.#expected.length === 0 || this.#fault !== undefined) return;
    this.#timer = setTimeout(
      () => this.#break(new WireFault('time-out', 'the host did not answer in time')),
      timeoutMs,
    );
  }

  /** Once: everybody who waits is told, and the socket is gone. */
  #break(fault: WireFault): WireFault {
    if (this.#fault !== undefined) return this.#fault;
    this.#fault = fault;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    for (const { fail } of this.#expected.splice(0)) fail(fault);
    return fault;
  }
}
