import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createHome } from '../../deploy/home/create.ts';
import { type Layout, userFiles } from '../../deploy/home/layout.ts';
import { openAuthority, readRevocations } from '../../deploy/home/ring-files.ts';
import { addUser, readLogin, removeUser, setPassword } from '../../deploy/home/users.ts';
import { LocalUsers } from '../../deploy/process/local-users.ts';
import type { Login } from '../../node/access/account.ts';
import { scramKeys } from '../../node/access/scram.ts';
import { checkNodeCertificate } from '../../node/identity/certificate.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { openSeenIds, type SeenIds } from '../../node/notify/seen.ts';
import { type Post, startPost } from '../../node/post/post.ts';
import type { Address, Domain } from '../../policy/address.ts';
import { keptLog, silent } from '../node/access/access-fixture.ts';

const root = mkdtempSync(path.join(os.tmpdir(), 'epost-users-'));
const [alice, bob] = ['alice@example.org', 'bob@example.org'] as [Address, Address];
const passwords = new Map<string, string>();
let layout: Layout;
let post: Post;
let seen: SeenIds;
let revocations: RevocationState;
let users: LocalUsers;

// One ring with one node for all: each row has users of its own, or leaves them as they were.
beforeAll(async () => {
  const choices = { domain: 'example.org' as Domain, hostname: 'mx.example.org', portBase: 0, dns: [], mxPort: 25 };
  const home = await createHome(path.join(root, 'home'), { ...choices, passphrase: undefined, now: Date.now() });
  layout = home.layout;
  for (const { address, password } of home.users) passwords.set(address, password);
  const authority = await openAuthority(layout, undefined, Date.now);
  revocations = new RevocationState(authority.ring, readRevocations(layout));
  const check = checkNodeCertificate(readFileSync(layout.node.certificate), {
    ring: authority.ring,
    revocations,
    now: Date.now(),
  });
  if (check.kind !== 'valid') throw new Error(check.kind);
  post = await startPost({
    ring: authority.ring,
    peerSeed: await readKeyFile(layout.node.key, { kind: 'node' }),
    certificate: check.certificate,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    revocations: readRevocations(layout)!,
    dir: layout.node.folder,
    now: Date.now,
    log: silent,
  });
  seen = openSeenIds({ dir: path.join(layout.node.folder, 'seen'), now: Date.now });
}, 60_000);

afterEach(async () => users.stop());

afterAll(async () => {
  await seen?.stop();
  await post?.stop();
  rmSync(root, { recursive: true, force: true });
});

async function start(more: { post?: Post; log?: ReturnType<typeof keptLog>; settled?: boolean } = {}): Promise<void> {
  users = new LocalUsers({
    layout,
    passphrase: undefined,
    hostname: 'mx.example.org',
    post: more.post ?? post,
    decoySecret: Buffer.alloc(32, 7),
    quotaBytes: 2 ** 30,
    trust: () => ({ ring: post.overlay.ring, revocations, now: Date.now() }),
    seen,
    now: Date.now,
    trace: () => undefined,
    log: more.log ?? silent,
  });
  await users.reload();
  if (more.settled !== false) await users.settled(60_000);
}

const kindOf = async (login: Promise<Login>): Promise<string> => (await login).kind;
const passwordOf = (address: string): string => passwords.get(address) ?? '';

async function newUser(name: string): Promise<Address> {
  const address = `${name}@example.org` as Address;
  passwords.set(address, `pass of ${name}`);
  const authority = await openAuthority(layout, undefined, Date.now);
  await addUser(layout, authority, { address, password: passwordOf(address), passphrase: undefined });
  return address;
}

/** Whether the keys that are shown for a name are those of a password. */
async function areKeysOf(address: string, password: string): Promise<boolean> {
  const shown = await users.scram.keys(address);
  const made = await scramKeys(password, shown.salt, shown.iterations);
  return Buffer.compare(made.storedKey, shown.storedKey) === 0;
}

describe('who logs in', () => {
  it('with his password gets his account, however he writes his name; with another one, or under no name, nothing', async () => {
    await start();
    const login = await users.login('Alice@EXAMPLE.org', passwordOf(alice));
    expect(login).toMatchObject({ kind: 'account', account: { address: alice } });
    // The second time from memory; the mailbox exists now.
    expect(await kindOf(users.login(alice, passwordOf(alice)))).toBe('account');
    expect(await kindOf(users.login(alice, passwordOf(bob)))).toBe('refused');
    for (const name of ['nobody@example.org', 'alice', ''])
      expect(await kindOf(users.login(name, 'x'))).toBe('refused');
    expect(readLogin(layout, alice).mailbox).toBe('open');
  });

  it('is the same account each time, so that what it has counted is remembered', async () => {
    await start();
    const logins = [await users.login(alice, passwordOf(alice)), await users.scram.admit(alice)];
    const [one, other] = logins.map((login) => (login.kind === 'account' ? login.account : undefined));
    expect(one).toBeDefined();
    expect(other).toBe(one);
    expect(await one?.quota?.()).toMatchObject({ limitBytes: 2 ** 30 });
  });

  it('by SCRAM is shown keys of his password; under a name that nobody has, made-up ones, always the same', async () => {
    await start();
    expect(await areKeysOf(alice, passwordOf(alice))).toBe(true);
    expect(await kindOf(users.scram.admit(alice))).toBe('account');
    const [once, again, other] = await Promise.all(
      ['eve@example.org', 'EVE@example.org', 'eva@example.org'].map(async (name) => users.scram.keys(name)),
    );
    expect(again).toEqual(once);
    expect(other?.salt).not.toEqual(once?.salt);
    expect(once?.iterations).toBe((await users.scram.keys(alice)).iterations);
    expect(await kindOf(users.scram.admit('eve@example.org'))).toBe('refused');
  });

  it('and whose file has no SCRAM keys yet has them after a log-in that showed the right password, and not before', async () => {
    const carol = await newUser('carol');
    const { scram: _, ...login } = readLogin(layout, carol);
    writeFileSync(userFiles(layout, carol).login, JSON.stringify(login));
    await start();
    await users.login(carol, 'wrong');
    expect(await areKeysOf(carol, passwordOf(carol))).toBe(false);
    expect(await kindOf(users.login(carol, passwordOf(carol)))).toBe('account');
    expect(await areKeysOf(carol, passwordOf(carol))).toBe(true);
    expect(readLogin(layout, carol).scram).toBeDefined();
    await users.stop();
    // From the file, after a restart.
    await start();
    expect(await areKeysOf(carol, passwordOf(carol))).toBe(true);
  });
});

describe('who was put out of the ring', () => {
  it('is told so if he knows the password, at once and after a restart; others learn nothing', async () => {
    const dora = await newUser('dora');
    await start();
    expect(await kindOf(users.login(dora, passwordOf(dora)))).toBe('account');
    const authority = await openAuthority(layout, undefined, Date.now);
    const login = await users.login(dora, passwordOf(dora));
    const found = login.kind === 'account' ? await login.account.lookup(dora) : undefined;
    if (found?.kind !== 'found') throw new Error('dora is not in the ring');
    revocations.offer(authority.revoke([found.certificate.serial]));
    expect(await kindOf(users.login(dora, passwordOf(dora)))).toBe('barred');
    expect(await kindOf(users.scram.admit(dora))).toBe('barred');
    await users.stop();
    const log = keptLog();
    await start({ log });
    expect(users.list().map(({ address }) => address)).not.toContain(dora);
    expect(await users.login(dora, passwordOf(dora))).toMatchObject({
      kind: 'barred',
      reason: expect.stringContaining('ask who administers the ring'),
    });
    expect(await kindOf(users.login(dora, 'wrong'))).toBe('refused');
    expect(await areKeysOf(dora, passwordOf(dora))).toBe(false);
    expect(log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ user: dora }),
    ]);
  });
});

describe('a mailbox that cannot be opened', () => {
  it('is unavailable, never refused, and opens by itself once the ring answers', async () => {
    let isDown = true;
    const openLog: Post['openLog'] = async (options) => {
      if (isDown) throw new Error('silence');
      return post.openLog(options);
    };
    const log = keptLog();
    await start({ post: { ...post, openLog }, log, settled: false });
    expect(await kindOf(users.login(alice, passwordOf(alice)))).toBe('unavailable');
    expect(await kindOf(users.login(alice, 'wrong'))).toBe('refused');
    expect(users.mailboxOf(alice)).toHaveProperty('trouble');
    await expect
      .poll(() => log.lines.some(({ message }) => message === 'a mailbox cannot be opened yet'), { timeout: 20_000 })
      .toBe(true);
    expect(users.list().every(({ open, trouble }) => !open && trouble === 'the ring does not answer now')).toBe(true);
    isDown = false;
    await users.settled(60_000);
    expect(users.list().every(({ open }) => open)).toBe(true);
    expect(await kindOf(users.login(alice, passwordOf(alice)))).toBe('account');
  });
});

describe('reading the home again', () => {
  it('takes a new password, and the old one is none any more, also by SCRAM', async () => {
    const erik = await newUser('erik');
    await start();
    expect(await kindOf(users.login(erik, passwordOf(erik)))).toBe('account');
    await setPassword(layout, erik, 'another');
    await users.reload();
    expect(await kindOf(users.login(erik, passwordOf(erik)))).toBe('refused');
    expect(await areKeysOf(erik, passwordOf(erik))).toBe(false);
    expect(await areKeysOf(erik, 'another')).toBe(true);
    expect(await kindOf(users.login(erik, 'another'))).toBe('account');
  });

  it('lets newcomers in and those go who are gone, with their mailbox closed; the others notice nothing', async () => {
    await start();
    const before = users.mailboxOf(alice);
    const fred = await newUser('fred');
    await users.reload();
    await users.settled(60_000);
    expect(await kindOf(users.login(fred, passwordOf(fred)))).toBe('account');
    const mailbox = users.mailboxOf(fred);
    removeUser(layout, fred);
    await users.reload();
    expect(await kindOf(users.login(fred, passwordOf(fred)))).toBe('refused');
    expect(users.mailboxOf(fred)).toHaveProperty('trouble');
    if ('trouble' in mailbox) throw new Error(mailbox.trouble);
    await expect(mailbox.create('Late')).rejects.toMatchObject({ code: 'folder-gone' });
    expect(users.mailboxOf(alice)).toBe(before);
  });
});
