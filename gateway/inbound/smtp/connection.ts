import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import type { Evidence } from '../../../policy/evidence.ts';
import type { Reply } from '../../../policy/policy.ts';
import type { DataAnswer } from '../accept.ts';
import type { InboundLimits } from '../limits.ts';
import type { IncomingMessage } from '../message-reader.ts';
import type { Log } from '../parts.ts';
import { isTraced, refused, replies, type StepResult } from '../replies.ts';
import type { Session, WireFacts } from '../session.ts';
import type { Certificates } from './certificates.ts';
import { type Command, parseCommand } from './command.ts';
import { DotReader } from './dot-reader.ts';
import { Input, type Line } from './input.ts';
import { begun, type Hello, type State, type Step, step } from './machine.ts';
import type { Tarpit } from './tarpit.ts';

export interface ConnectionParts {
  readonly session: Session;
  readonly hostname: string;
  readonly limits: InboundLimits;
  /** Asked for at each STARTTLS; undefined where there is none. */
  readonly certificates: () => Certificates | undefined;
  /** This client has to wait for the greeting. */
  readonly distrusted: boolean;
  readonly tarpit: Tarpit;
  /** Called when the client did what no mail server does. */
  readonly offended: () => void;
  /** Milliseconds of a clock that never goes back. */
  readonly ticks: () => number;
  readonly log: Log;
}

// RFC 5321 §4.2.2: commands not understood, arguments not understood, bad order, parameters not understood.
const badCommandCodes: ReadonlySet<number> = new Set([500, 501, 502, 503, 504, 555]);
// Commands that lead to no message; a client with a cached connection sends one or two between messages.
const talk: ReadonlySet<Command['verb']> = new Set([
  'EHLO',
  'HELO',
  'NOOP',
  'RSET',
  'VRFY',
  'EXPN',
  'HELP',
  'STARTTLS',
]);
// After our last word the client has this long to read it and go; closing at once would have its system throw it away unread.
const lingerMs = 5_000;
// What it had under way when we said that. One that sends on does not listen.
const maxLingerBytes = 256 * 1024;
// A message that is refused for its size is read to its end, as long as the sender can have made a mistake.
const maxOversize = 4;
const minOversizeBytes = 1024 * 1024;
// So many commands of one packet are obeyed before others have the event loop.
const commandsATurn = 100;
// Replies are written together where the client sends commands together (RFC 2920 §3.2), but never more than this.
const maxUnwritten = 16 * 1024;

// The same for all: an error made for each connection would cost as much as a command.
const gone = new Error('the client is gone');

const inTheClear: Evidence['tls'] = { used: false, version: '', cipher: '' };

/**
 * One client's conversation on the wire: lines and octets in, replies out, deadlines. What a command comes to is the machine's and the session's.
 * `serve` ends when the conversation does; nothing it started outlives it but the closing of the socket.
 */
export class Connection {
  readonly #parts: ConnectionParts;
  readonly #raw: Socket;
  readonly #input: Input;
  readonly #openedAt: number;
  readonly #over = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  #socket: Socket;
  #state: State = begun;
  #tls: Evidence['tls'] = inTheClear;
  #unwritten = '';
  /** A message that comes in chunks. */
  #chunks: IncomingMessage | undefined;
  #badCommands = 0;
  #talk = 0;
  /** What the client must have done by when; 0 while it is our turn. */
  #deadline = 0;
  #waitsForCommand = false;
  #stopping = false;
  #ended = false;

  /** `before`: what has been read already. */
  constructor(socket: Socket, before: Buffer, parts: ConnectionParts) {
    this.#parts = parts;
    this.#raw = socket;
    this.#socket = socket;
    this.#openedAt = parts.ticks();
    this.#input = new Input(parts.limits.commandLineBytes, () => this.#left());
    if (before.length > 0) this.#input.unread(before);
    this.#input.attach(socket);
  }

  async serve(): Promise<void> {
    try {
      if (await this.#greet()) await this.#converse();
    } catch (fault) {
      this.#parts.log.error({ err: fault }, 'a conversation failed');
      this.finish({ ...replies.internal, code: 421 });
    } finally {
      this.#chunks?.abort();
      this.#left();
      await Promise.all(this.#tasks);
    }
  }

  /** To be called every second or so. */
  sweep(now: number): void {
    const late = this.#deadline > 0 && now > this.#deadline;
    // A client that does not read would not read the last word either.
    if (late && (this.#ended || this.#socket.writableNeedDrain)) this.destroy();
    else if (late) this.finish(replies.timeout);
    // A message that is being decided gets its answer first.
    else if (!this.#ended && this.#deadline > 0 && now > this.#openedAt + this.#parts.limits.sessionMs)
      this.finish(replies.sessionOver);
  }

  /** Ends when the command under way is answered; at once where none is. */
  stopSoon(): void {
    this.#stopping = true;
    if (this.#waitsForCommand) this.finish(replies.stopping);
  }

  /** Says this, and closes. */
  finish(reply: Reply): void {
    if (this.#ended) return;
    this.#say(reply);
    this.#flush();
    this.#ended = true;
    this.#deadline = this.#parts.ticks() + lingerMs;
    this.#input.close();
    this.#socket.end();
    // What still comes is read and forgotten, until the client closes too.
    let left = maxLingerBytes;
    this.#socket.on('data', (piece: Buffer) => {
      left -= piece.length;
      if (left >= 0) return;
      this.#parts.offended();
      this.destroy();
    });
    this.#socket.resume();
  }

  destroy(): void {
    // Where there is TLS, it takes the socket below with it; the other way round Node 24 reads from what is no more, and the process dies.
    this.#socket.destroy();
  }

  // The client is gone, or done with: nothing that waits for it goes on.
  #left(): void {
    this.#over.abort(gone);
    this.#parts.session.end();
  }

  async #greet(): Promise<boolean> {
    const { session, distrusted, tarpit, limits, hostname, offended } = this.#parts;
    const result = await this.#ask(() => session.connect());
    if (result.kind !== 'ok') {
      this.finish(result.reply);
      return false;
    }
    if (distrusted) {
      await tarpit.hold(limits.greetingWaitMs, this.#over.signal);
      // However late the timer was: what has come by now is read before it is looked at.
      await turn();
    }
    if (this.#input.isWaiting) {
      offended();
      this.finish(replies.early);
      return false;
    }
    // RFC 5321 §4.2: no enhanced code here (RFC 2034 §4).
    this.#unwritten += `220 ${hostname} ESMTP ePOST\r\n`;
    return !this.#ended;
  }

  async #converse(): Promise<void> {
    for (let sinceTurn = 0; !this.#ended; sinceTurn += 1) {
      const line = this.#input.takeLine() ?? (await this.#nextLine());
      if (this.#ended || line.kind === 'closed') break;
      await this.#obeyLine(line);
      if (this.#stopping) this.finish(replies.stopping);
      if (this.#unwritten.length > maxUnwritten) await this.#written();
      if (sinceTurn < commandsATurn) continue;
      sinceTurn = 0;
      await turn();
    }
    if (this.#ended) return;
    // The client closed its side. It may still read what was said.
    this.#flush();
    this.#ended = true;
    this.#deadline = this.#parts.ticks() + lingerMs;
    this.#socket.end();
  }

  async #nextLine(): Promise<Line> {
    await this.#written();
    // From here to the end of the line, however many octets a minute keep coming.
    this.#deadline = this.#parts.ticks() + this.#parts.limits.commandTimeoutMs;
    this.#waitsForCommand = true;
    let line: Line | undefined;
    while (line === undefined && !this.#ended) {
      await this.#input.more();
      line = this.#input.takeLine();
    }
    this.#waitsForCommand = false;
    if (!this.#ended) this.#deadline = 0;
    return line ?? { kind: 'closed' };
  }

  async #nextPiece(): Promise<Buffer | 'closed'> {
    for (;;) {
      const piece = this.#ended ? 'closed' : this.#input.take();
      if (piece !== undefined) return piece;
      await this.#written();
      this.#deadline = this.#parts.ticks() + this.#parts.limits.dataTimeoutMs;
      await this.#input.more();
      if (!this.#ended) this.#deadline = 0;
    }
  }

  async #obeyLine(line: Exclude<Line, { kind: 'closed' }>): Promise<void> {
    switch (line.kind) {
      case 'line':
        return await this.#obey(parseCommand(line.octets));
      case 'too-long':
        return this.#answer(replies.lineTooLong);
      case 'bare-lf':
        this.#parts.offended();
        return this.finish(replies.bareLineEnd);
      default:
        this.#parts.offended();
        return this.finish(replies.lineEndless);
    }
  }

  async #obey(command: Command): Promise<void> {
    if (talk.has(command.verb)) {
      this.#talk += 1;
      if (this.#talk > this.#parts.limits.commandsWithoutMail) {
        this.#parts.offended();
        return this.finish(replies.tooMuchTalk);
      }
    }
    const { hostname, limits, session, certificates } = this.#parts;
    const secure = this.#tls.used;
    const canSecure = certificates() !== undefined;
    const taken = step(this.#state, command, { ...limits, hostname, secure, canSecure });
    switch (taken.kind) {
      case 'say':
        return this.#goOn(taken);
      case 'mail':
        return await this.#askFor(taken, replies.mailOk, () =>
          session.mail(taken.mail, this.#factsOf(taken.hello, taken.mail.utf8)),
        );
      case 'rcpt':
        return await this.#askFor(taken, replies.rcptOk, () => session.rcpt(taken.rcpt));
      case 'data':
        return await this.#data(taken.state);
      case 'chunk':
        return await this.#chunk(taken);
      case 'secure':
        return await this.#startTls(taken.state);
      case 'quit':
        return this.finish(replies.bye);
      default:
        this.#parts.offended();
        return this.finish(taken.reply);
    }
  }

  #goOn({ reply, state }: Extract<Step, { kind: 'say' }>): void {
    this.#state = state;
    if (state.at !== 'chunks') this.#dropChunks();
    if ('code' in reply) this.#answer(reply);
    else this.#sayLines(reply);
  }

  async #askFor(taken: { readonly state: State }, good: Reply, ask: () => Promise<StepResult>): Promise<void> {
    const result = await this.#ask(ask);
    switch (result.kind) {
      case 'ok':
        this.#state = taken.state;
        return this.#answer(good);
      case 'refused':
        return this.#answer(result.reply);
      default:
        if (result.reply === replies.tooManyUnknown) this.#parts.offended();
        return this.finish(result.reply);
    }
  }

  async #ask(ask: () => Promise<StepResult>): Promise<StepResult> {
    try {
      return await ask();
    } catch (fault) {
      this.#parts.log.error({ err: fault }, 'a step of a session failed');
      return refused(replies.internal);
    }
  }

  async #data(next: State): Promise<void> {
    // RFC 2034 §4: 3yz has no enhanced code.
    this.#unwritten += '354 end the message with CRLF.CRLF\r\n';
    const incoming = this.#parts.session.incoming();
    const reader = new DotReader();
    let left = Math.max(maxOversize * this.#parts.limits.messageBytes, minOversizeBytes);
    for (;;) {
      const piece = await this.#nextPiece();
      if (piece === 'closed') {
        incoming.abort();
        return;
      }
      left -= piece.length;
      if (left < 0) {
        incoming.abort();
        return this.finish(replies.tooLarge);
      }
      const { octets, rest } = reader.add(piece);
      incoming.add(octets);
      if (rest === undefined) continue;
      if (rest.length > 0) this.#input.unread(rest);
      break;
    }
    this.#state = next;
    await this.#decide(incoming);
  }

  async #chunk({ octets, last, refusal, state }: Extract<Step, { kind: 'chunk' }>): Promise<void> {
    const incoming = refusal === undefined ? (this.#chunks ??= this.#parts.session.incoming()) : undefined;
    for (let left = octets; left > 0; ) {
      const piece = await this.#nextPiece();
      if (piece === 'closed') return;
      const part = piece.subarray(0, left);
      incoming?.add(part);
      left -= part.length;
      if (part.length < piece.length) this.#input.unread(piece.subarray(part.length));
    }
    this.#state = state;
    if (incoming === undefined) {
      this.#dropChunks();
      return this.#answer(refusal ?? replies.internal);
    }
    if (!last) return this.#say({ code: 250, enhanced: '2.0.0', text: `${octets} octets received` });
    this.#chunks = undefined;
    incoming.endLine();
    await this.#decide(incoming);
  }

  #dropChunks(): void {
    this.#chunks?.abort();
    this.#chunks = undefined;
  }

  async #decide(incoming: IncomingMessage): Promise<void> {
    const { session, log } = this.#parts;
    const { reply, acknowledged }: DataAnswer = await session.data(await incoming.end());
    if (reply.code === 250) this.#talk = 0;
    this.#say(reply);
    if (acknowledged === undefined) return;
    // That the client can know of it is noted when the system has it.
    const written = Promise.withResolvers<boolean>();
    this.#flush((error) => written.resolve(error === undefined || error === null));
    const task = written.promise
      .then(async (isWritten) => {
        if (isWritten) await acknowledged();
      })
      .catch((error: unknown) => log.warn({ err: error }, 'that a reply was written could not be remembered'))
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  async #startTls(next: State): Promise<void> {
    const certificates = this.#parts.certificates();
    if (certificates === undefined) return this.#answer(replies.tlsFailed);
    // RFC 3207 §4.2: nothing that came before counts inside, be it known or still unread (CVE-2011-0411).
    this.#input.detach();
    this.#say(replies.secureNow);
    await new Promise<void>((resolve) => this.#flush(() => resolve()));
    const secure = new TLSSocket(this.#raw, {
      isServer: true,
      secureContext: certificates.first,
      SNICallback: (name, done) => done(null, certificates.forName(name)),
      requestCert: false,
    });
    secure.on('error', (error) => this.#parts.log.debug({ err: error }, 'a client connection broke'));
    // Both go together, whichever breaks first.
    secure.once('close', () => this.#raw.destroy());
    this.#socket = secure;
    this.#deadline = this.#parts.ticks() + this.#parts.limits.commandTimeoutMs;
    const isOn = await Promise.race([
      once(secure, 'secure').then(() => true),
      once(secure, 'close').then(() => false),
      once(this.#raw, 'close').then(() => false),
    ]).catch(() => false);
    if (!isOn || this.#ended) {
      this.#ended = true;
      this.destroy();
      return;
    }
    this.#deadline = 0;
    this.#tls = { used: true, version: secure.getProtocol() ?? '', cipher: secure.getCipher().standardName };
    this.#state = next;
    this.#input.attach(secure);
  }

  #factsOf(hello: Hello, utf8: boolean): WireFacts {
    const secure = this.#tls.used ? 'S' : '';
    // RFC 3848; RFC 6531 §4.3: UTF8SMTP instead of ESMTP.
    const protocol = hello.extended ? `${utf8 ? 'UTF8SMTP' : 'ESMTP'}${secure}` : 'SMTP';
    return { helo: hello.name, tls: this.#tls, protocol };
  }

  /** The answer to a command: a client that cannot speak SMTP will not learn it. */
  #answer(reply: Reply): void {
    this.#say(reply);
    if (!badCommandCodes.has(reply.code)) return;
    this.#badCommands += 1;
    if (this.#badCommands < this.#parts.limits.badCommands) return;
    this.#parts.offended();
    this.finish(replies.tooManyBadCommands);
  }

  #say(reply: Reply): void {
    this.#unwritten += lineOf(reply.code < 400 || isTraced(reply) ? reply : this.#parts.session.refusal(reply));
  }

  #sayLines(lines: readonly string[]): void {
    this.#unwritten += lines
      .map((line, nth) => `250${nth === lines.length - 1 ? ' ' : '-'}${visible(line)}\r\n`)
      .join('');
  }

  #flush(done?: (error?: Error | null) => void): void {
    const text = this.#unwritten;
    this.#unwritten = '';
    if (this.#ended || this.#socket.destroyed || !this.#socket.writable) done?.(new Error('the connection is closed'));
    else if (text === '') done?.();
    else this.#socket.write(text, 'latin1', done);
  }

  /** Writes what is to be said, and waits while the client does not read it. */
  async #written(): Promise<void> {
    this.#flush();
    const socket = this.#socket;
    if (!socket.writableNeedDrain || this.#ended) return;
    this.#deadline = this.#parts.ticks() + this.#parts.limits.commandTimeoutMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once('drain', resolve).once('close', resolve);
    await promise;
    socket.off('drain', resolve).off('close', resolve);
    if (!this.#ended) this.#deadline = 0;
  }
}

function lineOf({ code, enhanced, text }: Reply): string {
  return `${code} ${enhanced} ${visible(text)}\r\n`;
}

/** Text for the client: whatever a policy or a client put into it, it stays one line of ASCII (RFC 5321 §4.2, §4.5.3.1.5). */
function visible(text: string): string {
  return text.slice(0, 480).replace(/[^\x20-\x7e]/g, '?');
}

/** What is said in place of a greeting. No place is kept for the client, not even to hear what it says. */
export function turnAway(socket: Socket, reply: Reply): void {
  socket.end(lineOf(reply), 'latin1');
  socket.destroySoon();
}
