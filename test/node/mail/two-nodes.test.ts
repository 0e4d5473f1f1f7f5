import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { generateIdentityKeys, signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Folder } from '../../../node/mail/folder.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { type Post, startPost } from '../../../node/post/post.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { quiet } from '../notify/network.ts';
import { until } from '../notify/ring.ts';
import { octets } from './messages.ts';

// Two real nodes of one user, over loopback; no clock of the test plays a part.
const authority = CertificateAuthority.create('example.org' as Domain, [], Date.now);
const address = 'alice@example.org' as Address;
const keys = generateIdentityKeys();
const user = {
  address,
  keys,
  certificate: authority.issueIdentity({
    kind: 'user',
    address,
    signingKey: keys.signing.public,
    sealingKey: keys.sealing.public,
    days: 30,
  }),
};
let root: string;
const posts: Post[] = [];
const mailboxes: Mailbox[] = [];

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-two-nodes-'));
});
afterEach(async () => {
  for (const mailbox of mailboxes.splice(0)) await mailbox.close();
  for (const post of posts.splice(0)) await post.stop();
  await rm(root, { recursive: true, force: true });
});

async function node(bootstrap: readonly string[]): Promise<Post> {
  const seed = randomBytes(32);
  const post = await startPost({
    ring: authority.ring,
    peerSeed: seed,
    certificate: authority.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner: address, days: 30 }),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [...bootstrap],
    revocations: authority.revocations(),
    dir: path.join(root, `node${posts.length}`),
    now: Date.now,
    log: quiet,
  });
  posts.push(post);
  return post;
}

async function mailboxAt(post: Post, create: boolean): Promise<Mailbox> {
  const dir = path.join(root, `mail${mailboxes.length}`);
  const mailbox = await openMailbox({ post, user, dir, create, now: Date.now, log: quiet });
  mailboxes.push(mailbox);
  return mailbox;
}

async function inboxOf(mailbox: Mailbox): Promise<Folder> {
  const folder = await mailbox.folder('INBOX');
  if (folder === undefined) throw new Error('no INBOX');
  return folder;
}

const view = (folder: Folder): unknown => folder.entries().map(({ uid, emailId, flags }) => [uid, emailId, ...flags]);

it('two nodes of one user serve one mailbox: each shows by itself what the other wrote, under the same uids, also what both wrote at once', async () => {
  const first = await node([]);
  const { addresses, peerId } = first.overlay.self;
  const second = await node(addresses.map((one) => `${one}/p2p/${peerId}`));
  await until(() => first.overlay.isUp(second.overlay.self.peerId) && second.overlay.isUp(first.overlay.self.peerId));
  const one = await mailboxAt(first, true);
  const two = await mailboxAt(second, false);
  const [here, there] = [await inboxOf(one), await inboxOf(two)];
  const told: string[] = [];
  there.onChange(({ kind, uids }) => told.push(`${kind} ${uids.join(',')}`));
  const changed: string[] = [];
  two.onChange((change) => changed.push(`${change.kind} ${change.name}`));

  await here.append(octets('Subject: a', '', 'b'), { flags: [], internalDate: 5 });
  await until(() => told.includes('inserted 1'));
  expect(Buffer.from(await there.bytes(1)).toString()).toContain('Subject: a');
  await there.setFlags([1], 'add', ['\\Seen']);
  await until(() => here.entry(1)?.flags.includes('\\Seen') === true);
  await one.create('Plans');
  await until(() => changed.includes('created Plans'));

  await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      const folder = index % 2 === 0 ? here : there;
      await folder.append(octets(`Subject: ${index}`, '', ''), { flags: [], internalDate: index });
    }),
  );
  await until(() => here.entries().length === 11 && there.entries().length === 11);
  await until(() => JSON.stringify(view(here)) === JSON.stringify(view(there)));
});
