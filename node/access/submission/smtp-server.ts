import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { SMTPServer } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';

type ServerOptions = NonNullable<ConstructorParameters<typeof SMTPServer>[0]>;
type ConnectionOptions = ConstructorParameters<typeof SMTPConnection>[2];
export type SmtpSession = SMTPConnection['session'];

const ownEnhancedCode = /^[245]\.\d{1,3}\.\d{1,3} /;
// RFC 5321 §4.2.2: not understood, out of order, or with parameters that are none.
const badCommandCodes: ReadonlySet<number> = new Set([500, 501, 502, 503, 504, 555]);

/** smtp-server's server with enhanced codes of our own, a limit on bad commands, no AUTH before TLS, and no wait before the greeting. */
export class SubmissionServer extends SMTPServer {
  readonly #connections = new WeakMap<SmtpSession, SubmissionConnection>();
  readonly #maxBadCommands: number;

  constructor(options: ServerOptions, maxBadCommands: number) {
    super(options);
    this.#maxBadCommands = maxBadCommands;
  }

  override connect(socket: Socket | TLSSocket, options?: ConnectionOptions): void {
    const connection = new SubmissionConnection(this, socket, options ?? null, this.#maxBadCommands);
    this.#connections.set(connection.session, connection);
    this.connections.add(connection);
    connection.on('error', (error: Error) => this._onError(error));
    connection.init();
  }

  connectionOf(session: SmtpSession): SubmissionConnection | undefined {
    return this.#connections.get(session);
  }
}

export class SubmissionConnection extends SMTPConnection {
  readonly #maxBadCommands: number;
  #badCommands = 0;

  constructor(server: SMTPServer, socket: Socket | TLSSocket, options: ConnectionOptions, maxBadCommands: number) {
    super(server, socket, options);
    this.#maxBadCommands = maxBadCommands;
  }

  // smtp-server waits 100 ms for spammers who talk before the greeting; here are the programs of our own users.
  override init(): void {
    this._setListeners(() => this.connectionReady());
  }

  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    // smtp-server offers AUTH before TLS and refuses it only when the password has been sent (RFC 4954 §4 says not to).
    if (Array.isArray(data) && code === 250 && !this.session.secure) {
      return super.send(
        code,
        data.filter((line) => !/^AUTH\b/.test(line)),
        context,
      );
    }
    // A reply of ours carries its own enhanced code; smtp-server would put one from a table before it.
    const own = typeof data === 'string' && ownEnhancedCode.test(data);
    super.send(code, data, own ? false : context);
    if (!badCommandCodes.has(code)) return undefined;
    this.#badCommands += 1;
    if (this.#badCommands >= this.#maxBadCommands && !this._closing)
      super.send(421, '4.7.0 too many bad commands', false);
    return undefined;
  }

  destroy(): void {
    this._socket.destroy();
  }
}
