import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { joinedInSlices } from '../../mail/slices.ts';
import type { Accounts, RecipientNotify } from '../account.ts';
import type { Clock, Log } from '../log.ts';
import { LoginGate, sleep } from '../login-gate.ts';
import { scramMechanisms } from '../scram-exchange.ts';
import type { TlsSource } from '../tls-source.ts';
import { Conversation, type ConversationParts, type Trace, type Transaction } from './conversation.ts';
import { type SubmissionLimits, submissionLimits } from './limits.ts';
import { type Reply, reply, said } from './reply.ts';
import type { ScramDoor } from './scram-command.ts';
import { type SmtpSession, SubmissionServer } from './smtp-server.ts';

export interface SubmissionOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls: TlsSource;
  /** TLS from the first octet (RFC 8314 §3.3) instead of STARTTLS. */
  readonly implicitTls?: boolean;
  readonly accounts: Accounts;
  /** Given when wrong passwords are to be counted together with those of another listener. */
  readonly gate?: LoginGate;
  readonly hostname: string;
  readonly limits?: SubmissionLimits;
  readonly now: Clock;
  readonly log: Log;
  readonly trace: Trace;
  readonly newTraceId: () => string;
}

export interface SubmissionListener {
  readonly port: number;
  /** Lets messages under way be answered, then says 421; who is not gone after `graceMs` is cut off. */
  stop(graceMs: number): Promise<void>;
}

/** Listens for the users' own programs (RFC 6409). Rejects with the error of the socket when the address cannot be listened on. */
export async function startSubmission(options: SubmissionOptions): Promise<SubmissionListener> {
  const desk = new Desk(options);
  return await desk.start();
}

type Done = (error?: Error | null) => void;

/** Joins smtp-server's callbacks to our conversations, and ends both. */
class Desk {
  readonly #options: SubmissionOptions;
  readonly #limits: SubmissionLimits;
  readonly #parts: ConversationParts;
  readonly #server: SubmissionServer;
  readonly #conversations = new Map<
    SmtpSession,
    { conversation: Conversation; address: string; timer: NodeJS.Timeout }
  >();
  readonly #byAddress = new Map<string, number>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #stopWatching: () => void;
  #bytesInFlight = 0;

  constructor(options: SubmissionOptions) {
    this.#options = options;
    this.#limits = options.limits ?? submissionLimits;
    const { accounts, now, log } = options;
    this.#parts = {
      ...options,
      limits: this.#limits,
      gate: options.gate ?? new LoginGate({ accounts, now, sleep, log }),
    };
    this.#server = this.#makeServer();
    this.#server.on('error', (fault) => log.debug({ fault }, 'a submission connection broke'));
    this.#stopWatching = options.tls.onChange(() => this.#server.updateSecureContext({ ...options.tls.current() }));
  }

  async start(): Promise<SubmissionListener> {
    const { host, port } = this.#options;
    const { server } = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      this.#server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
    return { port: (server.address() as AddressInfo).port, stop: async (graceMs) => await this.#stop(graceMs) };
  }

  #makeServer(): SubmissionServer {
    const { tls, hostname, implicitTls } = this.#options;
    const limits = this.#limits;
    const options = {
      ...tls.current(),
      // RFC 8996.
      minVersion: 'TLSv1.2' as const,
      secure: implicitTls === true,
      name: hostname,
      banner: 'ePOST',
      heloResponse: '%s',
      authMethods: ['PLAIN', 'LOGIN'],
      disabledCommands: ['XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL', 'HELP'],
      hideENHANCEDSTATUSCODES: false,
      hideDSN: false,
      hideREQUIRETLS: false,
      size: limits.maxMessageBytes,
      maxRecipients: limits.maxRecipients,
      maxCommandLength: limits.maxCommandBytes,
      maxClients: limits.maxConnections,
      maxAllowedUnauthenticatedCommands: 20,
      socketTimeout: limits.silenceMs,
      disableReverseLookup: true,
      logger: false,
      onConnect: (session: SmtpSession, done: Done) => this.#connect(session, done),
      onAuth: this.#auth,
      onMailFrom: this.#mailFrom,
      onRcptTo: this.#rcptTo,
      onData: this.#data,
      onClose: (session: SmtpSession) => this.#close(session),
    } satisfies ConstructorParameters<typeof SubmissionServer>[0];
    return new SubmissionServer(options, {
      maxBadCommands: limits.maxBadCommands,
      scramMechanisms: (exporter) => scramMechanisms(this.#parts.gate.scram, exporter),
      scramDoor: (session) => this.#scramDoor(session),
    });
  }

  #connect(session: SmtpSession, done: Done): void {
    const address = session.remoteAddress;
    const count = this.#byAddress.get(address) ?? 0;
    if (count >= this.#limits.maxConnectionsPerAddress) {
      done(asError(reply(421, '4.7.0', 'too many connections from here')));
      return;
    }
    this.#byAddress.set(address, count + 1);
    const conversation = new Conversation(this.#parts, address);
    const timer = setTimeout(() => {
      if (!conversation.loggedIn) this.#server.connectionOf(session)?.send(421, '4.7.0 log in faster');
    }, this.#limits.unauthenticatedMs);
    this.#conversations.set(session, { conversation, address, timer });
    done();
  }

  #close(session: SmtpSession): void {
    const held = this.#conversations.get(session);
    if (held === undefined) return;
    this.#conversations.delete(session);
    clearTimeout(held.timer);
    held.conversation.end();
    const left = (this.#byAddress.get(held.address) ?? 1) - 1;
    if (left === 0) this.#byAddress.delete(held.address);
    else this.#byAddress.set(held.address, left);
  }

  readonly #auth: ServerHandlers['onAuth'] = (given, session, done) => {
    const { username = '', password, authzid = '' } = given;
    this.#step(
      session,
      (refusal) => (refusal === undefined ? done(null, { user: username }) : done(asError(refusal))),
      (own) => own.logIn({ username, password: password ?? '', authorization: authzid }),
    );
  };

  #scramDoor(session: SmtpSession): ScramDoor | undefined {
    const conversation = this.#conversations.get(session)?.conversation;
    if (conversation === undefined) return undefined;
    return {
      begin: (channel) => conversation.scram(channel),
      prove: (exchange, final) => conversation.proved(exchange, final),
    };
  }

  readonly #mailFrom: ServerHandlers['onMailFrom'] = ({ address, args }, session, done) => {
    this.#step(
      session,
      (refusal) => done(asError(refusal)),
      async (own) => own.mail(address, args || {}),
    );
  };

  readonly #rcptTo: ServerHandlers['onRcptTo'] = ({ address, args }, session, done) => {
    this.#step(
      session,
      (refusal) => done(asError(refusal)),
      (own) => own.rcpt(address, args || {}),
    );
  };

  readonly #data: ServerHandlers['onData'] = (stream, session, done) => {
    const transaction = transactionOf(session);
    const answer = (given: Reply | undefined): void => {
      if (given?.code === 250) done(null, said(given));
      else done(asError(given ?? internal));
    };
    this.#step(session, answer, async (own) => {
      let reserved = 0;
      try {
        const read = await this.#read(stream, (bytes) => {
          reserved += bytes;
        });
        return Buffer.isBuffer(read) ? await own.data(read, transaction) : read;
      } finally {
        this.#bytesInFlight -= reserved;
      }
    });
  };

  /** Reads the whole message; past a limit it is read on and dropped, since the answer may only follow its end. */
  async #read(stream: Readable, reserve: (bytes: number) => void): Promise<Buffer | Reply> {
    const chunks: Buffer[] = [];
    let size = 0;
    let refusal: Reply | undefined;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (refusal !== undefined) continue;
      if (size > this.#limits.maxMessageBytes) {
        refusal = reply(552, '5.3.4', `the message is larger than ${this.#limits.maxMessageBytes} octets`);
      } else if (this.#bytesInFlight + chunk.length > this.#limits.maxMessageBytesInFlight) {
        refusal = reply(452, '4.3.1', 'too many messages at once; try again');
      } else {
        this.#bytesInFlight += chunk.length;
        reserve(chunk.length);
        chunks.push(chunk);
        continue;
      }
      chunks.length = 0;
    }
    return refusal ?? (await joinedInSlices(chunks));
  }

  /** Runs one step of a conversation; whatever it throws is our fault, not the client's. */
  #step(
    session: SmtpSession,
    answer: (refusal: Reply | undefined) => void,
    take: (conversation: Conversation) => Promise<Reply | undefined>,
  ): void {
    const held = this.#conversations.get(session);
    const task = (held === undefined ? Promise.resolve(internal) : take(held.conversation))
      .catch((fault: unknown) => {
        this.#options.log.error({ fault }, 'a step of a submission failed');
        return internal;
      })
      .then(answer)
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  async #stop(graceMs: number): Promise<void> {
    this.#stopWatching();
    const closed = new Promise<void>((resolve) => this.#server.server.close(() => resolve()));
    const grace = Promise.withResolvers<void>();
    const timer = setTimeout(() => grace.resolve(), graceMs);
    await Promise.race([Promise.all(this.#tasks), grace.promise]);
    for (const session of this.#conversations.keys()) {
      this.#server.connectionOf(session)?.send(421, '4.3.2 the server is stopping');
    }
    await Promise.race([closed, grace.promise]);
    clearTimeout(timer);
    for (const session of this.#conversations.keys()) this.#server.connectionOf(session)?.destroy();
    await closed;
  }
}

type ServerHandlers = Required<
  Pick<NonNullable<ConstructorParameters<typeof SubmissionServer>[0]>, 'onAuth' | 'onMailFrom' | 'onRcptTo' | 'onData'>
>;

const internal = reply(451, '4.3.0', 'something is wrong here, not with you; try again');

function asError(refusal: Reply | undefined): Error | null {
  return refusal === undefined ? null : Object.assign(new Error(said(refusal)), { responseCode: refusal.code });
}

function transactionOf({ envelope }: SmtpSession): Transaction {
  const dsn = new Map<string, RecipientNotify>();
  for (const { address, dsn: asked } of envelope.rcptTo) {
    if (asked?.notify === undefined && asked?.orcpt === undefined) continue;
    dsn.set(address, { notify: asked.notify ?? [], orcpt: asked.orcpt });
  }
  return {
    from: envelope.mailFrom === false ? '' : envelope.mailFrom.address,
    to: envelope.rcptTo.map(({ address }) => address),
    utf8: envelope.smtpUtf8 === true,
    ret: envelope.dsn?.ret ?? null,
    envid: envelope.dsn?.envid ?? null,
    requireTls: envelope.requireTLS === true,
    dsn,
  };
}
