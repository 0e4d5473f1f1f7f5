import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account, Accounts, Login, ScramAccounts } from '../../node/access/account.ts';
import type { ScramKeys } from '../../node/access/scram.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../../node/identity/certificate.ts';
import { deliverTo } from '../../node/mail/delivery.ts';
import { type Mailbox } from '../../node/mail/mailbox.ts';
import { openMailbox } from '../../node/mail/open-mailbox.ts';
import { RecipientBook } from '../../node/mail/recipient-book.ts';
import { personOf, recipientControl } from '../../node/mail/recipient-control.ts';
import { followReturns, intoInbox } from '../../node/mail/returns.ts';
import { submit } from '../../node/mail/send.ts';
import { SentBook } from '../../node/mail/sent-book.ts';
import { localRecipient } from '../../node/notify/local-recipient.ts';
import type { SeenIds } from '../../node/notify/seen.ts';
import type { Post } from '../../node/post/post.ts';
import { type Address, parseAddress, withoutTag } from '../../policy/address.ts';
import { serviceAddress } from '../home/create.ts';
import { type Layout, userFiles } from '../home/layout.ts';
import { hashPassword, passwordMatches } from '../home/password.ts';
import { openScram, scramIterations, scramSaltBytes, sealScram } from '../home/scram-record.ts';
import { keepScram, type LocalUser, listUsers, markMailboxOpen, readLogin, readUser } from '../home/users.ts';
import type { TraceEvent } from '../trace/store.ts';
import { Closing } from './closing.ts';
import { KeptLimits } from './kept-limits.ts';
import { publishRecord } from './publish-record.ts';
import { RecipientPolicy } from './recipient-policy.ts';

export interface LocalUsersOptions {
  readonly layout: Layout;
  readonly passphrase: string | undefined;
  /** Who reports, in notices to users. */
  readonly hostname: string;
  readonly post: Post;
  /** What the gateway of this home, if it has one, calls its users besides (`gateway.aliases`). */
  readonly aliases: ReadonlyMap<Address, Address>;
  /** Always the same on this node, and known to nobody else: makes up what SCRAM says of names that nobody has. */
  readonly decoySecret: Uint8Array;
  readonly trust: () => Trust;
  readonly seen: SeenIds;
  readonly now: () => number;
  readonly trace: (id: string, event: TraceEvent) => void;
  readonly log: {
    debug(fields: object, message: string): void;
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
}

/** A mailbox that is served: its mail comes in, and its user hears how what he sent ended. */
interface OpenHome {
  readonly mailbox: Mailbox;
  readonly book: SentBook;
  readonly people: RecipientBook;
  readonly close: () => Promise<void>;
}

interface Resident {
  readonly user: LocalUser;
  readonly certificate: IdentityCertificate;
  readonly leave: AbortController;
  readonly arrival: Promise<void>;
  login: LocalUser['login'];
  readonly policy: RecipientPolicy;
  /** Open once the ring answered. */
  home: OpenHome | undefined;
  trouble: string;
  /** HMAC of the password that was last found right, so that a program that logs in often does not cost a scrypt each time. */
  known: Buffer | undefined;
  scram: ScramKeys | undefined;
}

const firstRetryMs = 500;
const longestRetryMs = 30_000;
// One user's rules limit by sender or by ring; more of them than this he does not hear from in an hour.
const maxRecipientBuckets = 2_000;
// A directory entry is published again this often, so that a ring that lost it has it back within a day.
const republishMs = 86_400_000;

/** The users whose mailboxes live on this node: brings them in, takes their mail, and answers log-ins. */
export class LocalUsers implements Accounts {
  readonly #options: LocalUsersOptions;
  readonly #residents = new Map<Address, Resident>();
  /** Users of this home whose certificate does not hold: who knows the password is told so. */
  readonly #barred = new Map<Address, { readonly login: LocalUser['login']; readonly reason: string }>();
  readonly #memoryKey = randomBytes(32);
  // For unknown names, so that they take as long as wrong passwords.
  readonly #decoy = hashPassword(randomBytes(16).toString('hex'));

  constructor(options: LocalUsersOptions) {
    this.#options = options;
  }

  readonly scram: ScramAccounts = {
    keys: async (username) => {
      const resident = this.#residentOf(username);
      if (resident !== undefined && resident.scram === undefined)
        this.#options.log.info(
          { user: resident.user.address },
          'there are no SCRAM keys of this password yet; a log-in by PLAIN, or `epost user passwd`, makes them',
        );
      return resident?.scram ?? this.#madeUp(username);
    },
    admit: async (username) => {
      const resident = this.#residentOf(username);
      return resident === undefined ? { kind: 'refused' } : this.#admitted(resident);
    },
  };

  #residentOf(username: string): Resident | undefined {
    const parsed = parseAddress(username);
    return parsed.kind === 'address' ? this.#residents.get(parsed.address) : undefined;
  }

  /** RFC 5802 §9: the answer for a name that nobody has looks like one for a user, and stays the same. */
  #madeUp(username: string): ScramKeys {
    const parsed = parseAddress(username);
    const name = parsed.kind === 'address' ? parsed.address : username;
    const part = (of: string): Buffer =>
      createHmac('sha256', this.#options.decoySecret).update(`${of}\0${name}`).digest();
    return {
      salt: part('salt').subarray(0, scramSaltBytes),
      iterations: scramIterations,
      storedKey: part('stored'),
      serverKey: part('server'),
    };
  }

  /** Makes who is served match the files of the home: newcomers come in, who has gone leaves, passwords are read again. */
  async reload(): Promise<void> {
    const { layout, passphrase, log } = this.#options;
    const wanted = new Set(listUsers(layout));
    this.#barred.clear();
    for (const [address, resident] of this.#residents) {
      if (!wanted.has(address)) await this.#leave(resident);
    }
    for (const address of wanted) {
      const resident = this.#residents.get(address);
      if (resident === undefined) await this.#admit(await readUser(layout, address, passphrase));
      else {
        resident.login = readLogin(layout, address);
        resident.policy.read();
        resident.known = undefined;
        resident.scram = scramOf(resident.user, resident.login);
      }
    }
    log.info({ users: this.#residents.size }, 'the users of this node are read');
  }

  /** Who is here, and whether the mailbox is open. */
  list(): { address: Address; open: boolean; trouble: string }[] {
    return [...this.#residents.values()].map(({ user, home, trouble }) => ({
      address: user.address,
      open: home !== undefined,
      trouble: home === undefined ? trouble : '',
    }));
  }

  /** Resolves when every mailbox is open, or after `limitMs`: a ring that is not reachable must not keep a node from starting. */
  async settled(limitMs: number): Promise<void> {
    const all = Promise.all([...this.#residents.values()].map(({ arrival }) => arrival));
    await Promise.race([all, sleep(limitMs, undefined, { ref: false })]);
  }

  async login(username: string, password: string): Promise<Login> {
    const resident = this.#residentOf(username);
    if (resident === undefined) {
      const parsed = parseAddress(username);
      const outside = parsed.kind === 'address' ? this.#barred.get(parsed.address) : undefined;
      const right = await passwordMatches(password, outside?.login.password ?? (await this.#decoy));
      return right && outside !== undefined ? barred(outside.reason) : { kind: 'refused' };
    }
    if (!(await this.#isRight(resident, password))) return { kind: 'refused' };
    if (resident.scram === undefined) await this.#makeScram(resident, password);
    return this.#admitted(resident);
  }

  /** For login files from before there were SCRAM keys. */
  async #makeScram(resident: Resident, password: string): Promise<void> {
    const { user, login } = resident;
    const { layout, log } = this.#options;
    try {
      const record = await sealScram(user.address, password, user.keys.sealing.public);
      keepScram(layout, user.address, login, record);
      resident.scram = openScram(user.address, record, user.keys.sealing);
    } catch (fault) {
      log.warn({ user: user.address, fault }, 'the SCRAM keys could not be kept; PLAIN works all the same');
    }
  }

  #admitted(resident: Resident): Login {
    const check = checkIdentityCertificate(resident.user.certificate, this.#options.trust());
    if (check.kind === 'invalid' || check.kind === 'revoked') return barred(check.reason);
    if (resident.home === undefined) return { kind: 'unavailable', reason: resident.trouble };
    return { kind: 'account', account: this.#account(resident, resident.home) };
  }

  /** The open mailbox of a user of this node, or why there is none. */
  mailboxOf(address: Address): Mailbox | { readonly trouble: string } {
    const resident = this.#residents.get(address);
    if (resident === undefined) return { trouble: 'has no mailbox on this machine' };
    return resident.home?.mailbox ?? { trouble: resident.trouble };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#residents.values()].map((resident) => this.#leave(resident)));
  }

  async #isRight(resident: Resident, password: string): Promise<boolean> {
    const digest = createHmac('sha256', this.#memoryKey).update(password).digest();
    if (resident.known !== undefined && timingSafeEqual(resident.known, digest)) return true;
    const right = await passwordMatches(password, resident.login.password);
    if (right) resident.known = digest;
    return right;
  }

  #account({ user, certificate }: Resident, { mailbox, book, people }: OpenHome): Account {
    const { post, aliases, now, trace, log } = this.#options;
    const { ring } = post.overlay;
    return {
      address: user.address,
      mailbox,
      ringDomains: ring.domains,
      lookup: (address) => post.lookup(aliases.get(address) ?? address),
      ownsAddress: (text) => {
        const parsed = parseAddress(text);
        return parsed.kind === 'address' && withoutTag(parsed.address) === user.address;
      },
      submit: async (envelope, bytes, id) => {
        const submission = await submit({
          post,
          user: { address: user.address, certificate, keys: user.keys },
          envelope,
          bytes,
          gateway: serviceAddress('gateway', ring.name),
          now,
          traceId: id,
          trace,
          log,
          aliases,
          book,
        });
        // Whom he writes to is no stranger to him.
        for (const { address, outcome } of submission.recipients)
          if (outcome.kind === 'sent')
            await people
              .meet('wrote', personOf(address))
              .catch((fault: unknown) => log.warn({ fault }, 'whom a user wrote to could not be remembered'));
        return submission;
      },
    };
  }

  async #admit(user: LocalUser): Promise<void> {
    const { log, trust } = this.#options;
    const check = checkIdentityCertificate(user.certificate, trust());
    if (check.kind === 'invalid' || check.kind === 'revoked') {
      this.#barred.set(user.address, { login: user.login, reason: check.reason });
      log.error(
        { user: user.address, reason: check.reason },
        'this user’s certificate does not hold; nobody can log in or get mail there',
      );
      return;
    }
    const leave = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const resident: Resident = {
      user,
      certificate: check.certificate,
      leave,
      arrival: promise,
      login: user.login,
      policy: new RecipientPolicy(userFiles(this.#options.layout, user.address).policy, log),
      home: undefined,
      trouble: 'the mailbox is being opened',
      known: undefined,
      scram: scramOf(user, user.login),
    };
    this.#residents.set(user.address, resident);
    this.#bringIn(resident, resolve).catch((fault: unknown) =>
      log.error({ user: user.address, fault }, 'a mailbox is not served any more'),
    );
  }

  async #bringIn(resident: Resident, arrived: () => void): Promise<void> {
    const { layout, log } = this.#options;
    const { signal } = resident.leave;
    for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
      try {
        resident.home ??= await this.#open(resident);
        await this.#publish(resident);
        break;
      } catch (fault) {
        resident.trouble = 'the ring does not answer now';
        log.warn({ user: resident.user.address, fault, retryInMs: waitMs }, 'a mailbox cannot be opened yet');
        await pause(waitMs, signal);
      }
    }
    if (signal.aborted) return;
    markMailboxOpen(layout, resident.user.address);
    arrived();
    while (!signal.aborted) {
      await pause(republishMs, signal);
      if (!signal.aborted)
        await this.#publish(resident).catch((fault: unknown) =>
          log.warn({ user: resident.user.address, fault }, 'the directory entry could not be published again'),
        );
    }
  }

  async #open({ user, certificate, leave, policy }: Resident): Promise<OpenHome> {
    const { post, layout, hostname, seen, trust, now, trace, log } = this.#options;
    const mailbox = await openMailbox({
      post,
      user: { address: user.address, certificate, keys: user.keys },
      dir: path.join(layout.node.folder, 'mail'),
      create: user.login.mailbox === 'new',
      now,
      log,
    });
    const closing = new Closing();
    closing.add(() => mailbox.close());
    // The last part has no dot: lmdb takes a path with one for a file.
    const book = await SentBook.open(
      path.join(layout.node.folder, 'sent', encodeURIComponent(user.address), 'book'),
      now(),
    );
    closing.add(() => book.close());
    const deliver = intoInbox(mailbox, now);
    closing.add(await followReturns({ notify: post.notify, book, deliver, reportingMta: hostname, trace, now, log }));
    const folder = path.join(layout.node.folder, 'people', encodeURIComponent(user.address));
    const people = await RecipientBook.open(path.join(folder, 'book'), now);
    closing.add(() => people.close());
    const kept = new KeptLimits({
      folder: path.join(folder, 'limits'),
      now,
      maxBuckets: maxRecipientBuckets,
      onFault: (fault) =>
        log.error({ user: user.address, fault }, 'the limits of a user’s policy cannot be written down'),
    });
    closing.add(() => kept.stop());
    const control = recipientControl({
      recipient: user.address,
      policy: () => policy.current,
      limits: kept.limits,
      book: people,
      ring: post.overlay.ring,
      standing: ({ kind, address, ring }) =>
        // What is of the ring itself must still be able to tell its users something.
        kind === 'gateway' || kind === 'service' ? 'good' : trust().revocations.standingOf(address, ring),
      trace,
      now,
    });
    const handle = deliverTo(mailbox, control);
    const accept = localRecipient({ keys: user.keys, certificate, trust, seen, now, handle });
    closing.add(post.notify.attach({ certificate, accept }));
    const home: OpenHome = { mailbox, book, people, close: () => closing.close() };
    if (leave.signal.aborted) await home.close();
    return home;
  }

  #publish({ user }: Resident): Promise<void> {
    const { post, now } = this.#options;
    return publishRecord({
      store: post.store,
      peerId: post.overlay.self.peerId,
      address: user.address,
      certificate: user.certificate,
      signing: user.keys.signing,
      now: now(),
    });
  }

  async #leave(resident: Resident): Promise<void> {
    this.#residents.delete(resident.user.address);
    resident.leave.abort();
    await resident.home?.close();
  }
}

function scramOf({ address, keys }: LocalUser, { scram }: LocalUser['login']): ScramKeys | undefined {
  return scram === undefined ? undefined : openScram(address, scram, keys.sealing);
}

function barred(reason: string): Login {
  return {
    kind: 'barred',
    reason: `your certificate in this ring does not hold (${reason}); ask who administers the ring for a new one`,
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
