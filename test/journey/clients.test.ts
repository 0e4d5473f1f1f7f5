import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, program } from '../needs.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, withAttachment } from './fixtures/message.ts';
import { type Outcome, run } from './fixtures/program.ts';
import type { RunningEpost } from './fixtures/running.ts';

const user = 'alice@example.org';
let home: TestHome;
let epost: RunningEpost;
let folder: string;

const text = message({ from: 'friend@sender.test', to: user, subject: 'plain' });
const attached = withAttachment(
  { from: 'friend@sender.test', to: user, subject: 'attached' },
  Buffer.alloc(9_000, 'abc'),
);

beforeAll(async () => {
  home = await TestHome.make();
  epost = await home.up();
  folder = path.dirname(home.folder);
});

afterAll(() => home?.remove());

describe('imapflow', () => {
  test('appends, lists, searches, flags, copies, moves, deletes and is told of new mail while it waits', async () => {
    const mail = await MailProgram.open(epost, user);
    const { imap } = mail;
    const folders = await imap.list();
    expect(folders.map((one) => `${one.path} ${one.specialUse ?? ''}`).sort()).toEqual([
      'Drafts \\Drafts',
      'INBOX \\Inbox',
      'Junk \\Junk',
      'Sent \\Sent',
      'Trash \\Trash',
    ]);
    await imap.append('INBOX', text, []);
    await imap.append('INBOX', attached, ['\\Flagged']);
    await imap.mailboxOpen('INBOX');
    expect(await imap.search({ subject: 'attached' }, { uid: true })).toEqual([2]);
    expect(await imap.search({ flagged: true }, { uid: true })).toEqual([2]);
    const one = await imap.fetchOne('2', { envelope: true, bodyStructure: true, size: true }, { uid: true });
    expect(one).toMatchObject({
      size: attached.length,
      envelope: { subject: 'attached', from: [{ address: 'friend@sender.test' }] },
      bodyStructure: { type: 'multipart/mixed', childNodes: [{ type: 'text/plain' }, { disposition: 'attachment' }] },
    });
    const { content } = await imap.download('2', '2', { uid: true });
    const parts: Buffer[] = [];
    for await (const part of content ?? []) parts.push(part as Buffer);
    expect(Buffer.concat(parts).equals(Buffer.alloc(9_000, 'abc'))).toBe(true);

    await imap.messageFlagsAdd('1', ['\\Seen', 'Work'], { uid: true });
    expect(await imap.search({ keyword: 'Work', seen: true }, { uid: true })).toEqual([1]);
    await imap.mailboxCreate('Projects/2026');
    await imap.messageCopy('1', 'Projects/2026', { uid: true });
    await imap.messageMove('2', 'Trash', { uid: true });
    expect(await imap.search({ all: true }, { uid: true })).toEqual([1]);
    await imap.messageDelete('1', { uid: true });
    expect(await imap.search({ all: true }, { uid: true })).toEqual([]);
    const [copied] = await mail.messages('Projects/2026');
    expect(copied?.bytes.equals(text)).toBe(true);
    expect([...(copied?.flags ?? [])].sort()).toEqual(['Work', '\\Seen']);
    await imap.mailboxRename('Projects/2026', 'Projects/Done');
    expect(await mail.messages('Projects/Done')).toHaveLength(1);
    await imap.mailboxOpen('INBOX');
    await imap.mailboxDelete('Projects/Done');

    const told = new Promise<number>((resolve) =>
      imap.once('exists', ({ count }: { count: number }) => resolve(count)),
    );
    const idling = imap.idle();
    const other = await MailProgram.open(epost, user);
    await other.imap.append('INBOX', text, []);
    expect(await told).toBe(1);
    other.close();
    mail.close();
    await idling.catch(() => undefined);
  });
});

describe.skipIf(missing('curl'))('curl', () => {
  const curl = (...args: string[]): Promise<Outcome> =>
    run(program('curl'), ['-sk', '-u', `${user}:${epost.password(user)}`, ...args]);

  test('appends and fetches over TLS and over STARTTLS, octet for octet', async () => {
    const file = path.join(folder, 'message.eml');
    await writeFile(file, attached);
    expect((await curl(`imaps://127.0.0.1:${epost.port('imaps')}/Drafts`, '-T', file)).code).toBe(0);
    for (const url of [`imaps://127.0.0.1:${epost.port('imaps')}`, `imap://127.0.0.1:${epost.port('imap')}`]) {
      const { code, out } = await curl('--ssl-reqd', `${url}/Drafts;UID=1`);
      expect({ url, code, same: Buffer.from(out, 'latin1').equals(attached) }).toEqual({ url, code: 0, same: true });
    }
    const part = await curl(`imaps://127.0.0.1:${epost.port('imaps')}/Drafts;UID=1;SECTION=1`);
    expect(part.out).toBe('See attachment.');
  });

  test('sends over STARTTLS and over TLS from the first octet, and not without', async () => {
    const file = path.join(folder, 'out.eml');
    await writeFile(file, `From: ${user}\r\nTo: ${user}\r\nSubject: sent\r\n\r\nby curl\r\n`);
    const envelope = ['--mail-from', user, '--mail-rcpt', user, '-T', file];
    const starttls = `smtp://127.0.0.1:${epost.port('submission')}`;
    expect((await curl('--ssl-reqd', starttls, ...envelope)).code).toBe(0);
    expect((await curl(`smtps://127.0.0.1:${epost.port('submissions')}`, ...envelope)).code).toBe(0);
    expect((await curl(starttls, ...envelope)).code).not.toBe(0);
  });

  test('is refused without TLS, and with a wrong password', async () => {
    expect((await curl(`imap://127.0.0.1:${epost.port('imap')}/INBOX`)).code).not.toBe(0);
    const wrong = await run(program('curl'), [
      '-sk',
      '-u',
      `${user}:wrong`,
      `imaps://127.0.0.1:${epost.port('imaps')}/`,
    ]);
    // 67: the server denied the login.
    expect(wrong.code).toBe(67);
  });
});

describe.skipIf(missing('mbsync'))('mbsync', () => {
  test('copies a mailbox to a Maildir and changes back, and finds nothing to do the second time', async () => {
    const maildir = path.join(folder, 'maildir');
    await mkdir(maildir);
    const config = path.join(folder, 'mbsyncrc');
    const passwordFile = path.join(folder, 'password');
    await writeFile(passwordFile, epost.password('bob@example.org'), { mode: 0o600 });
    await writeFile(
      config,
      [
        'IMAPAccount bob',
        'Host localhost',
        `Port ${epost.port('imaps')}`,
        'User bob@example.org',
        `PassCmd "cat ${passwordFile}"`,
        'SSLType IMAPS',
        `CertificateFile ${path.join(home.folder, 'tls', 'cert.pem')}`,
        '',
        'IMAPStore remote',
        'Account bob',
        '',
        'MaildirStore local',
        `Path ${maildir}/`,
        `Inbox ${maildir}/INBOX`,
        'SubFolders Verbatim',
        '',
        'Channel all',
        'Far :remote:',
        'Near :local:',
        'Patterns *',
        'Create Both',
        'Expunge Both',
        'SyncState *',
        '',
      ].join('\n'),
    );
    const bob = await MailProgram.open(epost, 'bob@example.org');
    await bob.imap.append('INBOX', text, []);
    await bob.imap.append('INBOX', attached, ['\\Seen']);
    const sync = async (): Promise<void> => {
      const { code, err } = await run(program('mbsync'), ['-q', '-c', config, 'all']);
      expect({ code, err }).toEqual({ code: 0, err: '' });
    };
    await sync();
    const local = await maildirMessages(path.join(maildir, 'INBOX'));
    expect(local.map(({ name }) => name.slice(name.indexOf(':2,'))).sort()).toEqual([':2,', ':2,S']);
    // A Maildir has lines that end in LF, and mbsync adds its own field.
    const bodies = local.map(({ bytes }) => bytes.toString().replace(/^X-TUID: .*\n/m, ''));
    expect(bodies.sort()).toEqual([text, attached].map((one) => one.toString().replaceAll('\r\n', '\n')).sort());

    await writeFile(path.join(maildir, 'INBOX', 'new', '1.journey.test'), 'Subject: written here\n\nx\n');
    await sync();
    await bob.waitForText('written here');
    await sync();
    expect(await bob.messages()).toHaveLength(3);
    expect(await maildirMessages(path.join(maildir, 'INBOX'))).toHaveLength(3);
    bob.close();
  });
});

async function maildirMessages(maildir: string): Promise<{ name: string; bytes: Buffer }[]> {
  const names = (
    await Promise.all(
      ['cur', 'new'].map(async (part) =>
        (await readdir(path.join(maildir, part))).map((name) => path.join(part, name)),
      ),
    )
  ).flat();
  return await Promise.all(names.map(async (name) => ({ name, bytes: await readFile(path.join(maildir, name)) })));
}
