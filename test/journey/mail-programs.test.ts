// Programs that people read mail with, against one real `epost up`: each has a mailbox of its own.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { missing, missingPython, program, pythonPath } from '../needs.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, withAttachment } from './fixtures/message.ts';
import { type Outcome, run } from './fixtures/program.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { Terminal } from './fixtures/terminal.ts';
import { until } from './fixtures/until.ts';

const users = { offlineimap: 'olive', neomutt: 'nadia', fetchmail: 'fred', near: 'nora', far: 'frank' };
const address = (name: string): string => `${name}@example.org`;
// Each of these is a conversation of many steps between several processes; only a machine that is very busy needs so long.
vi.setConfig({ testTimeout: 90_000 });
let home: TestHome;
let epost: RunningEpost;
let folder: string;
let certificate: string;

const text = (to: string): Buffer => message({ from: 'friend@sender.test', to: address(to), subject: 'plain' });
const attached = (to: string): Buffer =>
  withAttachment({ from: 'friend@sender.test', to: address(to), subject: 'attached' }, Buffer.alloc(9_000, 'abc'));

beforeAll(async () => {
  home = await TestHome.make({ flags: { users: Object.values(users).join(',') } });
  epost = await home.up();
  folder = path.dirname(home.folder);
  certificate = path.join(home.folder, 'tls', 'cert.pem');
});

afterAll(() => home?.remove());

async function open(name: string): Promise<MailProgram> {
  return await MailProgram.open(epost, address(name));
}

/** All that a program could have changed: the folders with their uids, flags and highest modseqs. */
async function state(mail: MailProgram): Promise<unknown> {
  const query = { uidNext: true, highestModseq: true, messages: true };
  const found = [];
  for (const folder of await mail.imap.list()) found.push(await mail.imap.status(folder.path, query));
  return found;
}

async function config(name: string, lines: readonly string[]): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return file;
}

function good({ code, out, err }: Outcome): string {
  if (code !== 0) throw new Error(`it ended with ${code}:\n${out}\n${err}`);
  return out + err;
}

const subject = (bytes: Uint8Array): string => /^Subject: (.*?)\r?$/m.exec(Buffer.from(bytes).toString())?.[1] ?? '';

describe.skipIf(missing('offlineimap'))('offlineimap', () => {
  test('copies a mailbox, brings changes of both sides to the other, and changes nothing the second time', async () => {
    const local = path.join(folder, 'offlineimap');
    const file = await config('offlineimaprc', [
      '[general]',
      'accounts = a',
      `metadata = ${path.join(folder, 'offlineimap-state')}`,
      'ui = basic',
      '[Account a]',
      'localrepository = near',
      'remoterepository = far',
      '[Repository near]',
      'type = Maildir',
      `localfolders = ${local}`,
      '[Repository far]',
      'type = IMAP',
      'remotehost = localhost',
      `remoteport = ${epost.port('imaps')}`,
      `remoteuser = ${address(users.offlineimap)}`,
      `remotepass = ${epost.password(address(users.offlineimap))}`,
      'ssl = yes',
      `sslcacertfile = ${certificate}`,
      'expunge = yes',
    ]);
    const mail = await open(users.offlineimap);
    await mail.imap.append('INBOX', text(users.offlineimap), []);
    await mail.imap.append('INBOX', attached(users.offlineimap), ['\\Seen']);
    const sync = async (): Promise<string> =>
      good(await run(program('offlineimap'), ['-c', file, '-o'], { env: { HOME: folder } }));
    await sync();
    const inbox = path.join(local, 'INBOX');
    expect((await maildir(inbox)).map(({ flags }) => flags).sort()).toEqual(['', 'S']);
    const before = await state(mail);
    expect(await sync()).not.toMatch(/Copy|Adding|Deleting|Changing|Expung/i);
    expect(await state(mail)).toEqual(before);

    await writeFile(path.join(inbox, 'new', '1.journey.test'), 'Subject: written here\n\nx\n');
    await mail.imap.mailboxCreate('Projects');
    await mail.imap.append('Projects', text(users.offlineimap), ['\\Flagged']);
    await mail.imap.mailboxOpen('INBOX');
    await mail.imap.messageDelete('2', { uid: true });
    await sync();
    expect((await mail.messages()).map(({ bytes }) => subject(bytes))).toEqual(['plain', 'written here']);
    expect((await maildir(inbox)).map(({ bytes }) => subject(bytes)).sort()).toEqual(['plain', 'written here']);
    expect((await maildir(path.join(local, 'Projects'))).map(({ flags }) => flags)).toEqual(['F']);
    mail.close();
  });
});

describe.skipIf(missing('interimap'))('interimap', () => {
  test('keeps two mailboxes the same by QRESYNC, and transfers nothing where nothing changed', async () => {
    const side = (name: string, user: string): string[] => [
      `[${name}]`,
      'type = imaps',
      'host = localhost',
      `port = ${epost.port('imaps')}`,
      `username = ${address(user)}`,
      `password = ${epost.password(address(user))}`,
      `SSL_CAfile = ${certificate}`,
    ];
    const file = await config('interimaprc', [
      `database = ${path.join(folder, 'interimap.db')}`,
      ...side('local', users.near),
      ...side('remote', users.far),
    ]);
    const near = await open(users.near);
    const far = await open(users.far);
    await near.imap.append('INBOX', text(users.near), []);
    await near.imap.append('INBOX', attached(users.near), ['\\Seen', 'Work']);
    await far.imap.append('Drafts', text(users.far), ['\\Draft']);
    const sync = async (...args: string[]): Promise<string> =>
      good(await run(program('interimap'), ['--config', file, ...args], { env: { HOME: folder } }));
    await sync();
    expect(await far.messages()).toEqual(await near.messages());
    expect(await near.messages('Drafts')).toEqual(await far.messages('Drafts'));

    await near.imap.mailboxOpen('INBOX');
    await near.imap.messageDelete('1', { uid: true });
    await far.imap.mailboxOpen('INBOX');
    await far.imap.messageFlagsAdd('2', ['\\Flagged'], { uid: true });
    await sync();
    for (const mail of [near, far]) {
      expect((await mail.messages()).map(({ uid, flags }) => ({ uid, flags: [...flags].sort() }))).toEqual([
        { uid: 2, flags: ['Work', '\\Flagged', '\\Seen'] },
      ]);
    }
    const before = [await state(near), await state(far)];
    await sync();
    expect([await state(near), await state(far)]).toEqual(before);
    // Asks both for everything and compares: its own memory of what it did against what there is.
    expect(await sync('--repair')).not.toMatch(/warning|error|missing/i);
    near.close();
    far.close();
  });
});

describe.skipIf(missing('fetchmail'))('fetchmail', () => {
  test('takes what is new to its own program and deletes it here, over STARTTLS', async () => {
    const taken = path.join(folder, 'taken');
    const file = await config('fetchmailrc', [
      `poll localhost protocol imap port ${epost.port('imap')}`,
      `  user "${address(users.fetchmail)}" password "${epost.password(address(users.fetchmail))}"`,
      `  sslproto "TLS1.2+" sslcertck sslcertfile "${certificate}"`,
      `  mda "cat >> ${taken}"`,
    ]);
    const mail = await open(users.fetchmail);
    await mail.imap.append('INBOX', text(users.fetchmail), []);
    await mail.imap.append('INBOX', attached(users.fetchmail), []);
    await mail.imap.append('INBOX', message({ from: 'a@b.test', to: 'x@y.test', subject: 'read' }), ['\\Seen']);
    const fetch = (): Promise<Outcome> =>
      run(program('fetchmail'), ['--nosyslog', '-f', file], { env: { FETCHMAILHOME: folder } });
    good(await fetch());
    const got = await readFile(taken, 'utf8');
    expect(got.match(/^Subject: .*/gm)).toEqual(['Subject: plain', 'Subject: attached']);
    expect((await mail.messages()).map(({ bytes }) => subject(bytes))).toEqual(['read']);
    // fetchmail's own code for: there was no mail.
    expect((await fetch()).code).toBe(1);
    mail.close();
  });
});

const noPython = missingPython('imaplib', 'smtplib');

describe.skipIf(noPython)(`Python's imaplib and smtplib`, () => {
  test('send in UTF-8, and read the copy in Sent and what came', async () => {
    const script = path.join(folder, 'journey.py');
    await writeFile(
      script,
      `
import imaplib, smtplib, ssl, sys, time
from email.message import EmailMessage
from email import policy, message_from_bytes
user, password, imaps, submission, certificate = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
m = EmailMessage(policy=policy.SMTPUTF8)
m['From'], m['To'], m['Subject'] = user, user, 'Grüße aus Python'
m.set_content('Schöne Grüße\\n')
with smtplib.SMTP('localhost', int(submission)) as s:
    s.starttls(context=context)
    s.login(user, password)
    assert s.send_message(m, mail_options=['SMTPUTF8', 'BODY=8BITMIME']) == {}
with imaplib.IMAP4_SSL('localhost', int(imaps), ssl_context=context) as i:
    i.login(user, password)
    i.enable('UTF8=ACCEPT')
    for folder in ('Sent', 'INBOX'):
        for _ in range(600):
            assert i.select(folder)[0] == 'OK'
            i.literal = 'Grüße'.encode()
            found = i.uid('SEARCH', 'SUBJECT')[1][0].split()
            if found: break
            time.sleep(0.05)
        assert len(found) == 1, (folder, found)
        got = message_from_bytes(i.uid('FETCH', found[0], '(BODY.PEEK[])')[1][0][1], policy=policy.default)
        assert got['Subject'] == 'Grüße aus Python', got['Subject']
        assert got.get_content().strip() == 'Schöne Grüße', got.get_content()
        assert i.uid('STORE', found[0], '+FLAGS', '(\\\\Answered)')[0] == 'OK'
        assert i.uid('SEARCH', 'ANSWERED')[1] == [found[0]]
`,
    );
    // The mailbox that fetchmail left.
    const user = address(users.fetchmail);
    const ports = [epost.port('imaps'), epost.port('submission')].map(String);
    good(await run(pythonPath(), [script, user, epost.password(user), ...ports, certificate]));
  });
});

describe.skipIf(missing('neomutt', 'tmux'))('neomutt', () => {
  test('opens the inbox, reads a message, sends one, deletes one, and sees what comes while it is open', async () => {
    const user = address(users.neomutt);
    const own = path.join(folder, 'neomutt');
    await mkdir(own);
    // What it is given for an editor: neomutt asks for the text of a message in no other way.
    await writeFile(path.join(own, 'editor'), '#!/bin/sh\nprintf "Written in neomutt.\\n" >> "$1"\n', { mode: 0o755 });
    const file = await config('neomuttrc', [
      `set folder="imaps://localhost:${epost.port('imaps')}/"`,
      'set spoolfile="+INBOX"',
      `set imap_user="${user}" imap_pass="${epost.password(user)}"`,
      `set smtp_url="smtp://${user}@localhost:${epost.port('submission')}" smtp_pass="${epost.password(user)}"`,
      `set ssl_force_tls=yes certificate_file="${certificate}"`,
      `set from="${user}" record="+Sent" postponed="+Drafts" editor="${path.join(own, 'editor')}"`,
      'set mail_check=1 timeout=1 sort=date delete=yes trash="+Trash"',
    ]);
    const mail = await open(users.neomutt);
    await mail.imap.append('INBOX', text(users.neomutt), []);
    await mail.imap.append('INBOX', attached(users.neomutt), []);
    const terminal = await Terminal.open(`${program('neomutt')} -F ${file}`, own);
    try {
      expect(await terminal.shows('Msgs:2')).toMatch(/friend@sender.*plain[^]*friend@sender.*attached/);
      await terminal.type('', 'Home', 'Enter');
      await terminal.shows('It works.');
      await terminal.type('q');
      await until('it is marked as read', async () => (await mail.messages())[0]?.flags.has('\\Seen') === false);
      await terminal.type('m');
      await terminal.shows('To:');
      await terminal.type(user, 'Enter');
      await terminal.shows('Subject:');
      await terminal.type('from neomutt', 'Enter');
      await terminal.shows('y:Send');
      await terminal.type('y');
      await mail.waitForText('Written in neomutt.');
      await terminal.shows('from neomutt');
      // It puts the copy into Sent itself, as submission does: there is one.
      await until('the copy is in Sent', async () => (await mail.messages('Sent')).length > 0);
      await terminal.shows('Msgs:3');
      expect((await mail.messages('Sent')).map(({ bytes }) => subject(bytes))).toEqual(['from neomutt']);

      await terminal.type('', 'Home');
      await terminal.type('d');
      await terminal.type('$');
      await terminal.shows('Msgs:2');
      expect((await mail.messages()).map(({ bytes }) => subject(bytes))).toEqual(['attached', 'from neomutt']);
      expect((await mail.messages('Trash')).map(({ bytes }) => subject(bytes))).toEqual(['plain']);
      await terminal.type('q');
    } finally {
      await terminal.close();
      mail.close();
    }
  });
});

interface Local {
  readonly flags: string;
  readonly bytes: Buffer;
}

async function maildir(where: string): Promise<Local[]> {
  const found: Local[] = [];
  for (const part of ['cur', 'new']) {
    for (const name of await readdir(path.join(where, part)))
      found.push({ flags: name.split(':2,')[1] ?? '', bytes: await readFile(path.join(where, part, name)) });
  }
  return found;
}
