import { type Address, parseDomain } from '../../policy/address.ts';
import type { Evidence, KnownEvidence } from '../../policy/evidence.ts';
import type { Reply } from '../../policy/policy.ts';
import type { Turns } from '../../queue/turns.ts';
import type { Resolver } from '../dns/answer.ts';
import { messageLookups } from '../dns/message-lookups.ts';
import type { ClientNetwork } from '../evidence/client-network.ts';
import { envelopeFacts, needsClientLists, needsReverseName, type SessionEvidence } from '../evidence/gather.ts';
import { type ReverseName, reverseName } from '../evidence/reverse-name.ts';
import { accept, type DataAnswer } from './accept.ts';
import { policyStep } from './deciding.ts';
import { type Budget, IncomingMessage, type Received } from './message-reader.ts';
import { verdictsMayDiffer } from './one-verdict.ts';
import type { InboundParts } from './parts.ts';
import { type Found, recipientOf } from './recipient.ts';
import { closed, ok, refused, replies, type StepResult, withTrace } from './replies.ts';
import type { Retransmissions } from './retransmission.ts';
import type { Mail, Rcpt } from './smtp/command.ts';
import type { Tarpit } from './smtp/tarpit.ts';
import type { Wish, Wishes } from './wishes.ts';

/** What the wire knows of the connection at a command. */
export interface WireFacts {
  readonly helo: string;
  readonly tls: Evidence['tls'];
  /** ESMTP, ESMTPS … for Received. */
  readonly protocol: string;
}

/** What the sessions of a listener share. */
export interface SharedState {
  /** What this client may have of the memory for messages. */
  readonly memory: Budget;
  readonly retransmissions: Retransmissions;
  readonly tarpit: Tarpit;
  /** Of new connections: a hundred that come at once are greeted one after the other, so that those who are here already are served in between. */
  readonly greetings: Turns;
  /** Of those who guess recipients: a hundred that guess together must leave the event loop to others in between. */
  readonly guesses: Turns;
}

interface Transaction {
  readonly trace: string;
  readonly from: string;
  readonly recipients: Address[];
  /** Those of them that a return path of ours named. */
  readonly returned: Set<Address>;
  /** The one list among them that takes posts of its members only. */
  forMembers: Address | undefined;
  readonly wire: WireFacts;
  readonly mail: Mail;
  readonly wishes: Map<Address, Wish>;
  /** RCPT commands so far, refused ones too. */
  rcptCommands: number;
}

// The same for all: an error made for each connection would cost as much as a command.
const gone = new Error('the client is gone');
// What a notification carries of a path (node/mail/letter.ts); RFC 5321 §4.5.3.1.3 gives it 256 octets. A domain written in Unicode grows when it becomes
// an A-label, past what was checked as it came in.
const maxSenderChars = 320;

/**
 * One client's conversation, apart from the wire: what each command comes to. Steps run one at a time, in the order of
 * the commands; `end` ends everything that is still waiting.
 */
export class Session {
  readonly #parts: InboundParts;
  readonly #client: ClientNetwork;
  readonly #shared: SharedState;
  readonly #ended = new AbortController();
  #transaction: Transaction | undefined;
  #reverse: Promise<ReverseName> | undefined;
  #lists: Promise<Evidence['dnslist']> | undefined;
  #transactions = 0;
  #unknownRecipients = 0;
  /** Of what is refused outside of a transaction; made when first needed. */
  #ownTrace: string | undefined;

  constructor(parts: InboundParts, client: ClientNetwork, shared: SharedState) {
    this.#parts = parts;
    this.#client = client;
    this.#shared = shared;
  }

  async connect(): Promise<StepResult> {
    const parts = this.#parts;
    await this.#shared.greetings.mine();
    if (parts.storage.shut() !== undefined) return closed(replies.storageShut);
    if (parts.policy().rulesAt.connect.length === 0) return ok;
    const known = {
      client: await this.#clientFacts('connect'),
      ring: this.#ring(),
      ...(await this.#clientLists('connect')),
    };
    const step = policyStep(parts, 'connect', known, () => this.#connectionTrace());
    if (step.kind !== 'refused') return step;
    // RFC 5321 §3.1 and §4.3.2: in place of the greeting stand 554 or 421 only.
    return closed({ ...step.reply, code: step.reply.code >= 500 ? 554 : 421 });
  }

  async mail(mail: Mail, wire: WireFacts): Promise<StepResult> {
    const parts = this.#parts;
    const { path } = mail;
    this.#transaction = undefined;
    // RFC 9422 §4.1: MAILMAX counts all MAIL commands, so that beginning and never ending costs a stranger connections.
    if (this.#transactions >= parts.limits.messagesPerConnection) return closed(replies.tooManyMessages);
    this.#transactions += 1;
    const trace = parts.newTraceId();
    const sender = canonicalSender(path);
    if (sender === undefined) {
      this.#traceConnect(trace);
      parts.trace(trace, { what: 'mail', from: path.slice(0, maxSenderChars), helo: wire.helo, reply: '501 5.1.7' });
      return refused(withTrace(replies.badSender, trace));
    }
    if (parts.storage.shut() !== undefined) return refused(replies.noStorage);
    // Not waited for here: when the message is there, the answer is, too.
    this.#startReverseLookup();
    this.#traceConnect(trace);
    parts.trace(trace, { what: 'mail', from: sender, helo: wire.helo, tls: wire.tls.used });
    const transaction: Transaction = {
      trace,
      from: sender,
      recipients: [],
      returned: new Set(),
      forMembers: undefined,
      wire,
      mail,
      wishes: new Map(),
      rcptCommands: 0,
    };
    const step = policyStep(parts, 'mail', await this.#known('mail', transaction, []), () => trace);
    if (step.kind === 'ok') this.#transaction = transaction;
    return step;
  }

  async rcpt({ path, notify, orcpt }: Rcpt): Promise<StepResult> {
    const parts = this.#parts;
    const transaction = this.#transaction;
    if (transaction === undefined) return refused(replies.internal);
    // RFC 9422 §4.2: RCPTMAX counts all RCPT commands. Beyond it nothing is looked up or written down.
    if (transaction.rcptCommands >= parts.limits.recipients)
      return refused(withTrace(replies.tooManyRecipients, transaction.trace));
    transaction.rcptCommands += 1;
    if (this.#unknownRecipients > 0) await this.#shared.guesses.mine();
    const { domains, aliases } = parts.config;
    const answer = await recipientOf(path, {
      domains,
      aliases,
      lookup: (address) => this.#lookup(address),
      returned: (address) => parts.returnPaths.open(address, parts.now()),
      from: transaction.from,
    });
    if (answer.kind === 'recipient') {
      const step = await this.#addRecipient(transaction, answer.address, answer.forMembers === true);
      if (step.kind !== 'ok') return step;
      if (answer.forMembers === true) transaction.forMembers = answer.address;
      if (answer.returned === true) transaction.returned.add(answer.address);
      // Where two addresses mean one user, the first wish counts.
      if ((notify.length > 0 || orcpt !== undefined) && !transaction.wishes.has(answer.address))
        transaction.wishes.set(answer.address, { notify: [...notify], ...(orcpt === undefined ? {} : { orcpt }) });
      return step;
    }
    const { reply } = answer;
    parts.trace(transaction.trace, { what: 'rcpt', to: path.slice(0, 320), reply: `${reply.code} ${reply.enhanced}` });
    const told = refused(withTrace(reply, transaction.trace));
    // Not to know now (451) is our trouble; everything else is guessing, whether for users or for an open relay.
    return reply.code >= 500 ? await this.#unknownRecipient(told) : told;
  }

  /** The same refusal under an id, which finds it again: that of the transaction, or one for all else of this connection. */
  refusal(reply: Reply): Reply {
    const parts = this.#parts;
    const text = `${reply.code} ${reply.enhanced}`;
    if (parts.storage.shut() !== undefined) {
      // A trace could not be written.
      const trace = this.#transaction?.trace ?? parts.newTraceId();
      parts.log.info({ trace, ip: this.#client.ip, reply: text }, 'a client was refused while the disk is not well');
      return withTrace(reply, trace);
    }
    const trace = this.#transaction?.trace ?? this.#connectionTrace();
    parts.trace(trace, { what: 'refused', reply: text, reason: reply.text });
    return withTrace(reply, trace);
  }

  /** Where the octets of the message go. */
  incoming(): IncomingMessage {
    return new IncomingMessage(this.#parts.limits.messageBytes, this.#shared.memory);
  }

  /** What becomes of a message that was read to its end. Never throws. */
  async data(received: Received): Promise<DataAnswer> {
    const { memory, retransmissions } = this.#shared;
    const transaction = this.#transaction;
    this.#transaction = undefined;
    if (transaction === undefined) {
      if (received.kind === 'complete') memory.give(received.bytes.length);
      return { reply: replies.internal };
    }
    const refuse = (reply: keyof typeof replies): DataAnswer => ({
      reply: withTrace(replies[reply], transaction.trace),
    });
    switch (received.kind) {
      case 'too-large':
        return refuse('tooLarge');
      case 'no-memory':
        return refuse('noMemory');
      case 'aborted':
        return refuse('internal');
      default: {
        const { trace, from, recipients, returned, forMembers, wire } = transaction;
        const session = this.#known('data', transaction, recipients);
        const ended = this.#ended.signal;
        const dsn = wishesOf(transaction);
        const message = {
          ...received,
          trace,
          from,
          recipients,
          returned,
          forMembers,
          protocol: wire.protocol,
          dsn,
          session,
          ended,
        };
        const answer = accept(this.#parts, retransmissions, message);
        return await answer.finally(() => memory.give(received.bytes.length));
      }
    }
  }

  /** The connection is gone: nothing that waits for it goes on. */
  end(): void {
    this.#ended.abort(gone);
  }

  async #addRecipient(transaction: Transaction, address: Address, isForMembers: boolean): Promise<StepResult> {
    const parts = this.#parts;
    const recipients = [...new Set([...transaction.recipients, address])];
    const isForSome = isForMembers || transaction.forMembers !== undefined;
    if (recipients.length > 1 && (isForSome || verdictsMayDiffer(parts.policy()))) {
      parts.trace(transaction.trace, { what: 'rcpt', to: address, reply: '452 4.5.3' });
      return refused(withTrace(replies.oneRecipient, transaction.trace));
    }
    const step = policyStep(parts, 'rcpt', await this.#known('rcpt', transaction, recipients), () => transaction.trace);
    if (step.kind !== 'ok') return step;
    if (!transaction.recipients.includes(address)) transaction.recipients.push(address);
    parts.trace(transaction.trace, { what: 'rcpt', to: address, reply: '250 2.1.5' });
    return ok;
  }

  // Guessing addresses is what this makes expensive: first slow, then over.
  async #unknownRecipient(told: StepResult): Promise<StepResult> {
    const { unknownRecipientsSlow, unknownRecipientsClose, slowAnswerMs } = this.#parts.limits;
    this.#unknownRecipients += 1;
    if (this.#unknownRecipients >= unknownRecipientsClose) return closed(replies.tooManyUnknown);
    if (this.#unknownRecipients > unknownRecipientsSlow) {
      await this.#shared.tarpit.hold(slowAnswerMs, this.#ended.signal);
    }
    return told;
  }

  async #lookup(address: Address): Promise<Found> {
    const { promise: late, resolve } = Promise.withResolvers<Found>();
    const timer = setTimeout(
      () => resolve({ kind: 'unknown', reason: 'the ring did not answer in time' }),
      this.#parts.limits.recipientLookupMs,
    );
    return await Promise.race([this.#parts.lookup(address), late]).finally(() => clearTimeout(timer));
  }

  async #known(
    stage: 'mail' | 'rcpt' | 'data',
    { from, wire }: Transaction,
    recipients: readonly Address[],
  ): Promise<SessionEvidence & { ring: Evidence['ring'] }> {
    const client = { ...(await this.#clientFacts(stage)), helo: wire.helo };
    const lists = await this.#clientLists(stage);
    return { client, tls: wire.tls, envelope: envelopeFacts(from, recipients), ring: this.#ring(), ...lists };
  }

  // Reverse DNS takes time: it is waited for where it can matter, and once the message is there.
  async #clientFacts(stage: 'connect' | 'mail' | 'rcpt' | 'data'): Promise<Partial<Evidence['client']>> {
    const { ip, subnet, loopback } = this.#client;
    const wanted = stage === 'data' || needsReverseName(this.#parts.policy(), stage);
    return { ip, subnet, loopback, ...(wanted ? await this.#reverseName() : {}) };
  }

  /** What DNS lists say of the client, before the message only where a rule asks. At `data` they are asked together with those of domains. */
  async #clientLists(stage: 'connect' | 'mail' | 'rcpt' | 'data'): Promise<Pick<KnownEvidence, 'dnslist'>> {
    const { policy, lists } = this.#parts;
    if (stage === 'data' || !needsClientLists(policy(), stage)) return {};
    this.#lists ??= lists.of(this.#client.ip, [], this.#lookups());
    return { dnslist: await this.#lists };
  }

  #startReverseLookup(): void {
    this.#reverse ??= reverseName(this.#client.ip, this.#lookups());
  }

  #lookups(): Resolver {
    const { resolver, limits, now } = this.#parts;
    const budget = { maxLookups: limits.dnsLookups, deadline: now() + limits.evidenceMs, now };
    return messageLookups(resolver, budget).lookups;
  }

  async #reverseName(): Promise<Partial<ReverseName>> {
    this.#startReverseLookup();
    return (await this.#reverse) ?? {};
  }

  #ring(): Evidence['ring'] {
    const { ring, domains } = this.#parts.config;
    return { name: ring, domains };
  }

  #connectionTrace(): string {
    if (this.#ownTrace === undefined) {
      this.#ownTrace = this.#parts.newTraceId();
      this.#traceConnect(this.#ownTrace);
    }
    return this.#ownTrace;
  }

  #traceConnect(trace: string): void {
    const { ip, loopback } = this.#client;
    this.#parts.trace(trace, { what: 'connect', ip, loopback });
  }
}

/** Undefined where nothing was asked for. */
function wishesOf({ mail, wishes }: Transaction): Wishes | undefined {
  const { ret, envid, requireTls } = mail;
  if (ret === undefined && envid === undefined && wishes.size === 0 && !requireTls) return undefined;
  // RFC 8689 §5: of a message that requires TLS only the header is returned.
  const returned = requireTls ? 'HDRS' : ret;
  return {
    ...(returned === undefined ? {} : { ret: returned }),
    ...(envid === undefined ? {} : { envid }),
    ...(requireTls ? { requireTls } : {}),
    recipients: Object.fromEntries(wishes),
  };
}

/** A reverse-path as we keep it: its domain canonical, its local part as given; undefined where it is none. */
function canonicalSender(from: string): string | undefined {
  if (from === '') return '';
  const at = from.lastIndexOf('@');
  const local = from.slice(0, at);
  const domainText = from.slice(at + 1);
  // An address literal is a place that mail can come from (RFC 5321 §4.1.3), though nobody can check it.
  const domain = /^\[[0-9a-f:.]+\]$/i.test(domainText.replace(/^\[IPv6:/i, '[')) ? domainText : parseDomain(domainText);
  if (at < 1 || domain === undefined || /[\p{C}\s<>]/u.test(local)) return undefined;
  const sender = `${local}@${domain}`;
  return sender.length > maxSenderChars ? undefined : sender;
}
