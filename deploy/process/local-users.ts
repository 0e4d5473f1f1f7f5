import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account, Accounts, Login, ScramAccounts } from '../../node/access/account.ts';
import { equalBytes } from '../../node/identity/canonical.ts';
import { checkIdentityCertificate, type IdentityCertificate } from '../../node/identity/certificate.ts';
import type { MailUser } from '../../node/mail/mail-post.ts';
import type { Mailbox } from '../../node/mail/mailbox.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import { type Layout, userFiles } from '../home/layout.ts';
import { type LocalUser, listUsers, markMailboxOpen, readLogin, readUser } from '../home/users.ts';
import { publishRecord } from './publish-record.ts';
import { RecipientPolicy } from './recipient-policy.ts';
import { reside } from './residence.ts';
import { userAccount } from './user-account.ts';
import { openUserHome, type UserHome } from './user-home.ts';
import { Secrets, UserPassword } from './user-passwords.ts';
import { type LocalUsersOptions, type LocalUsersParts, ringNamesOf } from './users-parts.ts';

interface Resident {
  readonly user: LocalUser;
  readonly certificate: IdentityCertificate;
  readonly password: UserPassword;
  readonly policy: RecipientPolicy;
  readonly leave: AbortController;
  readonly arrival: Promise<void>;
  /** Open once the ring answered. */
  home: { readonly open: UserHome; readonly account: Account } | undefined;
  trouble: string;
}

const standingMs = 5_000;

/** The users whose mailboxes live on this node: brings them in, serves them, and answers log-ins. */
export class LocalUsers implements Accounts {
  readonly #parts: LocalUsersParts;
  readonly #secrets: Secrets;
  readonly #residents = new Map<Address, Resident>();
  /** Users of this home whose certificate does not hold: who knows the password is told so. */
  readonly #barred = new Map<Address, { readonly password: UserPassword; readonly reason: string }>();

  constructor(options: LocalUsersOptions) {
    this.#parts = { ...options, names: ringNamesOf(options.post) };
    this.#secrets = new Secrets(options.decoySecret);
  }

  readonly scram: ScramAccounts = {
    keys: async (username) => {
      const resident = this.#residentOf(username);
      const scram = resident?.password.scram;
      if (resident !== undefined && scram === undefined)
        this.#parts.log.info(
          { user: resident.user.address },
          'there are no SCRAM keys of this password yet; a log-in by PLAIN, or `epost user passwd`, makes them',
        );
      return scram ?? this.#secrets.madeUp(username);
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

  /** Makes who is served match the files of the home: newcomers come in, who has gone leaves, who has new keys is served with them, passwords are read again. */
  async reload(): Promise<void> {
    const { layout, passphrase, log } = this.#parts;
    const wanted = new Set(listUsers(layout));
    this.#barred.clear();
    for (const [address, resident] of this.#residents) {
      if (!wanted.has(address) || !hasCertificate(layout, resident.user)) await this.#leave(resident);
    }
    for (const address of wanted) {
      const resident = this.#residents.get(address);
      if (resident === undefined) this.#admit(await readUser(layout, address, passphrase));
      else {
        resident.password.replace(readLogin(layout, address));
        resident.policy.read();
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
    if (resident === undefined) return this.#outside(username, password);
    if (!(await resident.password.matches(password))) return { kind: 'refused' };
    await resident.password
      .keepScram(password, this.#parts.layout)
      .catch((fault: unknown) =>
        this.#parts.log.warn(
          { user: resident.user.address, fault },
          'the SCRAM keys could not be kept; PLAIN works all the same',
        ),
      );
    return this.#admitted(resident);
  }

  /** For whom there is no mailbox; takes as long as for who has one. */
  async #outside(username: string, password: string): Promise<Login> {
    const parsed = parseAddress(username);
    const outside = parsed.kind === 'address' ? this.#barred.get(parsed.address) : undefined;
    if (outside !== undefined)
      return (await outside.password.matches(password)) ? barred(outside.reason) : { kind: 'refused' };
    await this.#secrets.pretend(password);
    return { kind: 'refused' };
  }

  #admitted(resident: Resident): Login {
    const check = checkIdentityCertificate(resident.user.certificate, this.#parts.trust());
    if (check.kind === 'invalid' || check.kind === 'revoked') return barred(check.reason);
    if (resident.home === undefined) return { kind: 'unavailable', reason: resident.trouble };
    return { kind: 'account', account: resident.home.account };
  }

  /** The open mailbox of a user of this node, or why there is none. */
  mailboxOf(address: Address): Mailbox | { readonly trouble: string; readonly isStranger?: true } {
    const resident = this.#residents.get(address);
    if (resident === undefined) return { trouble: 'has no mailbox on this machine', isStranger: true };
    return resident.home?.open.mailbox ?? { trouble: resident.trouble };
  }

  /** Who of these is at home here, with the keys to sign for him. */
  ownerAmong(addresses: readonly Address[]): MailUser | undefined {
    const resident = addresses.map((address) => this.#residents.get(address)).find((found) => found !== undefined);
    if (resident === undefined) return undefined;
    const { user, certificate } = resident;
    return { address: user.address, certificate, keys: user.keys };
  }

  /** Where a user of this node has his mail forwarded to, or why that is not known now. */
  forwardOf(address: Address): UserHome['forward'] | { readonly trouble: string; readonly isStranger?: true } {
    const resident = this.#residents.get(address);
    if (resident === undefined) return { trouble: 'has no mailbox on this machine', isStranger: true };
    return resident.home?.open.forward ?? { trouble: resident.trouble };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#residents.values()].map((resident) => this.#leave(resident)));
  }

  #admit(user: LocalUser): void {
    const { layout, log, trust } = this.#parts;
    const password = new UserPassword(user, this.#secrets);
    const check = checkIdentityCertificate(user.certificate, trust());
    if (check.kind === 'invalid' || check.kind === 'revoked') {
      this.#barred.set(user.address, { password, reason: check.reason });
      log.error(
        { user: user.address, reason: check.reason },
        'this user’s certificate does not hold; nobody can log in or get mail there',
      );
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const resident: Resident = {
      user,
      certificate: check.certificate,
      password,
      policy: new RecipientPolicy(userFiles(layout, user.address).policy, log),
      leave: new AbortController(),
      arrival: promise,
      home: undefined,
      trouble: 'the mailbox is being opened',
    };
    this.#residents.set(user.address, resident);
    this.#serve(resident, resolve).catch((fault: unknown) =>
      log.error({ user: user.address, fault }, 'a mailbox is not served any more'),
    );
  }

  async #serve(resident: Resident, arrived: () => void): Promise<void> {
    const { layout, log } = this.#parts;
    const { address } = resident.user;
    try {
      await reside({
        signal: resident.leave.signal,
        enter: async () => {
          resident.home ??= await this.#open(resident);
          await this.#publish(resident);
        },
        entered: () => {
          markMailboxOpen(layout, address);
          arrived();
        },
        daily: async () => this.#publish(resident),
        notYet: (fault, retryInMs) => {
          resident.trouble = 'the ring does not answer now';
          log.warn({ user: address, fault, retryInMs }, 'a mailbox cannot be opened yet');
        },
        dailyFailed: (fault) => log.warn({ user: address, fault }, 'the directory entry could not be published again'),
      });
    } finally {
      arrived();
      await resident.home?.open.close();
    }
  }

  async #open(resident: Resident): Promise<NonNullable<Resident['home']>> {
    const open = await openUserHome(resident, this.#parts);
    return { open, account: userAccount({ ...resident, home: open, over: this.#standing(resident) }, this.#parts) };
  }

  /** Why open sessions of the user have to end, if they have to. Asked before each command, so the certificate is looked at every few seconds only. */
  #standing({ user, leave }: Resident): () => string | undefined {
    const { trust, now } = this.#parts;
    let askedAt = Number.NEGATIVE_INFINITY;
    let reason: string | undefined;
    return () => {
      if (leave.signal.aborted) return 'your mailbox is no longer served on this machine';
      if (Math.abs(now() - askedAt) < standingMs) return reason;
      askedAt = now();
      const check = checkIdentityCertificate(user.certificate, trust());
      reason = check.kind === 'invalid' || check.kind === 'revoked' ? unsound(check.reason) : undefined;
      return reason;
    };
  }

  #publish({ user }: Resident): Promise<void> {
    const { post, now } = this.#parts;
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
    // One that is being opened just now is closed by who opens it.
    await resident.home?.open.close();
  }
}

/** Whether the user still has the certificate that he is served with. */
function hasCertificate(layout: Layout, { address, certificate }: LocalUser): boolean {
  return equalBytes(readFileSync(userFiles(layout, address).certificate), certificate);
}

function barred(reason: string): Login {
  return { kind: 'barred', reason: unsound(reason) };
}

function unsound(reason: string): string {
  return `your certificate in this ring does not hold (${reason}); ask who administers the ring for a new one`;
}
