import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import type { IdentityKind, Trust } from '../../../node/identity/certificate.ts';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import type { Log, MailPost, MailUser } from '../../../node/mail/mail-post.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { type Domain, parseAddress } from '../../../policy/address.ts';
import { MemoryPost } from './memory-post.ts';

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

export interface MailboxFixture {
  readonly mailbox: Mailbox;
  readonly user: MailUser;
  readonly dir: string;
  readonly post: MemoryPost;
  /** Closes the mailbox and opens it again, as a restart does. */
  reopen(options?: { deleteIndex?: boolean; log?: Log }): Promise<Mailbox>;
  stop(): Promise<void>;
}

let authority: CertificateAuthority | undefined;

function theAuthority(): CertificateAuthority {
  const domain = 'example.org' as Domain;
  authority ??= CertificateAuthority.create(domain, [domain], Date.now);
  return authority;
}

/** What a member of example.org goes by. */
export function trust(): Trust {
  const { ring } = theAuthority();
  return { ring, revocations: new RevocationState(ring, theAuthority().revoke([])), now: Date.now() };
}

/** An identity of example.org with certified keys. */
export function makeUser(local: string, kind: IdentityKind = 'user'): MailUser {
  const parsed = parseAddress(`${local}@example.org`);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  const keys = generateIdentityKeys();
  const certificate = theAuthority().issueIdentity({
    kind,
    address: parsed.address,
    signingKey: keys.signing.public,
    sealingKey: keys.sealing.public,
    days: 30,
  });
  return { address: parsed.address, keys, certificate };
}

/** A mailbox in a temporary folder, its logs and blocks in memory. `stop` removes everything. */
export async function makeMailbox(
  options: { readonly local?: string; readonly now?: () => number } = {},
): Promise<MailboxFixture> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-mailbox-'));
  const post = new MemoryPost();
  const user = makeUser(options.local ?? 'alice');
  const now = options.now ?? Date.now;
  const openIt = async (create: boolean, log: Log = silent): Promise<Mailbox> =>
    openMailbox({ post: post satisfies MailPost, user, dir, create, now, log });
  let mailbox = await openIt(true);
  return {
    get mailbox() {
      return mailbox;
    },
    user,
    dir,
    post,
    async reopen({ deleteIndex = false, log } = {}) {
      await mailbox.close();
      if (deleteIndex) await rm(dir, { recursive: true });
      mailbox = await openIt(false, log);
      return mailbox;
    },
    async stop() {
      await mailbox.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
