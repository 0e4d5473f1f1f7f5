import { type Address, domainOf, parseAddress, parseLiteralAddress, withoutTag } from '../../../policy/address.ts';
import { MailFault } from '../../mail/fault.ts';
import type { Account, Login, RecipientNotify, SubmittedEnvelope } from '../account.ts';
import type { Clock, Log } from '../log.ts';
import type { LoginGate } from '../login-gate.ts';
import type { Channel } from '../scram.ts';
import { ScramExchange } from '../scram-exchange.ts';
import { keepSentCopy } from '../sent-copy.ts';
import type { SubmissionLimits } from './limits.ts';
import { prepare, undecided } from './prepare.ts';
import { type Reply, reply } from './reply.ts';
import { headerEnd, headerProblem, wireProblem } from './wire-check.ts';

/** What may be noted about a message under its trace id; never content. */
export type Trace = (
  id: string,
  event: { readonly what: string; readonly [fact: string]: string | number | boolean | readonly string[] | undefined },
) => void;

export interface ConversationParts {
  readonly gate: LoginGate;
  readonly limits: SubmissionLimits;
  readonly hostname: string;
  readonly now: Clock;
  readonly log: Log;
  readonly trace: Trace;
  readonly newTraceId: () => string;
}

export interface Parameters {
  readonly [keyword: string]: string | true;
}

/** The facts of one transaction, as the wire gave them. */
export interface Transaction {
  readonly from: string;
  readonly to: readonly string[];
  readonly utf8: boolean;
  readonly ret: string | null;
  readonly envid: string | null;
  /** RFC 8689. */
  readonly requireTls: boolean;
  readonly dsn: ReadonlyMap<string, RecipientNotify>;
}

const mailKeywords = new Set(['SIZE', 'BODY', 'SMTPUTF8', 'RET', 'ENVID', 'AUTH', 'REQUIRETLS']);
const rcptKeywords = new Set(['NOTIFY', 'ORCPT']);
const receiving: ReadonlySet<string> = new Set(['user', 'list']);

/** One client's conversation (RFC 6409): every step gives the reply that refuses it, or undefined. Never throws for what a client does. */
export class Conversation {
  readonly #parts: ConversationParts;
  readonly #ip: string;
  readonly #over = new AbortController();
  #account: Account | undefined;
  #failures = 0;

  constructor(parts: ConversationParts, ip: string) {
    this.#parts = parts;
    this.#ip = ip;
  }

  get loggedIn(): boolean {
    return this.#account !== undefined;
  }

  end(): void {
    this.#over.abort();
  }

  async logIn(given: { username: string; password: string; authorization: string }): Promise<Reply | undefined> {
    const { gate } = this.#parts;
    // RFC 4616 §2: acting for another user is something nobody may do here.
    if (given.authorization !== '' && given.authorization !== given.username) {
      return reply(535, '5.7.8', 'nobody may act for another');
    }
    const answer = await gate.login(given.username, given.password, { ip: this.#ip, signal: this.#over.signal });
    return this.#admitted(answer);
  }

  /** SCRAM on this connection (RFC 5802); undefined where nobody could prove a password so. */
  scram(channel: Channel): ScramExchange | undefined {
    const { gate } = this.#parts;
    return gate.scram === undefined ? undefined : new ScramExchange(gate, gate.scram, channel);
  }

  /** The last step of a SCRAM exchange: who it logs in, or the reply that refuses. */
  async proved(
    exchange: ScramExchange,
    final: string,
  ): Promise<{ readonly kind: 'account'; readonly user: string; readonly serverFinal: string } | Reply> {
    const step = await exchange.final(final, { ip: this.#ip, signal: this.#over.signal });
    if (step.kind !== 'decided') return reply(501, '5.5.2', step.kind === 'malformed' ? step.why : 'not decided');
    const refusal = this.#admitted(step.login);
    if (refusal !== undefined) return refusal;
    return { kind: 'account', user: this.#account?.address ?? '', serverFinal: step.serverFinal };
  }

  #admitted(answer: Login): Reply | undefined {
    const { limits, log } = this.#parts;
    switch (answer.kind) {
      case 'account':
        this.#account = answer.account;
        log.info({ ip: this.#ip, user: answer.account.address }, 'logged in to submit');
        return undefined;
      case 'refused':
        this.#failures += 1;
        if (this.#failures >= limits.maxLogins) return reply(421, '4.7.0', 'too many wrong passwords');
        return reply(535, '5.7.8', 'user name or password is wrong');
      case 'barred':
        log.warn(
          { ip: this.#ip, reason: answer.reason },
          'log-in with the right password of a user who may not come in',
        );
        // RFC 5248 §2.4.
        return reply(525, '5.7.13', answer.reason);
      default:
        log.warn({ ip: this.#ip, reason: answer.reason }, 'log-in could not be decided');
        return reply(454, '4.7.0', 'logging in is not possible at the moment; try again');
    }
  }

  /** MAIL FROM. The null reverse-path belongs to no user, so nobody may use it. */
  async mail(address: string, parameters: Parameters): Promise<Reply | undefined> {
    const account = this.#account;
    if (account === undefined) return reply(530, '5.7.0', 'log in first');
    const stranger = unknownKeyword(parameters, mailKeywords);
    if (stranger !== undefined) return reply(555, '5.5.4', `the parameter ${stranger} is not known`);
    const whose = await account.ownership(address);
    if (whose === 'unknown') return undecided(address);
    return whose === 'own' ? undefined : reply(550, '5.7.1', `you may not send as ${address || 'the null sender'}`);
  }

  async rcpt(text: string, parameters: Parameters): Promise<Reply | undefined> {
    const account = this.#account;
    if (account === undefined) return reply(530, '5.7.0', 'log in first');
    const stranger = unknownKeyword(parameters, rcptKeywords);
    if (stranger !== undefined) return reply(555, '5.5.4', `the parameter ${stranger} is not known`);
    // A place on the Internet: whether mail goes there is the gateway's to say.
    if (parseLiteralAddress(text) !== undefined) return undefined;
    const parsed = parseAddress(text);
    if (parsed.kind === 'invalid') return reply(553, '5.1.3', `not an address: ${parsed.reason}`);
    if (!account.ringDomains.includes(parsed.domain)) return undefined;
    const lookup = await account.lookup(withoutTag(parsed.address));
    switch (lookup.kind) {
      case 'found':
        // A gateway's or the mailer-daemon's identity has no mailbox.
        if (!receiving.has(lookup.certificate.kind)) return noSuchUser(parsed.address);
        return lookup.record?.list?.posting === 'owners' && !lookup.record.list.owners.includes(account.address)
          ? reply(550, '5.7.2', `only its owners may write to the list ${parsed.address}`)
          : undefined;
      case 'unknown':
        return reply(451, '4.4.3', 'whether there is such a user could not be found out; try again');
      default:
        return noSuchUser(parsed.address);
    }
  }

  /** The message as received. The reply comes after the ring has it. */
  async data(message: Buffer, transaction: Transaction): Promise<Reply> {
    const account = this.#account;
    if (account === undefined) return reply(530, '5.7.0', 'log in first');
    const { limits, hostname, now, newTraceId, trace } = this.#parts;
    const id = newTraceId();
    trace(id, {
      what: 'submission',
      user: account.address,
      from: transaction.from,
      to: transaction.to,
      bytes: message.length,
    });
    const end = headerEnd(message);
    const problem = (await wireProblem(message, limits)) ?? headerProblem(message, end, limits);
    if (problem !== undefined) return this.#traced(id, problem);
    const prepared = await prepare(message, end, {
      sender: account.address,
      hostname,
      domain: domainOf(account.address),
      protocol: transaction.utf8 ? 'UTF8SMTPSA' : 'ESMTPSA',
      now: now(),
      ownership: async (address) => account.ownership(address),
    });
    if (prepared.kind === 'refused') return this.#traced(id, prepared.reply);
    const answer = await this.#submit(account, transaction, prepared.bytes, id);
    // As the program wrote it, with Bcc and without our Received, where nothing that a message must have had to be added.
    if (answer.code === 250) await this.#keepCopy(account, prepared.complete ? message : prepared.bytes, id);
    return this.#traced(id, answer);
  }

  /** The message is sent: that no copy could be kept is no reason to say otherwise, and to have it sent again. */
  async #keepCopy(account: Account, message: Buffer, id: string): Promise<void> {
    const { now, log } = this.#parts;
    try {
      await keepSentCopy(account.mailbox, message, now());
    } catch (fault) {
      log.warn({ fault, user: account.address, trace: id }, 'no copy of a sent message could be kept');
    }
  }

  async #submit(account: Account, transaction: Transaction, bytes: Buffer, id: string): Promise<Reply> {
    try {
      const { recipients } = await account.submit(envelopeOf(transaction), bytes, id);
      const late = recipients.find(({ outcome }) => outcome.kind === 'try-later');
      // Who was reached stays reached: the program's repetition has the same octets and doubles nothing.
      if (late !== undefined) return reply(451, '4.3.0', `not yet possible for ${late.address}; try again (${id})`);
      const nobody = recipients.filter(({ outcome }) => outcome.kind === 'no-such-user').map(({ address }) => address);
      if (nobody.length > 0)
        return reply(550, '5.1.1', `no such user: ${nobody.join(', ')}; sent to the others (${id})`);
      return reply(250, '2.0.0', `Ok: queued as ${id}`);
    } catch (fault) {
      // RFC 3463 §3.3: for good, as far as this program is concerned; the person has to delete something.
      if (fault instanceof MailFault && fault.code === 'quota')
        return reply(552, '5.2.2', `your quota is used up; delete messages and send this one again (${id})`);
      this.#parts.log.warn({ fault, user: account.address, trace: id }, 'a submitted message could not be stored');
      return reply(451, '4.3.0', `the message could not be stored now; try again (${id})`);
    }
  }

  #traced(id: string, answer: Reply): Reply {
    this.#parts.trace(id, { what: 'submission-reply', reply: `${answer.code} ${answer.enhanced}`, text: answer.text });
    return answer;
  }
}

function noSuchUser(address: Address): Reply {
  return reply(550, '5.1.1', `there is no user ${address}`);
}

function unknownKeyword(parameters: Parameters, known: ReadonlySet<string>): string | undefined {
  return Object.keys(parameters).find((keyword) => !known.has(keyword));
}

function envelopeOf({ from, to, ret, envid, requireTls, dsn }: Transaction): SubmittedEnvelope {
  return {
    from,
    to,
    ...(ret === 'FULL' || ret === 'HDRS' ? { ret } : {}),
    ...(envid === null ? {} : { envid }),
    ...(requireTls ? { requireTls } : {}),
    ...(dsn.size === 0 ? {} : { dsn }),
  };
}
