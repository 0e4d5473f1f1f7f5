/** One SMTP connection to one mail server, and transactions over it. */
import { isAscii, isUtf8 } from 'node:buffer';
import { readHeaderBlock } from '../header-fields.ts';
import type { Hop } from './route.ts';
import { type Extensions, extensionsOf, noExtensions } from './smtp/extensions.ts';
import { chunkPieces, dataPieces } from './smtp/message-lines.ts';
import type { Reply } from './smtp/reply.ts';
import { authorizationCode, isOptional, shortcoming, type TlsDemand } from './smtp/tls-demand.ts';
import { Wire, WireFault } from './smtp/wire.ts';
import type { TlsFailure } from './tls-report/session-result.ts';
import type { Level } from './transport/security.ts';

/** What went wrong on the way, in the words of the remote host where it said something. */
export interface SmtpTrouble {
  readonly code?: number;
  readonly reply: string;
  /** The step it happened at. */
  readonly command: string;
  /** `refused`: the host's reply says it. `message`, `envelope`: the host cannot take this message. `tls`: none, or not what is demanded. */
  readonly name: 'refused' | 'connection' | 'time-out' | 'protocol' | 'tls' | 'message' | 'envelope';
  /** RFC 3463, where we found out ourselves. */
  readonly status?: string;
  /** Where `tls` is what went wrong: how RFC 8460 counts it. */
  readonly tls?: TlsFailure;
}

export interface RecipientTrouble extends SmtpTrouble {
  readonly recipient: string;
}

export type Sent =
  | {
      readonly kind: 'sent';
      readonly reply: string;
      readonly accepted: readonly string[];
      readonly refused: readonly RecipientTrouble[];
      /** The host has taken over what was asked about reports (RFC 3461 §5.2.1). */
      readonly takesDsn: boolean;
    }
  | {
      readonly kind: 'failed';
      readonly trouble: SmtpTrouble;
      readonly refused: readonly RecipientTrouble[];
      /** The connection is gone. */
      readonly dead: boolean;
      /** Some of the message may have reached the host. */
      readonly began: boolean;
    };

export interface Mail {
  readonly from: string;
  readonly recipients: readonly string[];
  readonly bytes: Uint8Array;
  readonly ret?: string | undefined;
  readonly envid?: string | undefined;
  /** What was asked for each recipient (RFC 3461 §4.1, §4.2); passed on where the host takes it. */
  readonly dsn?: ReadonlyMap<string, RecipientDsn> | undefined;
  /** RFC 8689: only for a client that `takesRequireTls`. */
  readonly requireTls?: boolean | undefined;
}

export interface RecipientDsn {
  readonly notify: readonly string[];
  /** `type;address`, not encoded. */
  readonly orcpt?: string | undefined;
}

export interface SmtpTimes {
  readonly connectMs: number;
  readonly greetingMs: number;
  readonly silenceMs: number;
  readonly totalMs: number;
}

/**
 * RFC 5321 §4.5.3.2 gives minimum time-outs: 5 min for the greeting, 10 min for the reply to the final dot. The latter is kept, since giving up early
 * there makes second copies; a greeting that takes longer than a minute comes from a host that is not well, and the others wait.
 * All in all no host holds a place for longer than half an hour, however slowly it drips.
 */
export const defaultTimes: SmtpTimes = {
  connectMs: 30_000,
  greetingMs: 60_000,
  silenceMs: 600_000,
  totalMs: 1_800_000,
};

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface OpenOptions {
  /** Our name in EHLO. */
  readonly name: string;
  readonly times: SmtpTimes;
  readonly tls: TlsDemand;
  /** For a smarthost; sent under TLS alone. */
  readonly auth?: Credentials | undefined;
}

const pieceBytes = 64 * 1024;
/** What became of the message is known, and waits to be written down; a connection is not worth more. */
const resetMs = 5_000;

/** A step that did not succeed; becomes the trouble of the transaction. */
class StepFault extends Error {
  override readonly name = 'StepFault';
  readonly trouble: SmtpTrouble;
  constructor(trouble: SmtpTrouble) {
    super(trouble.reply);
    this.trouble = trouble;
  }
}

const isPositive = (reply: Reply): boolean => reply.code >= 200 && reply.code < 300;

function refusal(reply: Reply, command: string): SmtpTrouble {
  return { code: reply.code, reply: reply.text.trimEnd(), command, name: 'refused' };
}

function troubleOf(error: unknown, command: string): SmtpTrouble {
  if (error instanceof StepFault) return error.trouble;
  if (!(error instanceof WireFault)) throw error;
  const { kind, message, reply } = error;
  if (reply !== undefined) return { code: reply.code, reply: reply.text.trimEnd(), command, name: kind };
  return { reply: message, command, name: kind };
}

export class SmtpClient {
  readonly hop: Hop;
  messages = 0;
  readonly #wire: Wire;
  readonly #times: SmtpTimes;
  #extensions: Extensions = noExtensions;
  #isVerified = false;

  private constructor(wire: Wire, hop: Hop, times: SmtpTimes) {
    this.#wire = wire;
    this.hop = hop;
    this.#times = times;
  }

  /** Connects, greets, takes TLS as demanded and logs in. Never throws for what a host does. */
  static async open(hop: Hop, options: OpenOptions): Promise<SmtpClient | { trouble: SmtpTrouble }> {
    let wire: Wire;
    try {
      wire = await Wire.open(hop.address, hop.port, options.times);
    } catch (error) {
      return { trouble: troubleOf(error, 'CONN') };
    }
    const client = new SmtpClient(wire, hop, options.times);
    // Time-outs of the steps do not add up: a host that drips has no longer than one that is silent.
    const tooLong = new WireFault('time-out', 'greeting took too long');
    const timer = setTimeout(() => wire.close(tooLong), options.times.connectMs + 2 * options.times.greetingMs);
    try {
      await client.#greet(options);
      return client;
    } catch (error) {
      const trouble = troubleOf(error, 'CONN');
      if (trouble.code === 421) client.close();
      else client.quit();
      return { trouble };
    } finally {
      clearTimeout(timer);
    }
  }

  get dead(): boolean {
    return this.#wire.isDead;
  }

  get encrypted(): boolean {
    return this.#wire.encrypted;
  }

  /** The host promises to demand of the next one what REQUIRETLS demands of it (RFC 8689 §4.2.1). */
  get takesRequireTls(): boolean {
    return this.encrypted && this.#extensions.requireTls;
  }

  /** What the connection has proved, whatever was asked for. */
  get level(): Level {
    if (this.#isVerified) return 'verified';
    return this.encrypted ? 'encrypted' : 'plain';
  }

  /** Why the certificate that was shown would not do for a verified connection; empty where it would, or none was shown. */
  get certificateTrouble(): string {
    return this.#isVerified || this.#wire.tls === undefined ? '' : authorizationCode(this.#wire.tls);
  }

  async #greet({ name, times, tls, auth }: OpenOptions): Promise<void> {
    const servername = this.hop.name === this.hop.address ? undefined : this.hop.name;
    // Port 465 is TLS from the first byte (RFC 8314 §3.3); a smarthost may be there.
    if (this.hop.port === 465) await this.#wire.upgrade(servername, times.greetingMs);
    const greeting = await this.#wire.next(times.greetingMs);
    if (greeting.code !== 220) throw new StepFault(refusal(greeting, 'CONN'));
    await this.#hello(name);
    if (tls.kind !== 'none' && !this.encrypted && this.#extensions.startTls)
      await this.#startTls(tls, name, servername);
    if (!this.encrypted && !isOptional(tls)) {
      throw tlsFault('starttls-not-supported', 'the host offers no TLS, and mail for it must not go without');
    }
    const lacking = this.#wire.tls === undefined ? undefined : shortcoming(tls, this.#wire.tls, this.hop.name);
    if (lacking !== undefined) throw tlsFault(lacking.type, lacking.why);
    this.#isVerified = tls.kind === 'dane' || this.#wire.tls?.authorized === true;
    if (auth !== undefined) await this.#logIn(auth);
  }

  async #hello(name: string): Promise<void> {
    const reply = await this.#wire.command(`EHLO ${name}`);
    if (isPositive(reply)) {
      this.#extensions = extensionsOf(reply.lines);
      return;
    }
    // RFC 5321 §3.2: a server that does not know EHLO knows HELO.
    if (reply.code < 500 || reply.code === 554) throw new StepFault(refusal(reply, 'EHLO'));
    const old = await this.#wire.command(`HELO ${name}`);
    if (!isPositive(old)) throw new StepFault(refusal(old, 'HELO'));
    this.#extensions = noExtensions;
  }

  async #startTls(tls: TlsDemand, name: string, servername: string | undefined): Promise<void> {
    const reply = await this.#wire.command('STARTTLS');
    if (reply.code !== 220) {
      if (isOptional(tls)) return;
      throw tlsFault('starttls-not-supported', `the host refused STARTTLS: ${reply.text.trimEnd()}`);
    }
    await this.#wire.upgrade(servername, this.#times.greetingMs);
    // RFC 3207 §4.2: what it said before TLS is forgotten.
    await this.#hello(name);
  }

  /** RFC 4954 with PLAIN (RFC 4616), or LOGIN where the host knows nothing else. */
  async #logIn({ user, password }: Credentials): Promise<void> {
    if (!this.encrypted)
      throw tlsFault('starttls-not-supported', 'the password is not sent without TLS, and the host offers none');
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    let reply: Reply;
    if (this.#extensions.auth.has('PLAIN')) {
      reply = await this.#wire.command(`AUTH PLAIN ${base64(`\0${user}\0${password}`)}`);
    } else {
      reply = await this.#wire.command('AUTH LOGIN');
      for (const answer of [user, password]) if (reply.code === 334) reply = await this.#wire.command(base64(answer));
    }
    if (reply.code === 235) return;
    const refused = refusal(reply, 'AUTH');
    // A host that says what it heard must not bring the password into logs and notices.
    const secrets = [base64(`\0${user}\0${password}`), base64(password), password];
    const text = secrets.reduce((said, secret) => said.replaceAll(secret, '***'), refused.reply);
    throw new StepFault({ ...refused, reply: text });
  }

  /**
   * One transaction. `onDelivered` is called in the same tick in which the final 250 was read, before anything else can happen; whatever it does
   * is as close to the remote host's promise as we can get.
   */
  async send(mail: Mail, onDelivered: (accepted: readonly string[]) => void): Promise<Sent> {
    this.messages += 1;
    const under: Transaction = { refused: [], accepted: [], began: false, step: 'MAIL FROM' };
    // Whoever waits for a reply hears that the wire broke.
    const tooLong = (): void => this.#wire.close(new WireFault('time-out', 'the transaction took too long'));
    const timer = setTimeout(tooLong, this.#times.totalMs);
    try {
      const parameters = this.#mailParameters(mail);
      await this.#envelope(mail, parameters, under);
      const reply = await this.#content(mail.bytes, under, () => onDelivered(under.accepted));
      const { accepted, refused } = under;
      return { kind: 'sent', reply, accepted, refused, takesDsn: this.#extensions.dsn };
    } catch (error) {
      const { began, step } = under;
      const trouble = troubleOf(error, step);
      // Replies that came out of step may have been meant for other recipients than those they were counted for.
      const isOutOfStep = trouble.name === 'protocol' && !began;
      // RFC 5321 §3.8: after 421 nothing more is said.
      if (isOutOfStep || trouble.code === 421 || (!began && (await this.#waitsForContent(under)))) this.close();
      return { kind: 'failed', trouble, refused: isOutOfStep ? [] : under.refused, dead: this.dead, began };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The host took nobody and yet wants the message. RFC 2920 §3.1 would end that with a dot alone, which makes an empty message where the host thinks
   * otherwise of its recipients than it said; a connection is not worth that.
   */
  async #waitsForContent({ go }: Transaction): Promise<boolean> {
    const reply = await go?.catch(() => undefined);
    return reply?.code === 354;
  }

  /** What stands behind MAIL FROM; throws where the host cannot take this message at all. */
  #mailParameters({ from, recipients, bytes, ret, envid, requireTls }: Mail): string {
    const { size, eightBit, utf8, dsn } = this.#extensions;
    if (size?.max !== undefined && bytes.length > size.max) {
      // RFC 1870 §6.1; RFC 3463: 5.3.4 message too big for system.
      throw cannot('message', '5.3.4', `the message has ${bytes.length} octets, and the host takes ${size.max}`);
    }
    for (const address of [from, ...recipients]) {
      if (/[\s<>\p{Cc}]/u.test(address))
        throw cannot('envelope', '5.1.3', 'an address that cannot be written into a command');
    }
    const international = [from, ...recipients].some((address) => !/^[\p{ASCII}]*$/u.test(address));
    // RFC 6531 §3.5; RFC 3463: 5.6.7 non-ASCII addresses not permitted for that recipient.
    if (international && !utf8)
      throw cannot('envelope', '5.6.7', 'the host does not take addresses with letters beyond ASCII (SMTPUTF8)');
    const isEightBit = !isAscii(bytes);
    // RFC 6152 §3: no 8-bit octets to a host that does not say that it takes them. 5.6.3: conversion required but not supported; it would break signatures.
    if (isEightBit && !eightBit)
      throw cannot('message', '5.6.3', 'the message has 8-bit text, and the host does not take any (8BITMIME)');
    const headerIsUtf8 = utf8 && isEightBit && isInternationalHeader(bytes);
    return [
      size === undefined ? '' : ` SIZE=${bytes.length}`,
      isEightBit ? ' BODY=8BITMIME' : '',
      international || headerIsUtf8 ? ' SMTPUTF8' : '',
      dsn && ret !== undefined ? ` RET=${ret}` : '',
      dsn && envid !== undefined ? ` ENVID=${xtext(envid)}` : '',
      requireTls === true ? ' REQUIRETLS' : '',
    ].join('');
  }

  /** What stands behind RCPT TO. */
  #rcptParameters({ dsn }: Mail, to: string): string {
    const asked = this.#extensions.dsn ? dsn?.get(to) : undefined;
    if (asked === undefined) return '';
    const [type = '', address = ''] = asked.orcpt?.split(/;(.*)/s) ?? [];
    return [
      asked.notify.length === 0 ? '' : ` NOTIFY=${asked.notify.join(',')}`,
      // RFC 3461 §4.2: an atom, and xtext.
      /^[\w-]{1,40}$/.test(type) && /^[\p{ASCII}]{1,400}$/u.test(address) ? ` ORCPT=${type};${xtext(address)}` : '',
    ].join('');
  }

  /**
   * MAIL and RCPT, in one go where the host takes that, with DATA behind them (RFC 2920 §3.1): its reply is then waited for under `go`. Throws unless
   * somebody was accepted.
   */
  async #envelope(mail: Mail, parameters: string, under: Transaction): Promise<void> {
    const lines = [
      `MAIL FROM:<${mail.from}>${parameters}`,
      ...mail.recipients.map((to) => `RCPT TO:<${to}>${this.#rcptParameters(mail, to)}`),
    ];
    const { pipelining, chunking } = this.#extensions;
    const replies = pipelining ? this.#together(chunking ? lines : [...lines, 'DATA']) : [];
    if (pipelining && !chunking) under.go = replies.at(-1);
    for (const [index, line] of lines.entries()) {
      // oxlint-disable-next-line no-await-in-loop -- replies come in the order of the commands
      const reply = await (replies[index] ?? this.#wire.command(line));
      const recipient = mail.recipients[index - 1];
      if (recipient === undefined) {
        // What follows in the pipeline is refused by itself.
        if (!isPositive(reply)) throw new StepFault(refusal(reply, 'MAIL FROM'));
        under.step = 'RCPT TO';
      } else if (isPositive(reply)) under.accepted.push(recipient);
      else under.refused.push({ ...refusal(reply, 'RCPT TO'), recipient });
      if (index === lines.length - 1 && under.accepted.length === 0) throw new StepFault(refusal(reply, 'RCPT TO'));
    }
  }

  #together(lines: readonly string[]): Promise<Reply>[] {
    const replies = lines.map(() => this.#wire.next());
    // Each is waited for in its turn; one that fails while an earlier one is waited for must not count as forgotten.
    for (const reply of replies) reply.catch(() => undefined);
    this.#wire.put(lines.map((line) => `${line}\r\n`).join(''));
    return replies;
  }

  /** The message; the final reply. */
  async #content(bytes: Uint8Array, under: Transaction, onDelivered: () => void): Promise<string> {
    under.step = 'DATA';
    if (this.#extensions.chunking) return this.#bdat(bytes, under, onDelivered);
    const go = await (under.go ?? this.#wire.command('DATA'));
    if (isPositive(go)) throw new StepFault({ ...refusal(go, 'DATA'), name: 'protocol' });
    if (go.code !== 354) throw new StepFault(refusal(go, 'DATA'));
    under.began = true;
    for (const piece of dataPieces(bytes, pieceBytes)) {
      if (this.dead) break;
      // oxlint-disable-next-line no-await-in-loop -- as fast as the host reads
      await this.#wire.write(piece);
    }
    return this.#finalReply(onDelivered);
  }

  /** RFC 3030 §2: the whole message as one last chunk. */
  async #bdat(bytes: Uint8Array, under: Transaction, onDelivered: () => void): Promise<string> {
    under.began = true;
    const pieces = [...chunkPieces(bytes, pieceBytes)];
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const reply = this.#finalReply(onDelivered);
    // It is awaited below; until then a broken wire may end it.
    reply.catch(() => undefined);
    this.#wire.put(`BDAT ${length} LAST\r\n`);
    for (const piece of pieces) {
      if (this.dead) break;
      // oxlint-disable-next-line no-await-in-loop -- as fast as the host reads
      await this.#wire.write(piece);
    }
    return reply;
  }

  #finalReply(onDelivered: () => void): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#wire.expect((reply) => {
        if (!isPositive(reply)) return reject(new StepFault(refusal(reply, 'DATA')));
        onDelivered();
        return resolve(reply.text.trimEnd());
      }, reject);
    });
  }

  /** Ready for the next transaction? */
  async reset(): Promise<boolean> {
    if (this.dead) return false;
    try {
      return isPositive(await this.#wire.command('RSET', resetMs));
    } catch {
      return false;
    }
  }

  quit(): void {
    if (this.dead) return;
    // Whether the host answers is its own affair.
    const timer = setTimeout(() => this.close(), 2_000).unref();
    const end = (): void => {
      clearTimeout(timer);
      this.close();
    };
    this.#wire.command('QUIT').then(end, end);
  }

  close(): void {
    this.#wire.close();
  }
}

interface Transaction {
  readonly refused: RecipientTrouble[];
  readonly accepted: string[];
  began: boolean;
  step: string;
  /** The reply to a DATA that was sent with the envelope. */
  go?: Promise<Reply> | undefined;
}

function cannot(name: 'message' | 'envelope', status: string, reply: string): StepFault {
  return new StepFault({ reply, status, command: 'MAIL FROM', name });
}

function tlsFault(tls: TlsFailure, reply: string): StepFault {
  return new StepFault({ reply, command: 'STARTTLS', name: 'tls', tls });
}

function isInternationalHeader(bytes: Uint8Array): boolean {
  const header = bytes.subarray(0, readHeaderBlock(bytes).end);
  return !isAscii(header) && isUtf8(header);
}

/** RFC 3461 §4. */
function xtext(text: string): string {
  return text.replace(/[^!-*,-<>-~]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `+${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
