/**
 * One SMTP connection to one mail server, over nodemailer's SMTPConnection. TLS is opportunistic (RFC 7435): taken where it is offered, with any
 * certificate, since without a published policy nobody can say which would be right, and a wrong one still keeps listeners out.
 */
import { isAscii } from 'node:buffer';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { Hop } from './route.ts';

/** What went wrong on the way, in the words of the remote host where it said something. */
export interface SmtpTrouble {
  readonly code?: number;
  readonly reply: string;
  /** The step it happened at. */
  readonly command: string;
  /** nodemailer's own name for it, such as ECONNECTION. */
  readonly name: string;
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

interface NodemailerTrouble extends Error {
  code?: string | undefined;
  responseCode?: number | undefined;
  response?: string | undefined;
  command?: string | undefined;
  recipient?: string | undefined;
  rejectedErrors?: NodemailerTrouble[] | undefined;
}

function trouble(error: NodemailerTrouble): SmtpTrouble {
  return {
    ...(error.responseCode === undefined ? {} : { code: error.responseCode }),
    reply: error.response ?? error.message,
    command: error.command ?? 'CONN',
    name: error.code ?? 'unknown',
  };
}

function refusals(errors: readonly NodemailerTrouble[] | undefined): RecipientTrouble[] {
  return (errors ?? []).map((error) => ({ ...trouble(error), recipient: error.recipient ?? '' }));
}

export class SmtpClient {
  readonly #connection: SMTPConnection;
  readonly #times: SmtpTimes;
  readonly hop: Hop;
  messages = 0;
  #onDeath: ((error: NodemailerTrouble) => void) | undefined;
  #dead = false;

  private constructor(connection: SMTPConnection, hop: Hop, times: SmtpTimes) {
    this.#connection = connection;
    this.#times = times;
    this.hop = hop;
    connection.on('error', (error: NodemailerTrouble) => this.#died(error));
    connection.on('end', () => {
      this.#dead = true;
      // nodemailer closes first and then says why: its reason counts if it has one.
      setImmediate(() => this.#died(new Error('the connection was closed')));
    });
  }

  /** Connects, greets and takes TLS if offered. */
  static async open(
    hop: Hop,
    options: { name: string; times: SmtpTimes; tls: boolean },
  ): Promise<SmtpClient | { trouble: SmtpTrouble }> {
    const { name, times, tls } = options;
    // Without Nagle's algorithm: the final dot is a small packet of its own and would wait 40 ms for the host's delayed ACK.
    const socket = new Socket().setNoDelay(true);
    const connection = new SMTPConnection({
      socket,
      host: hop.address,
      port: hop.port,
      name,
      // Port 465 is TLS from the first byte (RFC 8314 §3.3); a smarthost may be there.
      secure: hop.port === 465,
      ignoreTLS: !tls,
      opportunisticTLS: true,
      // RFC 6066 §3: names only, never addresses.
      tls: { rejectUnauthorized: false, ...(hop.name === hop.address ? {} : { servername: hop.name }) },
      connectionTimeout: times.connectMs,
      greetingTimeout: times.greetingMs,
      socketTimeout: times.silenceMs,
      // A reply is a few lines.
      maxResponseSize: 64 * 1024,
    });
    const client = new SmtpClient(connection, hop, times);
    return new Promise((resolve) => {
      const fail = (error: NodemailerTrouble) => {
        clearTimeout(timer);
        client.close();
        resolve({ trouble: trouble(error) });
      };
      const timer = setTimeout(() => fail(new Error('greeting took too long')), times.connectMs + 2 * times.greetingMs);
      client.#onDeath = fail;
      connection.connect((error) => {
        if (error !== undefined) return fail(error);
        clearTimeout(timer);
        client.#onDeath = undefined;
        return resolve(client);
      });
    });
  }

  get dead(): boolean {
    return this.#dead || this.#connection.destroyed;
  }

  get encrypted(): boolean {
    return this.#connection.secure;
  }

  #died(error: NodemailerTrouble): void {
    this.#dead = true;
    this.#onDeath?.(error);
  }

  /**
   * One transaction. `onDelivered` is called in the same tick in which the final 250 was read, before anything else can happen; whatever it does
   * is as close to the remote host's promise as we can get.
   */
  async send(mail: Mail, onDelivered: (accepted: readonly string[]) => void): Promise<Sent> {
    this.messages += 1;
    return new Promise((resolve) => {
      const end = (sent: Sent) => {
        clearTimeout(timer);
        this.#onDeath = undefined;
        resolve(sent);
      };
      const fail = (error: NodemailerTrouble) => {
        const { dead } = this;
        const refused = refusals(error.rejectedErrors);
        end({ kind: 'failed', trouble: trouble(error), refused, dead, began: message.began });
      };
      const message = new MessageStream(mail.bytes);
      const timer = setTimeout(() => {
        this.close();
        fail(Object.assign(new Error('the transaction took too long'), { code: 'ETIMEDOUT', command: 'DATA' }));
      }, this.#times.totalMs);
      this.#onDeath = fail;
      const envelope = {
        from: mail.from,
        to: [...mail.recipients],
        size: mail.bytes.length,
        use8BitMime: !isAscii(mail.bytes),
        ...(mail.ret === undefined && mail.envid === undefined ? {} : { dsn: { ret: mail.ret, envid: mail.envid } }),
      };
      this.#connection.send(envelope, message, (error, info) => {
        if (error !== null || info === undefined) return fail(error ?? new Error('nothing was sent'));
        onDelivered(info.accepted);
        const refused = refusals(info.rejectedErrors);
        return end({ kind: 'sent', reply: info.response, accepted: info.accepted, refused });
      });
    });
  }

  /** Ready for the next transaction? */
  async reset(): Promise<boolean> {
    if (this.dead) return false;
    return new Promise((resolve) => {
      this.#onDeath = () => resolve(false);
      this.#connection.reset((error) => {
        this.#onDeath = undefined;
        resolve(error === null);
      });
    });
  }

  quit(): void {
    if (this.dead) return;
    this.#connection.quit();
    // For hosts that do not answer QUIT.
    setTimeout(() => this.close(), 2_000).unref();
  }

  close(): void {
    this.#dead = true;
    this.#connection.close();
  }
}

/** The message in pieces; it is read only once the host has said 354. */
class MessageStream extends Readable {
  began = false;
  #at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    super();
    this.#bytes = bytes;
  }

  override _read(): void {
    this.began = true;
    const piece = this.#bytes.subarray(this.#at, this.#at + 64 * 1024);
    this.#at += piece.length;
    this.push(piece.length === 0 ? null : Buffer.from(piece));
  }
}
