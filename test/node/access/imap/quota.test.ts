import { afterEach, expect, it } from 'vitest';
import type { Account } from '../../../../node/access/account.ts';
import { type ImapFixture, makeImap, password } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let imap: ImapFixture | undefined;
let client: DialogClient | undefined;
afterEach(async () => {
  client?.close();
  await imap?.stop();
});

async function loggedIn(quota: Account['quota']): Promise<DialogClient> {
  imap = await makeImap();
  Object.assign(imap.account, { quota });
  client = await DialogClient.connect(imap.securePort, true);
  await client.line();
  await client.command(`a LOGIN alice@example.org "${password}"`);
  return client;
}

it('where the ring counts, what is used and may be used is told in units of 1,024 octets (RFC 9208 §5.1)', async () => {
  const one = await loggedIn(async () => ({ usedBytes: 1_025, limitBytes: 10_240 }));
  expect((await one.command('b CAPABILITY'))[0]).toContain(' QUOTA QUOTA=RES-STORAGE ');
  expect(await one.command('c GETQUOTAROOT INBOX')).toEqual([
    '* QUOTAROOT INBOX "mailbox"',
    '* QUOTA "mailbox" (STORAGE 2 10)',
    expect.stringMatching(/^c OK /),
  ]);
  expect(await one.command('d GETQUOTA "mailbox"')).toEqual([
    '* QUOTA "mailbox" (STORAGE 2 10)',
    expect.stringMatching(/^d OK /),
  ]);
  expect((await one.command('e GETQUOTA "other"')).at(-1)).toMatch(/^e NO \[NONEXISTENT\] /);
  expect((await one.command('f GETQUOTAROOT Nowhere')).at(-1)).toMatch(/^f NO \[NONEXISTENT\] /);
});

it('what EXPUNGE would give back is told by STATUS (RFC 9208 §4.1.4)', async () => {
  const one = await loggedIn(async () => ({ usedBytes: 0, limitBytes: 1 }));
  const inbox = await imap!.account.mailbox.folder('INBOX');
  for (const [length, flags] of [
    [40, ['\\Deleted']],
    [60, []],
    [80, ['\\Deleted']],
  ] as const)
    await inbox!.append(Buffer.from('Subject: x\r\n\r\n'.padEnd(length, 'y')), { flags: [...flags], internalDate: 0 });
  expect(await one.command('b STATUS INBOX (DELETED DELETED-STORAGE SIZE)')).toContain(
    '* STATUS INBOX (DELETED 2 DELETED-STORAGE 120 SIZE 180)',
  );
});

it('where nobody counts it is not announced', async () => {
  const one = await loggedIn(undefined);
  expect((await one.command('b CAPABILITY'))[0]).not.toContain('QUOTA');
  expect((await one.command('c GETQUOTA "mailbox"')).at(-1)).toMatch(/^c NO \[NONEXISTENT\] /);
});
