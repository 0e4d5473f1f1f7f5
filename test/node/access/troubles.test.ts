import { afterEach, describe, expect, it } from 'vitest';
import type { Login } from '../../../node/access/account.ts';
import { startImap } from '../../../node/access/imap/server.ts';
import { submissionLimits } from '../../../node/access/submission/limits.ts';
import { startSubmission } from '../../../node/access/submission/server.ts';
import { type ImapFixture, keptLog, localTls, makeImap, password, quickGate } from './access-fixture.ts';
import { DialogClient } from './dialog.ts';

let fixture: ImapFixture | undefined;
const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await fixture?.stop();
  fixture = undefined;
});

async function client(port: number): Promise<DialogClient> {
  const opened = await DialogClient.connect(port, true);
  closing.push(() => opened.close());
  await opened.line();
  return opened;
}

const warnings = (log: ReturnType<typeof keptLog>): string[] =>
  log.lines.filter(({ level }) => level !== 'debug' && level !== 'info').map(({ message }) => message);

describe('when the ring does not answer', () => {
  it('what would be written is refused with UNAVAILABLE, one line in the log each, and reading goes on', async () => {
    const log = keptLog();
    fixture = await makeImap({ log });
    const inbox = await fixture.account.mailbox.folder('INBOX');
    await inbox!.append(Buffer.from('Subject: here\r\n\r\n'), { flags: [], internalDate: 0 });
    const imap = await client(fixture.securePort);
    await imap.command(`a LOGIN alice@example.org "${password}"`);
    await imap.command('b SELECT INBOX');
    fixture.mailbox.post.down = true;
    // The first flags are answered before anybody knows; then the program is told what they are.
    expect((await imap.command('b STORE 1 +FLAGS (\\Flagged)')).at(-1)).toBe('b OK stored');
    expect(await imap.command('b NOOP')).toContain('* 1 FETCH (FLAGS ())');
    expect(warnings(log)).toEqual(['a change of flags was answered and could not be written; the program is told']);
    log.lines.length = 0;
    for (const text of [
      'c STORE 1 +FLAGS (\\Flagged)',
      'd COPY 1 Drafts',
      'e CREATE New',
      'f APPEND INBOX {6+}\r\na: b\r\n',
    ]) {
      expect((await imap.command(text)).at(-1)).toMatch(/^. NO \[UNAVAILABLE\] /);
    }
    expect(warnings(log)).toEqual(Array.from({ length: 4 }, () => 'an IMAP command could not be done'));
    expect(await imap.command('g FETCH 1 (FLAGS BODY[HEADER])')).toContain('* 1 FETCH (FLAGS () BODY[HEADER] {17}');
    fixture.mailbox.post.down = false;
    expect((await imap.command('h STORE 1 +FLAGS (\\Flagged)')).at(-1)).toMatch(/^h OK /);
  });
});

describe('when every holder of a message has lost it', () => {
  it('a message that says so is shown, also after its header was remembered, and is not remembered itself', async () => {
    fixture = await makeImap();
    const inbox = await fixture.account.mailbox.folder('INBOX');
    await inbox!.append(Buffer.from('Subject: dear\r\n\r\ntext\r\n'), { flags: [], internalDate: 0 });
    fixture.mailbox.post.store.blocks.clear();
    const imap = await client(fixture.securePort);
    await imap.command(`a LOGIN alice@example.org "${password}"`);
    await imap.command('b SELECT INBOX');
    const shown = await imap.command('c FETCH 1 (ENVELOPE)');
    expect(shown.join('\n')).toContain('This message cannot be read any more');
    expect(inbox!.summary(1)).toBeUndefined();
    const body = await imap.command('d FETCH 1 (BODY.PEEK[TEXT])');
    expect(body.join('\n')).toContain('SHA-256 of the message');
    expect(body.at(-1)).toMatch(/^d OK /);
  });
});

describe('a user whose certificate does not hold', () => {
  const reason = 'your certificate in this ring does not hold (expired); ask who administers the ring for a new one';
  const accounts = { login: async (): Promise<Login> => ({ kind: 'barred', reason }) };

  it('is told so by IMAP when the password is right, with one line in the log', async () => {
    const log = keptLog();
    const imap = await startImap({
      listen: [{ host: '127.0.0.1', port: 0, tls: 'implicit' }],
      tls: await localTls(),
      accounts,
      gate: quickGate(accounts),
      now: Date.now,
      log,
    });
    closing.push(async () => await imap.stop(100));
    const opened = await client(imap.ports[0] ?? 0);
    expect(await opened.command('a LOGIN alice@example.org x')).toEqual([`a NO [CONTACTADMIN] ${reason}`]);
    expect(warnings(log)).toHaveLength(1);
  });

  it('is told so by submission too', async () => {
    const log = keptLog();
    const listener = await startSubmission({
      host: '127.0.0.1',
      port: 0,
      implicitTls: true,
      tls: await localTls(),
      accounts,
      gate: quickGate(accounts),
      hostname: 'node.example.org',
      limits: submissionLimits,
      now: Date.now,
      log,
      trace: () => undefined,
      newTraceId: () => 'T',
    });
    closing.push(async () => await listener.stop(100));
    const opened = await client(listener.port);
    opened.send('EHLO me.example.net\r\n');
    while (!(await opened.line()).startsWith('250 ')) continue;
    opened.send(`AUTH PLAIN ${Buffer.from('\0alice@example.org\0x').toString('base64')}\r\n`);
    expect(await opened.line()).toBe(`525 5.7.13 ${reason}`);
    expect(warnings(log)).toHaveLength(1);
  });
});

describe('a user who is put out of the ring while his programs are connected', () => {
  it.each(['', 'b IDLE'])('is told why by BYE, with one line in the log each (%j)', async (waiting) => {
    const log = keptLog();
    fixture = await makeImap({ log, limits: { standingMs: 20 } });
    const reason = 'your certificate in this ring does not hold (revoked)';
    let over: string | undefined;
    Object.assign(fixture.account, { over: () => over });
    const imap = await client(fixture.securePort);
    await imap.command(`a LOGIN alice@example.org "${password}"`);
    if (waiting !== '') {
      imap.send(`${waiting}\r\n`);
      expect(await imap.line()).toBe('+ idling');
    }
    over = reason;
    expect(await imap.line()).toBe(`* BYE ${reason}`);
    expect(warnings(log)).toEqual(['a session is ended: its user may not go on']);
  });
});
