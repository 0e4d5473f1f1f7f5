/** A mail server that is a small program over a raw socket: polite where it is told to be, and anything else where not. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** What it does with one connection. It ends when the program ends; the socket stays as the program left it. */
export type Manners = (conversation: Conversation) => Promise<void>;

export interface HostileHost {
  readonly port: number;
  /** Messages that came into mailboxes there, whatever was answered. */
  readonly copies: { readonly recipients: readonly string[]; readonly text: string; readonly secure: boolean }[];
  readonly commands: string[];
  readonly connections: () => number;
  /** Connections that the client has not closed. */
  readonly open: () => number;
  /** Octets that clients took from it. */
  readonly said: () => number;
  close(): Promise<void>;
}

export interface HostOptions {
  readonly extensions?: readonly string[];
  readonly certificate?: Certificate;
}

/** The first connections are treated by `manners` in order, the last of them for ever; what is undefined is polite. */
export async function hostileHost(
  manners: readonly (Manners | undefined)[],
  options: HostOptions = {},
): Promise<HostileHost> {
  const sockets = new Set<Socket>();
  let connections = 0;
  let said = 0;
  const copies: HostileHost['copies'] = [];
  const commands: string[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      said += socket.bytesWritten;
    });
    const how = manners[Math.min(connections, manners.length - 1)];
    connections += 1;
    const conversation = new Conversation(socket, { copies, commands }, options);
    (how ?? polite)(conversation).catch((error: unknown) => socket.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    copies,
    commands,
    connections: () => connections,
    open: () => sockets.size,
    said: () => said + [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** As a good server is, to the end. */
export const polite: Manners = async (conversation) => {
  await conversation.serveUntil('nothing');
};

export class Conversation {
  readonly extensions: readonly string[];
  #socket: Socket;
  readonly #plain: Socket;
  readonly #host: Pick<HostileHost, 'copies' | 'commands'>;
  readonly #certificate: Certificate | undefined;
  #kept = '';
  #ended = false;
  #wake = (): void => undefined;
  #greeted = false;
  #recipients: string[] = [];
  #text = '';

  constructor(socket: Socket, host: Pick<HostileHost, 'copies' | 'commands'>, options: HostOptions) {
    this.#socket = socket;
    this.#plain = socket;
    this.#host = host;
    this.extensions = options.extensions ?? ['PIPELINING', '8BITMIME'];
    this.#certificate = options.certificate;
    this.#listen(socket);
  }

  #listen(socket: Socket): void {
    socket.on('data', (bytes) => {
      this.#kept += bytes.toString('latin1');
      this.#wake();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end).on('close', end).on('error', end);
  }

  say(line: string): void {
    this.raw(`${line}\r\n`);
  }

  /** False where the client does not keep up. */
  raw(text: string | Uint8Array): boolean {
    return !this.#ended && this.#socket.write(text);
  }

  /** Until what was said is taken, or the client is gone. */
  async drained(): Promise<void> {
    if (this.#ended || !this.#socket.writableNeedDrain) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once('drain', resolve).once('close', resolve);
    await promise;
  }

  get isGone(): boolean {
    return this.#ended;
  }

  reset(): void {
    this.#plain.resetAndDestroy();
  }

  hangUp(): void {
    this.#socket.end();
  }

  stopReading(): void {
    this.#socket.pause();
  }

  async #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }

  /** The next line without its end; undefined where none comes. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#kept.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#kept.slice(0, end);
        this.#kept = this.#kept.slice(end + 2);
        this.#host.commands.push(line);
        return line;
      }
      if (this.#ended) return undefined;
      await this.#more();
    }
  }

  /** So many octets of what follows, at least. */
  async octets(count: number): Promise<void> {
    while (this.#kept.length < count && !this.#ended) await this.#more();
  }

  /** What follows DATA or `BDAT n LAST`. False where its end did not come. */
  async #data(line: string): Promise<boolean> {
    const isChunk = line.startsWith('BDAT');
    const length = Number(line.split(' ')[1]);
    for (let from = 0; ; ) {
      const end = isChunk ? length : this.#kept.indexOf('\r\n.\r\n', from) + 2;
      if (isChunk ? this.#kept.length >= length : end > 1) {
        this.#text = this.#kept.slice(0, end);
        this.#kept = this.#kept.slice(isChunk ? end : end + 3);
        return true;
      }
      if (this.#ended) return false;
      from = Math.max(0, this.#kept.length - 4);
      await this.#more();
    }
  }

  /** The message is now in the mailboxes, whatever is answered. */
  took(): void {
    const secure = this.#socket !== this.#plain;
    this.#host.copies.push({ recipients: [...this.#recipients], text: this.#text, secure });
  }

  secure(certificate: Certificate): void {
    this.#plain.removeAllListeners('data');
    const secure = new TLSSocket(this.#plain, { isServer: true, ...certificate });
    this.#socket = secure;
    this.#listen(secure);
  }

  async greet(): Promise<void> {
    if (!this.#greeted) this.say('220 hostile.example ESMTP');
    this.#greeted = true;
  }

  /** A good server until a command begins with `verb` (its line) or the client is gone (undefined). `greeting`: before it; `data`: when data may come; `dot`: after it came, unanswered. */
  async serveUntil(verb: string): Promise<string | undefined> {
    if (verb === 'greeting') return verb;
    await this.greet();
    for (;;) {
      const line = await this.line();
      if (line === undefined) return undefined;
      const word = line.slice(0, 4).toUpperCase();
      if (word === verb) return line;
      if (word === 'DATA' || word === 'BDAT') {
        if (word === 'DATA') this.say('354 go');
        if (verb === 'data') return line;
        if (!(await this.#data(line))) return undefined;
        if (verb === 'dot') return 'dot';
        this.took();
        this.say('250 2.0.0 taken');
      } else this.answer(line);
      if (word === 'QUIT') return undefined;
    }
  }

  /** As a good server answers anything but DATA. */
  answer(line: string): void {
    switch (line.slice(0, 4).toUpperCase()) {
      case 'EHLO':
        return this.hello();
      case 'STAR':
        if (this.#certificate === undefined) return this.say('502 5.5.1 what?');
        this.say('220 go ahead');
        return this.secure(this.#certificate);
      case 'MAIL':
        this.#recipients = [];
        return this.say('250 2.1.0 ok');
      case 'RCPT':
        this.#recipients.push(/<([^>]*)>/.exec(line)?.[1] ?? '');
        return this.say('250 2.1.5 ok');
      case 'QUIT':
        this.say('221 bye');
        return this.hangUp();
      default:
        return this.say('250 ok');
    }
  }

  hello(): void {
    const offersTls = this.#certificate !== undefined && this.#socket === this.#plain;
    const lines = ['hostile.example', ...this.extensions, ...(offersTls ? ['STARTTLS'] : [])];
    for (const [i, text] of lines.entries()) this.say(`250${i === lines.length - 1 ? ' ' : '-'}${text}`);
  }
}
