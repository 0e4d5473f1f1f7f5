import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { SMTPServer } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import { scramPlusMechanism, tlsExporter } from '../scram-exchange.ts';
import { type ScramDoor, scramCommand } from './scram-command.ts';

type ServerOptions = NonNullable<ConstructorParameters<typeof SMTPServer>[0]>;
type ConnectionOptions = ConstructorParameters<typeof SMTPConnection>[2];
export type SmtpSession = SMTPConnection['session'];

const ownEnhancedCode = /^[245]\.\d{1,3}\.\d{1,3} /;
// RFC 5321 §4.2.2: not understood, out of order, or with parameters that are none.
const badCommandCodes: ReadonlySet<number> = new Set([500, 501, 502, 503, 504, 555]);

/** smtp-server's server with enhanced codes of our own, a limit on bad commands, no AUTH before TLS, and no wait before the greeting. */
export class SubmissionServer extends SMTPServer {
  readonly #connections = new WeakMap<SmtpSession, SubmissionConnection>();
  readonly #ours: Ours;

  constructor(options: ServerOptions, ours: Ours) {
    super(options);
    this.#ours = ours;
  }

  override connect(socket: Socket | TLSSocket, options?: ConnectionOptions): void {
    const connection = new SubmissionConnection(this, socket, options ?? null, this.#ours);
    this.#connections.set(connection.session, connection);
    this.connections.add(connection);
    connection.on('error', (error: Error) => this._onError(error));
    connection.init();
  }

  connectionOf(session: SmtpSession): SubmissionConnection | undefined {
    return this.#connections.get(session);
  }
}

/** What is ours around the library. */
interface Ours {
  readonly maxBadCommands: number;
  /** SCRAM mechanisms for a connection with that channel binding; none where nobody can log in so. */
  readonly scramMechanisms: (exporter: Uint8Array | undefined) => readonly string[];
  readonly scramDoor: (session: SmtpSession) => ScramDoor | undefined;
}

export class SubmissionConnection extends SMTPConnection {
  readonly #ours: Ours;
  #badCommands = 0;

  constructor(server: SMTPServer, socket: Socket | TLSSocket, options: ConnectionOptions, ours: Ours) {
    super(server, socket, options);
    this.#ours = ours;
  }

  get #exporter(): Buffer | undefined {
    return this.session.secure && this._socket instanceof TLSSocket ? tlsExporter(this._socket) : undefined;
  }

  // smtp-server knows no SCRAM; everything else of AUTH is its own.
  override handler_AUTH(command: Buffer, callback: () => void): void {
    const [, name = '', initial] = command.toString('latin1').trim().split(/\s+/);
    const mechanism = name.toUpperCase();
    const exporter = this.#exporter;
    const door = this.#ours.scramDoor(this.session);
    const offered = this.#ours.scramMechanisms(exporter).includes(mechanism);
    if (!offered || door === undefined || !this.session.secure || this.session.user)
      return super.handler_AUTH(command, callback);
    // Each step of the exchange answers one line: it must let the next one in, and say so once.
    let release = callback;
    const ask = async (challenge: string): Promise<string> =>
      await new Promise<string>((resolve) => {
        this._nextHandler = (line, done) => {
          release = done;
          resolve(line.toString('latin1').trim());
        };
        this.send(334, Buffer.from(challenge).toString('base64'));
        release();
      });
    const plus = mechanism === scramPlusMechanism;
    scramCommand(door, { ask }, { plus, exporter: plus ? exporter : undefined }, initial)
      .then((outcome) => {
        if (outcome.kind === 'reply') this.send(outcome.code, outcome.text);
        else {
          this.session.user = outcome.user;
          this.session.transmissionType = this._transmissionType();
          this.send(235, '2.7.0 logged in');
        }
      })
      .catch(() => this.send(451, '4.3.0 something is wrong here, not with you; try again'))
      .finally(() => release());
    return undefined;
  }

  // smtp-server waits 100 ms for spammers who talk before the greeting; here are the programs of our own users.
  override init(): void {
    this._setListeners(() => this.connectionReady());
  }

  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    // smtp-server offers AUTH before TLS and refuses it only when the password has been sent (RFC 4954 §4 says not to).
    if (Array.isArray(data) && code === 250) {
      // -PLUS is served and not announced: mutt and neomutt with gsasl would choose it, cannot bind, try nothing else, and so send
      // nothing. (In IMAP they go on with PLAIN.) Hence a client that could bind and says so (`y`) is no sign of an attack here.
      const mechanisms = this.session.secure ? this.#ours.scramMechanisms(undefined) : [];
      const lines = data.map((line) => (/^AUTH\b/.test(line) ? [line, ...mechanisms].join(' ') : line));
      return super.send(code, this.session.secure ? lines : lines.filter((line) => !/^AUTH\b/.test(line)), context);
    }
    // A reply of ours carries its own enhanced code; smtp-server would put one from a table before it.
    const own = typeof data === 'string' && ownEnhancedCode.test(data);
    super.send(code, data, own ? false : context);
    if (!badCommandCodes.has(code)) return undefined;
    this.#badCommands += 1;
    if (this.#badCommands >= this.#ours.maxBadCommands && !this._closing)
      super.send(421, '4.7.0 too many bad commands', false);
    return undefined;
  }

  destroy(): void {
    this._socket.destroy();
  }
}
