import { generate } from 'selfsigned';
import type { Account, Accounts, SubmittedEnvelope } from '../../../node/access/account.ts';
import { type ImapLimits, imapLimits } from '../../../node/access/imap/limits.ts';
import { type Imap, startImap } from '../../../node/access/imap/server.ts';
import type { Log } from '../../../node/access/log.ts';
import { LoginGate } from '../../../node/access/login-gate.ts';
import { fixedTls, type TlsSource } from '../../../node/access/tls-source.ts';
import type { Ownership } from '../../../node/mail/ring-names.ts';
import type { Submission } from '../../../node/mail/send.ts';
import type { Lookup } from '../../../node/store/directory.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { type MailboxFixture, makeMailbox } from '../mail/mailbox-fixture.ts';

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** A log that a test can look into. */
export function keptLog(): Log & { readonly lines: { level: string; fields: object; message: string }[] } {
  const lines: { level: string; fields: object; message: string }[] = [];
  const at =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push({ level, fields, message });
    };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

let made: Promise<TlsSource> | undefined;

/** A certificate for localhost, made once for each test file. */
export async function localTls(): Promise<TlsSource> {
  made ??= generate([{ name: 'commonName', value: 'localhost' }], { algorithm: 'sha256' }).then((pem) =>
    fixedTls({ key: pem.private, cert: pem.cert }),
  );
  return await made;
}

export const password = 'correct horse';

export interface Submitted {
  readonly envelope: SubmittedEnvelope;
  readonly bytes: Uint8Array;
  readonly trace: string;
}

export interface AccountFixture {
  readonly account: Account;
  readonly accounts: Accounts;
  readonly mailbox: MailboxFixture;
  readonly submitted: Submitted[];
  /** What the next submissions give, recipient by recipient. */
  outcome: (recipient: string) => Submission['recipients'][number]['outcome'];
  lookup: (address: Address) => Promise<Lookup>;
  ownership: (address: string) => Promise<Ownership>;
  stop(): Promise<void>;
}

/** alice@example.org, with a real mailbox, and a ring in which only she lives. */
export async function makeAccount(): Promise<AccountFixture> {
  const mailbox = await makeMailbox();
  const submitted: Submitted[] = [];
  const fixture: AccountFixture = {
    mailbox,
    submitted,
    outcome: () => ({ kind: 'sent', id: new Uint8Array(32), via: 'ring' }),
    lookup: async (address) =>
      address === mailbox.user.address ? { kind: 'found', certificate: mailbox.user.certificate } : { kind: 'none' },
    ownership: async (address) => (address.toLowerCase() === mailbox.user.address ? 'own' : 'foreign'),
    account: {
      address: mailbox.user.address,
      mailbox: mailbox.mailbox,
      ringDomains: ['example.org' as Domain],
      ownership: async (address) => fixture.ownership(address),
      lookup: async (address) => await fixture.lookup(address),
      submit: async (envelope, bytes, trace) => {
        submitted.push({ envelope, bytes, trace });
        return {
          recipients: envelope.to.map((to) => ({ address: to as Address, outcome: fixture.outcome(to) })),
        };
      },
    },
    accounts: {
      login: async (username, given) =>
        username === mailbox.user.address && given === password
          ? { kind: 'account', account: fixture.account }
          : { kind: 'refused' },
    },
    stop: async () => await mailbox.stop(),
  };
  return fixture;
}

/** A gate whose refusals are not waited for. */
export function quickGate(accounts: Accounts, log: Log = silent): LoginGate {
  return new LoginGate({ accounts, now: Date.now, sleep: async () => undefined, log });
}

export interface ImapFixture extends AccountFixture {
  readonly imap: Imap;
  /** STARTTLS. */
  readonly port: number;
  /** TLS from the first octet. */
  readonly securePort: number;
  /** What the listeners show, in PEM. */
  readonly certificate: string;
}

export async function makeImap(options: { limits?: Partial<ImapLimits>; log?: Log } = {}): Promise<ImapFixture> {
  const fixture = await makeAccount();
  const host = '127.0.0.1';
  const imap = await startImap({
    listen: [
      { host, port: 0, tls: 'starttls' },
      { host, port: 0, tls: 'implicit' },
    ],
    tls: await localTls(),
    accounts: fixture.accounts,
    gate: quickGate(fixture.accounts),
    limits: { ...imapLimits, ...options.limits },
    now: Date.now,
    log: options.log ?? silent,
  });
  const [port = 0, securePort = 0] = imap.ports;
  return Object.assign(fixture, {
    certificate: String((await localTls()).current().cert),
    imap,
    port,
    securePort,
    stop: async () => {
      await imap.stop(500);
      await fixture.mailbox.stop();
    },
  });
}
