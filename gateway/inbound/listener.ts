import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Turns } from '../../queue/turns.ts';
import { type ClientNetwork, clientNetwork, inNetworks } from '../evidence/client-network.ts';
import { ConnectionCounts } from './connection-counts.ts';
import { Manners } from './manners.ts';
import { MemoryBudget } from './message-reader.ts';
import type { InboundParts } from './parts.ts';
import { replies } from './replies.ts';
import { Retransmissions } from './retransmission.ts';
import { Session, type SharedState } from './session.ts';
import { type Certificates, certificatesOf, type TlsOptions } from './smtp/certificates.ts';
import { Connection, turnAway } from './smtp/connection.ts';
import { readProxyHeader } from './smtp/proxy-header.ts';
import { Tarpit } from './smtp/tarpit.ts';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Certificates and keys for STARTTLS. Without, STARTTLS is not offered. */
  readonly tls?: TlsOptions;
  /** Addresses and networks that speak the PROXY protocol to us; from all others it is nonsense. */
  readonly proxies?: readonly string[];
}

export interface Listener {
  readonly port: number;
  /** Connections open now. */
  readonly sessions: () => number;
  /** Renewed certificates; sessions under way keep theirs. Throws, and keeps those it had, where TLS does not take them. */
  readonly useCertificate: (tls: TlsOptions) => void;
  /** Takes no new connection, lets messages that are being read or decided end, and closes the rest. */
  readonly stop: (graceMs: number) => Promise<void>;
}

// How often deadlines are looked at. They are minutes; one timer for all costs less than one for each.
const sweepMs = 250;
// A proxy says whom it speaks for at once.
const proxyHeaderMs = 5_000;
// Connections that are greeted in one turn of the event loop: with what their clients then say at once, some milliseconds.
const greetingsATurn = 8;
// Recipients that clients ask for who have asked for some that are not here, in one turn of the event loop: half a millisecond or so.
const guessesATurn = 2;
// From the last word to all until those are cut off who do not close.
const farewellMs = 500;

/** Listens for mail from the Internet (RFC 5321). Resolves when connections are accepted; rejects if the port is taken. */
export async function startListener(
  parts: InboundParts,
  { host, port, tls, proxies = [] }: ListenerOptions,
): Promise<Listener> {
  const desk = new Desk(parts, tls === undefined ? undefined : certificatesOf(tls), proxies);
  // What a client sends before it closes its side is answered (a test by hand ends so), hence half open.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => desk.take(socket));
  server.listen({ port, host });
  await once(server, 'listening');
  server.on('error', (error) => parts.log.error({ err: error }, 'the MX listener failed'));
  return {
    port: (server.address() as AddressInfo).port,
    sessions: () => desk.open,
    useCertificate: (next) => desk.useCertificates(certificatesOf(next)),
    stop: (graceMs) => desk.stop(server, graceMs),
  };
}

/** All connections of a listener: counts them, serves them, ends them. */
class Desk {
  readonly #parts: InboundParts;
  readonly #counts: ConnectionCounts;
  readonly #memory: MemoryBudget;
  readonly #retransmissions: Retransmissions;
  readonly #tarpit: Tarpit;
  readonly #manners: Manners;
  readonly #greetings = new Turns(greetingsATurn);
  readonly #guesses = new Turns(guessesATurn);
  readonly #isExempt: (ip: string) => boolean;
  readonly #isProxy: (ip: string) => boolean;
  readonly #connections = new Map<Connection, Promise<void>>();
  /** Those of proxies that have not said for whom. */
  readonly #unnamed = new Set<Socket>();
  readonly #sweeper: NodeJS.Timeout;
  #certificates: Certificates | undefined;

  constructor(parts: InboundParts, certificates: Certificates | undefined, proxies: readonly string[]) {
    this.#parts = parts;
    this.#certificates = certificates;
    this.#counts = new ConnectionCounts(parts.limits);
    this.#memory = new MemoryBudget(parts.limits.messagesInMemoryBytes);
    this.#retransmissions = new Retransmissions(parts.queue, parts.now);
    this.#tarpit = new Tarpit(parts.limits.tarpitPlaces);
    this.#manners = new Manners(parts.now);
    this.#isExempt = inNetworks(parts.limits.exemptNetworks);
    this.#isProxy = inNetworks(proxies);
    // It has nothing to do without connections, and they keep the process alive: not even where listening failed may it do so.
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  get open(): number {
    return this.#connections.size;
  }

  useCertificates(certificates: Certificates): void {
    this.#certificates = certificates;
  }

  take(socket: Socket): void {
    socket.on('error', (error) => this.#parts.log.debug({ err: error }, 'a client connection broke'));
    const ip = socket.remoteAddress ?? '';
    if (this.#isProxy(ip)) this.#readProxy(socket, ip);
    else this.#serve(socket, ip, Buffer.alloc(0));
  }

  async stop(server: Server, graceMs: number): Promise<void> {
    const over = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#unnamed) socket.destroy();
    for (const connection of this.#connections.keys()) connection.stopSoon();
    await within(Promise.all(this.#connections.values()), graceMs);
    for (const connection of this.#connections.keys()) connection.finish(replies.stopping);
    await within(over, farewellMs);
    for (const connection of this.#connections.keys()) connection.destroy();
    await over;
    clearInterval(this.#sweeper);
    await Promise.all(this.#connections.values());
  }

  #sweep(): void {
    const now = performance.now();
    for (const connection of this.#connections.keys()) connection.sweep(now);
  }

  #serve(socket: Socket, address: string, before: Buffer): void {
    const client = clientNetwork(address);
    const { limits, config, log, now } = this.#parts;
    const admitted = this.#counts.admit(client, now());
    if (admitted === 'flood') {
      socket.resetAndDestroy();
      return;
    }
    if (admitted !== 'admitted') {
      const session = new Session(this.#parts, client, this.#sharedWith(client, false));
      turnAway(socket, session.refusal(admitted === 'busy' ? replies.busy : replies.tooManyConnections));
      return;
    }
    const isExempt = this.#isExempt(client.ip);
    const session = new Session(this.#parts, client, this.#sharedWith(client, isExempt));
    const connection = new Connection(socket, before, {
      session,
      hostname: config.hostname,
      limits,
      log,
      certificates: () => this.#certificates,
      distrusted: !isExempt && this.#manners.distrusts(client.subnet),
      tarpit: this.#tarpit,
      offended: () => this.#manners.note(client.subnet),
      ticks: () => performance.now(),
    });
    socket.once('close', () => {
      this.#counts.release(client);
      this.#connections.delete(connection);
    });
    this.#connections.set(connection, connection.serve());
  }

  /** Reads whom a proxy speaks for; whatever else it says at first ends the connection. */
  #readProxy(socket: Socket, proxy: string): void {
    let octets: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), proxyHeaderMs);
    const read = (piece: Buffer): void => {
      octets = Buffer.concat([octets, piece]);
      const header = readProxyHeader(octets);
      if (header.kind === 'more') return;
      socket.off('data', read);
      clearTimeout(timer);
      this.#unnamed.delete(socket);
      if (header.kind === 'header') {
        this.#serve(socket, header.ip ?? proxy, octets.subarray(header.octets));
        return;
      }
      this.#parts.log.warn({ proxy }, 'a proxy did not say whom it speaks for (PROXY protocol); closed');
      socket.destroy();
    };
    this.#unnamed.add(socket);
    socket.on('data', read);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#unnamed.delete(socket);
    });
    socket.once('end', () => {
      if (this.#unnamed.has(socket)) socket.destroy();
    });
  }

  #sharedWith({ subnet }: ClientNetwork, isExempt: boolean): SharedState {
    const { messagesInMemoryPerSubnetBytes: most } = this.#parts.limits;
    const memory = isExempt ? this.#memory : this.#memory.shareOf(subnet, most);
    return {
      memory,
      retransmissions: this.#retransmissions,
      tarpit: this.#tarpit,
      greetings: this.#greetings,
      guesses: this.#guesses,
    };
  }
}

/** Until this has ended, but not longer. */
async function within(work: Promise<unknown>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
