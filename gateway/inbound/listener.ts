import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import type { Evidence } from '../../policy/evidence.ts';
import { type ClientNetwork, clientNetwork, inNetworks } from '../evidence/client-network.ts';
import { ConnectionCounts } from './connection-counts.ts';
import { MemoryBudget } from './message-reader.ts';
import { type MxConnection, MxServer, type SmtpSession } from './mx-server.ts';
import type { InboundParts } from './parts.ts';
import { closed, refused, replies, type StepResult } from './replies.ts';
import { Retransmissions } from './retransmission.ts';
import { Session, type SharedState, type WireFacts } from './session.ts';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Certificate and key for STARTTLS. Without, STARTTLS is not offered. */
  readonly tls?: SecureContextOptions;
  /** Addresses and networks that speak the PROXY protocol to us; from all others it is nonsense. */
  readonly proxies?: readonly string[];
}

export interface Listener {
  readonly port: number;
  /** Sessions open now. */
  readonly sessions: () => number;
  /** A renewed certificate; sessions under way keep theirs. */
  readonly useCertificate: (tls: SecureContextOptions) => void;
  /** Takes no new connection, lets messages that are being decided end, and closes the rest. */
  readonly stop: (graceMs: number) => Promise<void>;
}

interface Conversation {
  readonly session: Session;
  readonly end: () => void;
}

type Done = (error?: Error | null) => void;

/** Listens for mail from the Internet (RFC 5321). Resolves when connections are accepted; rejects if the port is taken. */
export async function startListener(
  parts: InboundParts,
  { host, port, tls, proxies = [] }: ListenerOptions,
): Promise<Listener> {
  const desk = new Desk(parts);
  const server = serverFor(parts, desk, tls, proxies);
  desk.server = server;
  server.on('error', (error) => parts.log.debug({ err: error }, 'a client connection broke'));
  const listening = server.listen(port, host);
  await once(listening, 'listening');
  return {
    port: (listening.address() as AddressInfo).port,
    sessions: () => desk.open,
    useCertificate: (next) => server.updateSecureContext(next),
    stop: (graceMs) => desk.stop(graceMs),
  };
}

function serverFor(
  parts: InboundParts,
  desk: Desk,
  tls: SecureContextOptions | undefined,
  proxies: readonly string[],
): MxServer {
  const { config, limits } = parts;
  const startTls = tls === undefined ? ['STARTTLS'] : [];
  return new MxServer({
    ...tls,
    // TLS 1.0 and 1.1 are gone (RFC 8996).
    minVersion: 'TLSv1.2',
    name: config.hostname,
    banner: 'ePOST',
    heloResponse: '%s',
    // What smtp-server has beyond SMTP: nothing a stranger needs.
    disabledCommands: ['AUTH', 'XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL', 'HELP', ...startTls],
    authOptional: true,
    hideENHANCEDSTATUSCODES: false,
    // Not announced until it is kept to the end: DSN (RFC 3461), REQUIRETLS (RFC 8689).
    hideDSN: true,
    hideREQUIRETLS: true,
    size: limits.messageBytes,
    maxRecipients: limits.recipients,
    maxCommandLength: limits.commandLineBytes,
    socketTimeout: limits.commandTimeoutMs,
    disableReverseLookup: true,
    logger: false,
    isProxy: inNetworks(proxies),
    badCommands: limits.badCommands,
    limitsKeyword: `LIMITS RCPTMAX=${limits.recipients} MAILMAX=${limits.messagesPerConnection}`,
    onConnect: (session, done) => desk.connect(session, done),
    onMailFrom: ({ address, args }, session, done) =>
      desk.step(session, done, (own) => own.mail(address, args || {}, wireFacts(session))),
    onRcptTo: ({ address, args }, session, done) => desk.step(session, done, (own) => own.rcpt(address, args || {})),
    onData: (stream, session, done) => desk.data(session, stream, done),
    onClose: (session) => desk.close(session),
  });
}

function wireFacts(session: SmtpSession): WireFacts {
  const { tlsOptions, envelope } = session;
  const tls: Evidence['tls'] = tlsOptions
    ? { used: true, version: tlsOptions.version, cipher: tlsOptions.standardName }
    : { used: false, version: '', cipher: '' };
  // RFC 6531 §4.3: UTF8SMTP instead of ESMTP.
  const protocol = session.transmissionType.replace('ESMTP', envelope.smtpUtf8 === true ? 'UTF8SMTP' : 'ESMTP');
  return { helo: session.hostNameAppearsAs || '', tls, protocol };
}

/** Joins smtp-server's callbacks to our sessions, one for each connection, and ends them. */
class Desk {
  server: MxServer | undefined;
  readonly #parts: InboundParts;
  readonly #counts: ConnectionCounts;
  readonly #memory: MemoryBudget;
  readonly #retransmissions: Retransmissions;
  readonly #isExempt: (ip: string) => boolean;
  readonly #conversations = new Map<SmtpSession, Conversation>();
  readonly #tasks = new Set<Promise<void>>();

  constructor(parts: InboundParts) {
    this.#parts = parts;
    this.#counts = new ConnectionCounts(parts.limits);
    this.#memory = new MemoryBudget(parts.limits.messagesInMemoryBytes);
    this.#retransmissions = new Retransmissions(parts.queue, parts.now);
    this.#isExempt = inNetworks(parts.limits.exemptNetworks);
  }

  get open(): number {
    return this.#conversations.size;
  }

  connect(smtp: SmtpSession, done: Done): void {
    const client = clientNetwork(smtp.remoteAddress);
    const admitted = this.#counts.admit(client, this.#parts.now());
    if (admitted !== 'admitted') {
      done(asError(closed(admitted === 'busy' ? replies.busy : replies.tooManyConnections)));
      return;
    }
    const session = new Session(this.#parts, client, this.#sharedWith(client));
    const tooLong = setTimeout(() => this.#connection(smtp)?.tell(replies.sessionOver), this.#parts.limits.sessionMs);
    const end = (): void => {
      clearTimeout(tooLong);
      session.end();
      this.#counts.release(client);
    };
    this.#conversations.set(smtp, { session, end });
    this.step(smtp, done, (own) => own.connect());
  }

  #sharedWith({ ip, subnet }: ClientNetwork): SharedState {
    const { messagesInMemoryPerSubnetBytes: most } = this.#parts.limits;
    const memory = this.#isExempt(ip) ? this.#memory : this.#memory.shareOf(subnet, most);
    return { memory, retransmissions: this.#retransmissions };
  }

  step(smtp: SmtpSession, done: Done, take: (session: Session) => Promise<StepResult>): void {
    const conversation = this.#conversations.get(smtp);
    this.#own(async () => {
      try {
        done(asError(conversation === undefined ? closed(replies.busy) : await take(conversation.session)));
      } catch (error) {
        this.#parts.log.error({ err: error }, 'a step of a session failed');
        done(asError(refused(replies.internal)));
      }
    });
  }

  data(smtp: SmtpSession, stream: Readable, done: (error?: Error | null, message?: string) => void): void {
    const { limits, log } = this.#parts;
    const connection = this.#connection(smtp);
    const conversation = this.#conversations.get(smtp);
    if (conversation === undefined || connection === undefined) {
      stream.resume();
      done(asError(refused(replies.internal)));
      return;
    }
    connection.allowSilence(limits.dataTimeoutMs);
    this.#own(async () => {
      const { reply, acknowledged } = await conversation.session.data(stream);
      connection.allowSilence(limits.commandTimeoutMs);
      if (reply.code === 250) done(null, `${reply.enhanced} ${reply.text}`);
      else done(asError(refused(reply)));
      try {
        if (acknowledged !== undefined && (await connection.flushed())) await acknowledged();
      } catch (error) {
        log.warn({ err: error }, 'that a reply was written could not be remembered');
      }
    });
  }

  close(smtp: SmtpSession): void {
    this.#conversations.get(smtp)?.end();
    this.#conversations.delete(smtp);
  }

  async stop(graceMs: number): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    const over = new Promise<void>((resolve) => server.server.close(() => resolve()));
    const grace = Promise.withResolvers<void>();
    const timer = setTimeout(() => grace.resolve(), graceMs);
    await Promise.race([Promise.all(this.#tasks), grace.promise]);
    clearTimeout(timer);
    for (const connection of server.connections) {
      connection.send(421, '4.3.2 shutting down, please try again later');
      connection.close();
    }
    await Promise.race([over, new Promise<void>((resolve) => setTimeout(resolve, 500).unref())]);
    for (const smtp of this.#conversations.keys()) this.#connection(smtp)?._socket.destroy();
    await over;
  }

  // Every step has an owner, which `stop` waits for.
  #own(work: () => Promise<void>): void {
    const task = work().finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  #connection(smtp: SmtpSession): MxConnection | undefined {
    return this.server?.connectionOf(smtp);
  }
}

/** A step's result as smtp-server wants it. */
function asError(step: StepResult): (Error & { responseCode?: number }) | null {
  if (step.kind === 'ok') return null;
  const { code, enhanced, text } = step.reply;
  return Object.assign(new Error(`${enhanced} ${text}`), { responseCode: code });
}
