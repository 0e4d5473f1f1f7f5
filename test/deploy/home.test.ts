import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../deploy/command/program.ts';
import { commands } from '../../deploy/command/table.ts';
import { createHome } from '../../deploy/home/create.ts';
import { HomeFault } from '../../deploy/home/fault.ts';
import { inviteText, joinHome, parseInvite } from '../../deploy/home/invite.ts';
import { type Layout, layoutOf, runFolder, userFiles } from '../../deploy/home/layout.ts';
import { acquireLock } from '../../deploy/home/lock.ts';
import { issueNode } from '../../deploy/home/node-files.ts';
import { generatePassword, hashPassword, passwordMatches } from '../../deploy/home/password.ts';
import { openAuthority, readRing } from '../../deploy/home/ring-files.ts';
import { openScram } from '../../deploy/home/scram-record.ts';
import {
  addUser,
  keepScram,
  listUsers,
  readLogin,
  readUser,
  removeUser,
  setPassword,
} from '../../deploy/home/users.ts';
import { scramKeys } from '../../node/access/scram.ts';
import { checkIdentityCertificate, checkNodeCertificate } from '../../node/identity/certificate.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import type { Address, Domain } from '../../policy/address.ts';

const root = mkdtempSync(path.join(os.tmpdir(), 'epost-home-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const domain = 'example.org' as Domain;
const alice = 'alice@example.org' as Address;
const choices = {
  domain,
  hostname: 'mx.example.org',
  portBase: 0,
  dns: [],
  mxPort: 25,
  passphrase: undefined,
  now: Date.now(),
};

async function faultOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return 'none';
  } catch (fault) {
    return (fault as { code?: string }).code ?? String(fault);
  }
}

describe('a new home', () => {
  const folder = path.join(root, 'new');
  let layout: Layout;
  beforeAll(async () => {
    ({ layout } = await createHome(folder, choices));
  });

  it('keeps every file from other users', () => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(files.length).toBeGreaterThan(15);
    expect(files.filter((name) => (statSync(path.join(folder, name)).mode & 0o077) !== 0)).toEqual([]);
  });

  it('keeps no password', async () => {
    const made = await createHome(path.join(root, 'secret'), choices);
    const everything = readdirSync(made.layout.home, { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(made.layout.home, name))
      .filter((name) => statSync(name).isFile())
      .map((name) => readFileSync(name, 'latin1'))
      .join('\n');
    for (const { password } of made.users) expect(everything).not.toContain(password);
  });

  it('does not let its own machine be put out of the ring, with the authority on it', async () => {
    const authority = await openAuthority(layout, undefined, Date.now);
    const serial = authority.issued().find(({ kind }) => kind === 'node')?.serial ?? '';
    let said = '';
    const screen = { out: () => undefined, err: (text: string) => (said += text) };
    expect(await runProgram(commands, ['node', 'revoke', serial, '--home', folder], screen)).toBe(2);
    expect(said).toContain('this machine');
    const again = await openAuthority(layout, undefined, Date.now);
    expect(again.issued().some(({ revoked }) => revoked)).toBe(false);
  });

  it('holds users whose certificates its own authority issued', async () => {
    const ring = readRing(layout);
    const trust = { ring, revocations: new RevocationState(ring), now: Date.now() };
    const user = await readUser(layout, alice, undefined);
    expect(checkIdentityCertificate(user.certificate, trust).kind).not.toBe('invalid');
    expect(checkNodeCertificate(readFileSync(layout.node.certificate), trust).kind).not.toBe('invalid');
  });

  it('is not made twice', async () => {
    expect(await faultOf(() => createHome(folder, choices))).toBe('exists');
  });

  it('is not made among other files', async () => {
    const other = path.join(root, 'other');
    mkdirSync(other);
    writeFileSync(path.join(other, 'letter.txt'), 'mine');
    expect(await faultOf(() => createHome(other, choices))).toBe('exists');
    expect(readdirSync(other)).toEqual(['letter.txt']);
  });

  it('that was cut off while it was made is made again from the beginning', async () => {
    const cut = path.join(root, 'cut');
    await createHome(cut, choices);
    // As after a crash between moving the parts in: everything but the ring file, which comes last.
    rmSync(path.join(cut, 'ring'), { recursive: true });
    const again = await createHome(cut, choices);
    expect(again.users).toHaveLength(2);
    expect(existsSync(layoutOf(cut).ring)).toBe(true);
    expect(readdirSync(cut)).not.toContain('.making');
  });

  it('under a pass phrase opens with that one only', async () => {
    const locked = await createHome(path.join(root, 'locked'), { ...choices, passphrase: 'correct horse' });
    expect((await readUser(locked.layout, alice, 'correct horse')).address).toBe(alice);
    expect(await faultOf(() => readUser(locked.layout, alice, 'wrong'))).toBe('wrong-passphrase');
    expect(await faultOf(() => readUser(locked.layout, alice, undefined))).toBe('passphrase-needed');
    expect(await faultOf(() => openAuthority(locked.layout, 'wrong', Date.now))).toBe('wrong-passphrase');
  });

  it('that is damaged says which file, in one sentence', async () => {
    const { layout: broken } = await createHome(path.join(root, 'broken'), choices);
    writeFileSync(broken.ring, 'garbage');
    expect(() => readRing(broken)).toThrow(
      /^the home is damaged: the ring file .*ring\.cert .*; restore it from a backup$/,
    );
  });
});

describe('users', () => {
  it('are added, changed and removed', async () => {
    const { layout } = await createHome(path.join(root, 'users'), choices);
    const carol = 'carol@example.org' as Address;
    const authority = await openAuthority(layout, undefined, Date.now);
    await addUser(layout, authority, { address: carol, password: 'first', passphrase: undefined });
    expect(listUsers(layout)).toEqual(['alice@example.org', 'bob@example.org', carol]);
    expect(
      await faultOf(() => addUser(layout, authority, { address: carol, password: 'x', passphrase: undefined })),
    ).toBe('user-exists');
    await setPassword(layout, carol, 'second');
    const { login } = await readUser(layout, carol, undefined);
    expect(await passwordMatches('second', login.password)).toBe(true);
    expect(await passwordMatches('first', login.password)).toBe(false);
    expect(login.mailbox).toBe('new');
    // The same password by SCRAM: sealed to the user, of no use without his key.
    const { keys } = await readUser(layout, carol, undefined);
    const scram = openScram(carol, login.scram!, keys.sealing);
    expect(scram).toEqual(await scramKeys('second', scram!.salt, scram!.iterations));
    expect(openScram(alice, login.scram!, keys.sealing)).toBeUndefined();
    // A file from before there was SCRAM: made at the next log-in, unless the password is another one by then.
    const { scram: record, ...old } = login;
    writeFileSync(userFiles(layout, carol).login, JSON.stringify(old));
    expect(readLogin(layout, carol).scram).toBeUndefined();
    keepScram(layout, carol, { ...old, password: await hashPassword('other') }, record!);
    expect(readLogin(layout, carol).scram).toBeUndefined();
    keepScram(layout, carol, old, record!);
    expect(readLogin(layout, carol)).toEqual(login);
    removeUser(layout, carol);
    expect(await faultOf(() => readUser(layout, carol, undefined))).toBe('no-such-user');
  });
});

describe('an invitation', () => {
  let layout: Layout;
  let text: string;
  const now = Date.now();
  beforeAll(async () => {
    ({ layout } = await createHome(path.join(root, 'first'), choices));
    const authority = await openAuthority(layout, undefined, Date.now);
    const user = await readUser(layout, alice, undefined);
    text = inviteText({
      ring: authority.ringBytes(),
      revocations: readFileSync(layout.revocations),
      node: issueNode(authority, alice),
      bootstrap: ['/ip4/127.0.0.1/tcp/1/p2p/x'],
      expiresAt: now + 1_000,
      user,
    });
  });

  it('makes a home of the same ring, where the user’s mailbox then lives with the same password', async () => {
    const joined = await joinHome(path.join(root, 'second'), parseInvite(`${text}\n`, now), {
      portBase: 10,
      hostname: 'localhost',
      passphrase: undefined,
      now,
    });
    expect(readRing(joined.layout)).toEqual(readRing(layout));
    expect(joined.user).toBe(alice);
    const there = await readUser(joined.layout, alice, undefined);
    const here = await readUser(layout, alice, undefined);
    expect(there.login.password).toEqual(here.login.password);
    expect(there.keys.export()).toEqual(here.keys.export());
  });

  it('is not taken after its time', () => {
    expect(() => parseInvite(text, now + 1_001)).toThrow(/ran out on/);
  });

  it('that was cut or changed is refused, not read', () => {
    expect(() => parseInvite(text.slice(0, 200), now)).toThrow(HomeFault);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('A', 'z', '_', '9'), (at, put) => {
        try {
          parseInvite(text.slice(0, at) + put + text.slice(at + 1), now);
        } catch (fault) {
          expect(fault).toBeInstanceOf(HomeFault);
        }
      }),
    );
  });
});

describe('a lock', () => {
  it('keeps a second holder out until it is released, and a dead holder’s is taken over', async () => {
    const file = path.join(runFolder(layoutOf(path.join(root, 'locks'))), 'x.lock');
    const lock = await acquireLock(file, 'a thing');
    expect(await faultOf(() => acquireLock(file, 'a thing', 0))).toBe('in-use');
    await lock.release();
    writeFileSync(file, '');
    await (await acquireLock(file, 'a thing')).release();
  });

  it('finds a place also for a home whose path is longer than a socket’s may be', async () => {
    const folder = runFolder(layoutOf(path.join(root, 'd'.repeat(60), 'e'.repeat(60))));
    expect(Buffer.byteLength(path.join(folder, 'gateway.lock'))).toBeLessThan(104);
    await (await acquireLock(path.join(folder, 'gateway.lock'), 'a thing')).release();
    rmSync(folder, { recursive: true });
  });
});

describe('passwords', () => {
  it('are of four groups from an alphabet without look-alikes, and never the same', () => {
    const made = Array.from({ length: 200 }, generatePassword);
    for (const password of made) expect(password).toMatch(/^[a-hjkmnp-z2-9i]{4}(?:-[a-hjkmnp-z2-9i]{4}){3}$/);
    expect(new Set(made).size).toBe(made.length);
  });

  it('match however the keyboard composed them', async () => {
    const record = await hashPassword('p\u00e4ss');
    expect(await passwordMatches('pa\u0308ss', record)).toBe(true);
    expect(await passwordMatches('pass', record)).toBe(false);
  });
});
