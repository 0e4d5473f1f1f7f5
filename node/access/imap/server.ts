import { createServer, type Server, type Socket } from 'node:net';
import type { Account, Accounts } from '../account.ts';
import type { Clock, Log } from '../log.ts';
import { LoginGate, sleep } from '../login-gate.ts';
import { secureContexts, type TlsSource } from '../tls-source.ts';
import { type ImapLimits, imapLimits } from './limits.ts';
import { Connection } from './session/connection.ts';
import { serve } from './session/serve.ts';
import type { Session, Shared } from './session/session.ts';

export interface ImapListen {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls: 'implicit' | 'starttls';
}

export interface ImapOptions {
  readonly listen: readonly ImapListen[];
  readonly tls: TlsSource;
  readonly accounts: Accounts;
  /** Given when wrong passwords are to be counted together with those of another listener. */
  readonly gate?: LoginGate;
  readonly limits?: ImapLimits;
  readonly now: Clock;
  readonly log: Log;
}

export interface Imap {
  /** In the order of `listen`. */
  readonly ports: readonly number[];
  /** Says BYE to everybody; who is not gone after `graceMs` is cut off. */
  stop(graceMs: number): Promise<void>;
}

/** Starts the IMAP listeners (RFC 3501). Throws the error of the socket when an address cannot be listened on. */
export async function startImap(options: ImapOptions): Promise<Imap> {
  const service = new ImapService(options);
  return await service.start();
}

class ImapService {
  readonly #options: ImapOptions;
  readonly #limits: ImapLimits;
  readonly #shared: Shared;
  readonly #stopping = new AbortController();
  readonly #servers: Server[] = [];
  readonly #sessions = new Map<Connection, Promise<void>>();
  readonly #byAddress = new Map<string, number>();
  readonly #byUser = new Map<string, number>();
  #inFlight = 0;

  constructor(options: ImapOptions) {
    this.#options = options;
    this.#limits = options.limits ?? imapLimits;
    const { accounts, now, log } = options;
    this.#shared = {
      gate: options.gate ?? new LoginGate({ accounts, now, sleep, log }),
      limits: this.#limits,
      context: secureContexts(options.tls),
      now,
      log,
      enter: (account) => this.#enter(account),
      reserve: (bytes) => this.#reserve(bytes),
      release: (bytes) => {
        this.#inFlight -= bytes;
      },
      stopping: this.#stopping.signal,
    };
  }

  async start(): Promise<Imap> {
    const ports: number[] = [];
    try {
      for (const listen of this.#options.listen) ports.push(await this.#listen(listen));
    } catch (fault) {
      await this.#stop(0);
      throw fault;
    }
    return { ports, stop: async (graceMs) => await this.#stop(graceMs) };
  }

  async #listen({ host, port, tls }: ImapListen): Promise<number> {
    const server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket, tls));
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        server.on('error', (fault) => this.#shared.log.error({ fault }, 'the IMAP listener has a fault'));
        resolve();
      });
    });
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  #accept(socket: Socket, tls: ImapListen['tls']): void {
    const address = socket.remoteAddress ?? '';
    const count = this.#byAddress.get(address) ?? 0;
    const full = this.#sessions.size >= this.#limits.maxConnections || count >= this.#limits.maxConnectionsPerAddress;
    if (full || this.#stopping.signal.aborted) {
      socket.on('error', () => socket.destroy());
      // Inside TLS the words would not be understood.
      if (tls === 'implicit') socket.destroy();
      else socket.end('* BYE [UNAVAILABLE] too many connections\r\n', () => socket.destroy());
      return;
    }
    this.#byAddress.set(address, count + 1);
    let session: Session | undefined;
    const connection = new Connection(socket, {
      stallMs: this.#limits.stallMs,
      frameLimits: () => this.#frameLimits(session),
    });
    session = {
      shared: this.#shared,
      connection,
      enabled: new Set(),
      tag: '*',
      state: { at: 'greeting' },
      secure: false,
      logins: 0,
      reserved: 0,
      leave: undefined,
    };
    const running = this.#run(session, tls)
      .catch((fault: unknown) => this.#shared.log.error({ fault }, 'an IMAP session broke'))
      .finally(() => {
        this.#sessions.delete(connection);
        countDown(this.#byAddress, address);
      });
    this.#sessions.set(connection, running);
  }

  async #run(session: Session, tls: ImapListen['tls']): Promise<void> {
    const { connection } = session;
    const deadline = this.#shared.now() + this.#limits.unauthenticatedMs;
    if (tls === 'implicit') {
      session.secure = await connection.secure(this.#shared.context(), this.#limits.unauthenticatedMs);
      if (!session.secure) {
        connection.destroy();
        return;
      }
    }
    await serve(session, deadline);
    // What was written last may still be on its way; a client that does not close is not waited for.
    const timer = setTimeout(() => connection.destroy(), this.#limits.stallMs);
    await connection.closed();
    clearTimeout(timer);
  }

  #frameLimits(session: Session | undefined): { maxTextBytes: number; maxLiterals: number } {
    const loggedIn = session?.state.at === 'authenticated' || session?.state.at === 'selected';
    const { maxTextBytes, maxUnauthenticatedTextBytes, maxLiterals } = this.#limits;
    return {
      maxTextBytes: loggedIn ? maxTextBytes : maxUnauthenticatedTextBytes,
      maxLiterals: loggedIn ? maxLiterals : 4,
    };
  }

  #enter(account: Account): (() => void) | undefined {
    const count = this.#byUser.get(account.address) ?? 0;
    if (count >= this.#limits.maxConnectionsPerUser) return undefined;
    this.#byUser.set(account.address, count + 1);
    return () => countDown(this.#byUser, account.address);
  }

  #reserve(bytes: number): boolean {
    if (this.#inFlight + bytes > this.#limits.maxMessageBytesInFlight) return false;
    this.#inFlight += bytes;
    return true;
  }

  async #stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const closed = this.#servers.map(
      async (server) => await new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const connection of this.#sessions.keys()) connection.wake();
    const timer = setTimeout(() => {
      for (const connection of this.#sessions.keys()) connection.destroy();
    }, graceMs);
    await Promise.all([...this.#sessions.values(), ...closed]);
    clearTimeout(timer);
  }
}

function countDown(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 1) - 1;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
