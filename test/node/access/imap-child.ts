import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Account } from '../../../node/access/account.ts';
import { imapLimits } from '../../../node/access/imap/limits.ts';
import { startImap } from '../../../node/access/imap/server.ts';
import { generateIdentityKeys, importIdentityKeys } from '../../../node/identity/keys.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { DiskPost } from '../mail/disk-post.ts';
import { makeUser } from '../mail/mailbox-fixture.ts';
import { localTls, quickGate, silent } from './access-fixture.ts';

/** Resolves when the process, told to stop, has ended. */
export async function ended(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = once(child, 'exit');
  child.kill(signal);
  await over;
}

/** A node with alice's mailbox on a real disk and its IMAP listener (TLS, any password), in a ring of one and a process of its own. */
export class ImapChild {
  readonly #dir: string;
  readonly #keys: string;
  #child: ChildProcess;
  #port = 0;

  private constructor(dir: string, keys: string) {
    this.#dir = dir;
    this.#keys = keys;
    this.#child = this.#fork();
  }

  static async start(): Promise<ImapChild> {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-imap-'));
    const started = new ImapChild(dir, Buffer.from(generateIdentityKeys().export()).toString('hex'));
    await started.#listening();
    return started;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  #fork(): ChildProcess {
    return fork(fileURLToPath(import.meta.url), ['serve', this.#dir, this.#keys]);
  }

  async #listening(): Promise<void> {
    [this.#port] = (await once(this.#child, 'message')) as [number];
  }

  /** Another process over the same disk; `signal` says how the one before ended. */
  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await ended(this.#child, signal);
    this.#child = this.#fork();
    await this.#listening();
  }

  async stop(): Promise<void> {
    await ended(this.#child);
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** The child: tells its port. */
async function serve(dir: string, secret: string): Promise<void> {
  const disk = await DiskPost.open(dir);
  const keys = importIdentityKeys(Buffer.from(secret, 'hex'));
  const user = { ...makeUser('alice'), keys };
  const options = { post: disk.post, user, dir: path.join(dir, 'mail'), now: Date.now, log: silent };
  const mailbox = await openMailbox({ ...options, create: !disk.existed });
  const account: Account = {
    address: user.address,
    mailbox,
    ringDomains: [],
    ownership: async () => 'own',
    lookup: async () => ({ kind: 'none' }),
    submit: async () => ({ recipients: [] }),
  };
  const accounts = { login: async () => ({ kind: 'account' as const, account }) };
  const imap = await startImap({
    listen: [{ host: '127.0.0.1', port: 0, tls: 'implicit' }],
    tls: await localTls(),
    accounts,
    gate: quickGate(accounts),
    limits: imapLimits,
    now: Date.now,
    log: silent,
  });
  process.send?.(imap.ports[0]);
  await once(process, 'SIGTERM');
  await imap.stop(100);
  await mailbox.close();
  await disk.halt();
  process.disconnect();
}

const [, , what, dir, keys] = process.argv;
if (what === 'serve' && dir !== undefined && keys !== undefined) await serve(dir, keys);
