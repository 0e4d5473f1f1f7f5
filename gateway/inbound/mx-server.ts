import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { SMTPServer } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import type { Reply } from '../../policy/policy.ts';
import { replies } from './replies.ts';

type ServerOptions = NonNullable<ConstructorParameters<typeof SMTPServer>[0]>;
export type SmtpSession = SMTPConnection['session'];
type ConnectionOptions = ConstructorParameters<typeof SMTPConnection>[2];

export interface MxServerOptions extends ServerOptions {
  readonly badCommands: number;
  readonly limitsKeyword: string;
  /** Whether a PROXY protocol header is expected from, and believed of, this address. */
  readonly isProxy: (ip: string) => boolean;
}

const ownEnhancedCode = /^[245]\.\d{1,3}\.\d{1,3} /;
// RFC 5321 §4.2.2: commands not understood, arguments not understood, bad order, parameters not understood.
const badCommandCodes: ReadonlySet<number> = new Set([500, 501, 502, 503, 504, 555]);

/**
 * smtp-server's server with what it lacks: enhanced codes of our own, no fixed wait before the greeting, a limit on bad
 * commands, LIMITS (RFC 9422), and a way to learn that a reply was written.
 */
export class MxServer extends SMTPServer {
  readonly #connections = new WeakMap<SmtpSession, MxConnection>();
  readonly #mx: MxServerOptions;

  constructor(options: MxServerOptions) {
    super(options);
    this.#mx = options;
  }

  override connect(socket: Socket | TLSSocket, options?: ConnectionOptions): void {
    const connection = new MxConnection(this, socket, options ?? null, this.#mx);
    this.#connections.set(connection.session, connection);
    this.connections.add(connection);
    connection.on('error', (error: Error) => this._onError(error));
    connection.init();
  }

  // smtp-server compares single addresses; proxies are listed as networks too.
  override _expectsProxyHeader(socket: Socket): boolean {
    return this.#mx.isProxy(socket.remoteAddress ?? '');
  }

  /** The connection that a session of smtp-server's handlers belongs to. */
  connectionOf(session: SmtpSession): MxConnection | undefined {
    return this.#connections.get(session);
  }
}

export class MxConnection extends SMTPConnection {
  readonly #mx: MxServerOptions;
  #badCommands = 0;

  constructor(server: SMTPServer, socket: Socket | TLSSocket, options: ConnectionOptions, mx: MxServerOptions) {
    super(server, socket, options);
    this.#mx = mx;
  }

  // Without smtp-server's 100 ms: a wait belongs to clients that policy distrusts. Who talks before the greeting is
  // still refused, since nothing is read as a command until it is sent.
  override init(): void {
    this._setListeners(() => this.connectionReady());
  }

  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    if (Array.isArray(data) && code === 250) return super.send(code, [...data, this.#mx.limitsKeyword], context);
    // A reply of ours carries its own enhanced code; smtp-server would put one from a table before it.
    const own = typeof data === 'string' && ownEnhancedCode.test(data);
    super.send(code, data, own ? false : context);
    if (badCommandCodes.has(code)) this.#countBadCommand();
    return undefined;
  }

  /** Sends a reply that is no answer to a command, such as the one before closing. */
  tell({ code, enhanced, text }: Reply): void {
    this.send(code, `${enhanced} ${text}`);
  }

  /** How long the client may be silent from now on. */
  allowSilence(ms: number): void {
    this._socket.setTimeout(ms);
  }

  /** Whether everything written so far was handed to the network; false where the connection broke before. */
  async flushed(): Promise<boolean> {
    const socket = this._socket;
    if (socket.writableFinished) return true;
    if (socket.destroyed) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const closed = (): void => resolve(socket.writableFinished);
    const finished = (): void => resolve(true);
    socket.once('close', closed);
    // After a QUIT in the same packet nothing more can be written: then the end of writing says it.
    if (!socket.writable) socket.once('finish', finished);
    // Writes are in order: this empty one is done when all before it are.
    else socket.write(new Uint8Array(), (error) => resolve(error === undefined || error === null));
    // A connection brings many messages.
    return await promise.finally(() => socket.off('close', closed).off('finish', finished));
  }

  #countBadCommand(): void {
    this.#badCommands += 1;
    if (this.#badCommands >= this.#mx.badCommands && !this._closing) this.tell(replies.tooManyBadCommands);
  }
}
