import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHome } from '../../deploy/home/create.ts';
import { inviteText, joinHome, parseInvite } from '../../deploy/home/invite.ts';
import { type Layout, userFiles } from '../../deploy/home/layout.ts';
import { issueNode } from '../../deploy/home/node-files.ts';
import { openAuthority, readRevocations } from '../../deploy/home/ring-files.ts';
import { openScram } from '../../deploy/home/scram-record.ts';
import { issueKeys, keysText, maxEarlier, parseKeys, retiredKeys, type UserKeys } from '../../deploy/home/user-keys.ts';
import { addUser, mailboxKeysOf, readUser, renewUser } from '../../deploy/home/users.ts';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import type { Trust } from '../../node/identity/certificate.ts';
import { writeKeyFile } from '../../node/identity/key-file.ts';
import type { IdentityKeys } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { memoryMs } from '../../node/notify/lifetime.ts';
import type { Address, Domain } from '../../policy/address.ts';

const root = mkdtempSync(path.join(os.tmpdir(), 'epost-keys-'));
const passphrase = undefined;
const dayMs = 86_400_000;
const began = Date.now();
const hex = (keys: IdentityKeys | undefined): string => Buffer.from(keys?.export() ?? '').toString('hex');
let layout: Layout;
let authority: CertificateAuthority;
let names = 0;

beforeAll(async () => {
  const choices = { domain: 'example.org' as Domain, hostname: 'mx.example.org', portBase: 0, dns: [], mxPort: 25 };
  ({ layout } = await createHome(path.join(root, 'home'), { ...choices, passphrase, now: began }));
  authority = await openAuthority(layout, passphrase, Date.now);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function newUser(): Promise<Address> {
  const address = `user${names++}@example.org` as Address;
  await addUser(layout, authority, { address, password: 'as good as any', passphrase });
  return address;
}

async function renewed(address: Address, now = began): Promise<UserKeys> {
  const fresh = issueKeys(authority, 'user', address);
  await renewUser(layout, address, fresh, { passphrase, now });
  return fresh;
}

const trust = (now = began): Trust => ({
  ring: authority.ring,
  revocations: new RevocationState(authority.ring, readRevocations(layout)),
  now,
});

describe('a user with new keys', () => {
  it('keeps those that his mailbox was made with for good, and others for as long as something may wait for them', async () => {
    const address = await newUser();
    const first = await readUser(layout, address, passphrase);
    const second = await renewed(address);
    const third = await renewed(address, began + dayMs);
    const user = await readUser(layout, address, passphrase);
    expect(hex(user.keys)).toBe(hex(third.keys));
    expect(user.earlier.map(({ keys }) => hex(keys))).toEqual([hex(first.keys), hex(second.keys)]);
    expect(hex(mailboxKeysOf(user))).toBe(hex(first.keys));
    const atWork = (now: number): string[] => retiredKeys(user.earlier, trust(now)).map(({ keys }) => hex(keys));
    expect(atWork(began + 2 * dayMs)).toEqual([hex(first.keys), hex(second.keys)]);
    expect(atWork(began + memoryMs + 1)).toEqual([hex(second.keys)]);
    await renewed(address, began + memoryMs + 2 * dayMs);
    const later = await readUser(layout, address, passphrase);
    expect(later.earlier.map(({ keys }) => hex(keys))).toEqual([hex(first.keys), hex(third.keys)]);
    expect(hex(mailboxKeysOf(later))).toBe(hex(first.keys));
  });

  it('logs in by SCRAM as before', async () => {
    const address = await newUser();
    const before = await readUser(layout, address, passphrase);
    await renewed(address);
    const { login, keys } = await readUser(layout, address, passphrase);
    const opened = login.scram === undefined ? undefined : openScram(address, login.scram, keys.sealing);
    expect(opened).toBeDefined();
    expect(opened).toEqual(before.login.scram && openScram(address, before.login.scram, before.keys.sealing));
  });

  it('however often in a day, has no more of them than an invitation takes, which carries them all', async () => {
    const address = await newUser();
    const first = await readUser(layout, address, passphrase);
    for (let n = 0; n < maxEarlier + 3; n += 1) await renewed(address, began);
    const user = await readUser(layout, address, passphrase);
    expect(user.earlier.length).toBeLessThanOrEqual(maxEarlier);
    const text = inviteText({
      ring: authority.ringBytes(),
      revocations: authority.revocations(),
      node: issueNode(authority, address),
      bootstrap: [],
      expiresAt: began + dayMs,
      user,
    });
    const choices = { portBase: 0, hostname: 'localhost', passphrase, now: began };
    const joined = await joinHome(path.join(root, 'joined'), parseInvite(text, began), choices);
    const there = await readUser(joined.layout, address, passphrase);
    expect(there.earlier.map(({ keys }) => hex(keys))).toEqual(user.earlier.map(({ keys }) => hex(keys)));
    expect(hex(mailboxKeysOf(there))).toBe(hex(first.keys));
  });

  it.each([
    ['before all of them were written', 'key', false],
    ['when they were written', 'key and certificate', true],
    ['between the two renames', 'certificate', true],
  ])('has either the old or the new ones after a power cut %s', async (_why, there, isNew) => {
    const address = await newUser();
    const before = await readUser(layout, address, passphrase);
    const fresh = issueKeys(authority, 'user', address);
    const files = userFiles(layout, address);
    await writeKeyFile(files.nextKey, fresh.keys.export(), { kind: 'identity' });
    if (there.includes('certificate')) writeFileSync(files.nextCertificate, fresh.certificate);
    if (there === 'certificate') renameSync(files.nextKey, files.key);
    const after = await readUser(layout, address, passphrase);
    expect(hex(after.keys)).toBe(hex(isNew ? fresh.keys : before.keys));
    expect(Buffer.compare(after.certificate, isNew ? fresh.certificate : before.certificate)).toBe(0);
  });
});

describe('keys on their way to another machine', () => {
  const address = 'user0@example.org' as Address;

  it('come as they went', () => {
    const fresh = issueKeys(authority, 'user', address);
    const read = parseKeys(keysText({ address, ...fresh }), trust());
    expect([read.address, hex(read.keys)]).toEqual([address, hex(fresh.keys)]);
  });

  it.each<[string, () => string]>([
    ['cut', () => keysText({ address, ...issueKeys(authority, 'user', address) }).slice(0, 100)],
    ['none', () => 'hello'],
    [
      'for another address than their certificate',
      () => keysText({ address: 'user1@example.org' as Address, ...issueKeys(authority, 'user', address) }),
    ],
    [
      'others than those of their certificate',
      () => {
        const [one, other] = [issueKeys(authority, 'user', address), issueKeys(authority, 'user', address)];
        return keysText({ address, certificate: one.certificate, keys: other.keys });
      },
    ],
  ])('are refused when they are %s', (_why, text) => {
    expect(() => parseKeys(text(), trust())).toThrow(expect.objectContaining({ code: 'bad-keys' }));
  });
});
