import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ImapFlow } from 'imapflow';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missing, missingPython, program, pythonPath } from '../../needs.ts';
import { type ImapFixture, makeImap, password } from './access-fixture.ts';

const run = promisify(execFile);

let imap: ImapFixture;
let dir: string;
beforeEach(async () => {
  imap = await makeImap();
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-clients-'));
});
afterEach(async () => {
  await imap.stop();
  await rm(dir, { recursive: true, force: true });
});

function message(subject: string, body = 'Hello,\r\nworld'): Buffer {
  return Buffer.from(
    `From: "B. Ob" <bob@example.org>\r\nTo: alice@example.org\r\nSubject: ${subject}\r\nDate: Tue, 1 Feb 2022 10:00:00 +0200\r\nMessage-ID: <${subject}@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${body}\r\n--b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Disposition: attachment; filename="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n`,
  );
}

describe('imapflow', () => {
  const connect = async (): Promise<ImapFlow> => {
    const client = new ImapFlow({
      host: '127.0.0.1',
      port: imap.port,
      secure: false,
      doSTARTTLS: true,
      tls: { rejectUnauthorized: false },
      auth: { user: 'alice@example.org', pass: password },
      logger: false,
    });
    await client.connect();
    return client;
  };

  it('finds folders by their use, appends, fetches, flags, moves and searches', async () => {
    const client = await connect();
    try {
      const folders = await client.list();
      expect(folders.map(({ path, specialUse }) => [path, specialUse ?? ''])).toEqual(
        expect.arrayContaining([
          ['INBOX', '\\Inbox'],
          ['Sent', '\\Sent'],
          ['Trash', '\\Trash'],
        ]),
      );
      const bytes = message('one');
      expect(await client.append('INBOX', bytes, ['\\Flagged'])).toMatchObject({ uid: 1 });
      await client.append('INBOX', message('two'));
      const lock = await client.getMailboxLock('INBOX');
      try {
        const one = await client.fetchOne('1', { source: true, envelope: true, bodyStructure: true, flags: true });
        if (one === false) throw new Error('the message was not found');
        expect(one.source?.equals(bytes)).toBe(true);
        expect(one.envelope?.from?.[0]).toMatchObject({ name: 'B. Ob', address: 'bob@example.org' });
        expect(one.bodyStructure?.childNodes?.map(({ type }) => type)).toEqual(['text/plain', 'application/pdf']);
        expect(await client.search({ subject: 'two', seen: false })).toEqual([2]);
        await client.messageFlagsAdd('1', ['$Forwarded']);
        expect(await client.messageMove('1', 'Trash')).toMatchObject({ destination: 'Trash' });
        expect(client.mailbox === false ? 0 : client.mailbox.exists).toBe(1);
      } finally {
        lock.release();
      }
      expect(await client.status('Trash', { messages: true })).toMatchObject({ messages: 1 });
    } finally {
      await client.logout();
    }
  });

  it('hears of new mail while it idles', async () => {
    const client = await connect();
    try {
      await client.mailboxOpen('INBOX');
      const heard = new Promise<number>((resolve) => client.once('exists', ({ count }) => resolve(count)));
      const idling = client.idle();
      const inbox = await imap.account.mailbox.folder('INBOX');
      await inbox?.append(message('new'), { flags: [], internalDate: Date.now() });
      expect(await heard).toBe(1);
      await client.noop();
      await idling;
    } finally {
      await client.logout();
    }
  });
});

const noPython = missingPython('imaplib');

describe.skipIf(noPython !== undefined)(`Python's imaplib${noPython ?? ''}`, () => {
  it('appends, copies and reads through STARTTLS', async () => {
    const script = `
import imaplib, ssl, sys
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
m = imaplib.IMAP4('127.0.0.1', int(sys.argv[1])); m.starttls(ctx); m.login('alice@example.org', sys.argv[2])
data = sys.stdin.buffer.read()
assert m.append('INBOX', '(\\\\Seen)', imaplib.Time2Internaldate(1000000000), data)[0] == 'OK'
assert m.select() == ('OK', [b'1'])
assert m.copy('1', 'Trash')[0] == 'OK'
got = m.fetch('1', '(RFC822)')[1][0][1]
assert got == data, got
assert m.search(None, 'SINCE', '1-Jan-2001')[1] == [b'1']
m.store('1', '+FLAGS', '\\\\Deleted'); assert m.expunge()[1] == [b'1']
m.close(); m.logout()
`;
    const file = path.join(dir, 'try.py');
    await writeFile(file, script);
    const child = run(pythonPath(), [file, String(imap.port), password]);
    child.child.stdin?.end(message('from python'));
    await child;
    expect((await imap.account.mailbox.folder('Trash'))?.entries()).toHaveLength(1);
    expect((await imap.account.mailbox.folder('INBOX'))?.entries()).toHaveLength(0);
  });
});

const noCurl = missing('curl');

describe.skipIf(noCurl !== undefined)(`curl ${noCurl ?? ''}`, () => {
  it('reads a message by its UID, and uploads one', async () => {
    const bytes = message('curl');
    await writeFile(path.join(dir, 'mail.eml'), bytes);
    const url = `imaps://127.0.0.1:${imap.securePort}/INBOX`;
    const common = ['-sS', '-k', '-u', `alice@example.org:${password}`];
    await run(program('curl'), [...common, '-T', path.join(dir, 'mail.eml'), url]);
    await run(program('curl'), [...common, '-o', path.join(dir, 'got.eml'), `${url};UID=1`]);
    expect(bytes.equals(await readFile(path.join(dir, 'got.eml')))).toBe(true);
    const part = await run(program('curl'), [...common, `${url};UID=1;SECTION=1`]);
    expect(part.stdout).toBe('Hello,\r\nworld');
  });
});

const noMbsync = missing('mbsync');

describe.skipIf(noMbsync !== undefined)(`mbsync ${noMbsync ?? ''}`, () => {
  it('synchronises both ways, and a second run changes nothing', async () => {
    const inbox = await imap.account.mailbox.folder('INBOX');
    for (const subject of ['a', 'b', 'c']) {
      await inbox?.append(message(subject), {
        flags: subject === 'b' ? ['\\Seen'] : [],
        internalDate: 1_000_000_000_000,
      });
    }
    const local = path.join(dir, 'mail');
    await mkdir(path.join(local, 'Drafts', 'new'), { recursive: true });
    for (const name of ['cur', 'tmp']) await mkdir(path.join(local, 'Drafts', name));
    await writeFile(
      path.join(local, 'Drafts', 'new', '1.1.host'),
      message('draft').toString().replaceAll('\r\n', '\n'),
    );
    const config = path.join(dir, 'mbsyncrc');
    await writeFile(config, mbsyncConfig(imap.port, local, path.join(dir, 'cert.pem')));
    const sync = async (): Promise<string> => {
      const { stdout, stderr } = await run(program('mbsync'), ['-V', '-c', config, '-a'], {
        env: { ...process.env, HOME: dir },
      });
      return stdout + stderr;
    };
    await writeFile(path.join(dir, 'cert.pem'), imap.certificate);
    await sync();
    expect(await maildir(path.join(local, 'INBOX'))).toHaveLength(3);
    const drafts = await imap.account.mailbox.folder('Drafts');
    expect(drafts?.entries()).toHaveLength(1);
    const before = [inbox, drafts].map((folder) => folder?.entries());
    await sync();
    expect([inbox, drafts].map((folder) => folder?.entries())).toEqual(before);
    expect(await maildir(path.join(local, 'INBOX'))).toHaveLength(3);
    await inbox?.expunge([1]);
    await inbox?.setFlags([2], 'add', ['\\Flagged']);
    await sync();
    const names = await maildir(path.join(local, 'INBOX'));
    expect(names).toHaveLength(2);
    expect(names.filter((name) => name.endsWith(':2,FS'))).toHaveLength(1);
  });
});

function mbsyncConfig(port: number, local: string, certificate: string): string {
  return `
IMAPAccount node
Host 127.0.0.1
Port ${port}
User alice@example.org
Pass "${password}"
SSLType STARTTLS
CertificateFile ${certificate}
AuthMechs PLAIN

IMAPStore far
Account node

MaildirStore near
Path ${local}/
Inbox ${local}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`;
}

async function maildir(folder: string): Promise<string[]> {
  const names = await Promise.all(['cur', 'new'].map(async (part) => await readdir(path.join(folder, part))));
  return names.flat();
}
