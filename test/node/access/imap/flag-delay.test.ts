import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ImapLimits } from '../../../../node/access/imap/limits.ts';
import type { Folder } from '../../../../node/mail/folder.ts';
import { type HeldWrites, holdWrites } from '../../mail/held-writes.ts';
import { type ImapFixture, makeImap, password } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let fixture: ImapFixture;
let inbox: Folder;
let held: HeldWrites;
const clients: DialogClient[] = [];

async function start(limits: Partial<ImapLimits> = { flagDelayMs: 3_600_000 }): Promise<void> {
  fixture = await makeImap({ limits });
  held = holdWrites(fixture.mailbox.post);
  inbox = (await fixture.mailbox.mailbox.folder('INBOX'))!;
  for (let n = 1; n <= 3; n += 1)
    await inbox.append(Buffer.from(`Subject: ${n}\r\n\r\ntext`), { flags: [], internalDate: n });
}
beforeEach(async () => await start());
afterEach(async () => {
  held.release();
  for (const client of clients.splice(0)) client.close();
  await fixture.stop();
});

async function session(select = 'SELECT INBOX'): Promise<DialogClient> {
  const client = await DialogClient.connect(fixture.securePort, true);
  clients.push(client);
  await client.line();
  await client.command(`a LOGIN alice@example.org "${password}"`);
  await client.command(`b ${select}`);
  return client;
}

/** Whether the command is answered although writes are held; then they are let go. */
async function answeredWhileHeld(answer: Promise<string[]>): Promise<boolean> {
  await held.waiting();
  // Another conversation's round trip comes after whatever could have been said by now.
  const other = await session('NOOP');
  const early = await Promise.race([answer.then(() => true), other.command('z NOOP').then(() => false)]);
  held.release();
  await answer;
  return early;
}

describe('STORE before it is written', () => {
  it('is answered, and its session goes on with what it set', async () => {
    const one = await session();
    held.hold();
    expect(await one.command('c STORE 1 +FLAGS (\\Flagged)')).toEqual(['* 1 FETCH (FLAGS (\\Flagged))', 'c OK stored']);
    await held.waiting();
    expect(await one.command('d STORE 1:2 +FLAGS.SILENT (\\Seen)')).toEqual(['d OK stored']);
    expect(await one.command('e FETCH 1:2 (FLAGS)')).toEqual([
      '* 1 FETCH (FLAGS (\\Seen \\Flagged))',
      '* 2 FETCH (FLAGS (\\Seen))',
      'e OK fetched',
    ]);
    expect(await one.command('f SEARCH UNSEEN')).toEqual(['* SEARCH 3', 'f OK searched']);
    // Reading marks, too.
    expect((await one.command('g FETCH 3 (BODY[TEXT])')).join(' ')).toContain('FLAGS (\\Seen)');
    expect(inbox.unseen).toBe(3);
    held.release();
    // Nothing of it is told again when it is written.
    expect(await one.command('h NOOP')).toEqual(['h OK done']);
    expect(inbox.unseen).toBe(0);
  });

  it.each([
    ['STORE of who is told mod-sequences', 'SELECT INBOX (CONDSTORE)', 'STORE 1 +FLAGS (\\Seen)'],
    ['STORE with a condition', 'SELECT INBOX', 'STORE 1 (UNCHANGEDSINCE 1000) +FLAGS (\\Seen)'],
    ['APPEND', 'NOOP', 'APPEND INBOX {14+}\r\nSubject: x\r\n\r\n'],
    ['COPY', 'SELECT INBOX', 'COPY 1 INBOX'],
    ['a new keyword, which can be refused', 'SELECT INBOX', 'STORE 1 +FLAGS (Work)'],
  ])('is no matter of %s, which waits', async (_, select, command) => {
    const one = await session(select);
    held.hold();
    expect(await answeredWhileHeld(one.command(`c ${command}`))).toBe(false);
  });

  it('is seen by other sessions: they wait for it', async () => {
    const [one, two] = [await session(), await session()];
    for (const [command, answer] of [
      ['FETCH 1 (FLAGS)', '* 1 FETCH (FLAGS (\\Seen))'],
      ['SEARCH UNSEEN', '* SEARCH 2 3'],
      ['STATUS INBOX (UNSEEN)', '* STATUS INBOX (UNSEEN 2)'],
    ] as const) {
      await inbox.setFlags([1], 'remove', ['\\Seen']);
      held.hold();
      await one.command('c STORE 1 +FLAGS.SILENT (\\Seen)');
      const seen = two.command(`d ${command}`);
      expect(await answeredWhileHeld(seen)).toBe(false);
      expect(await seen).toContain(answer);
    }
  });

  it('is written before its session does anything else with the messages', async () => {
    const one = await session();
    for (const [command, answer] of [
      ['COPY 2 Trash', /COPYUID/],
      ['EXPUNGE', /1 EXPUNGE/],
      ['NOOP', /done/],
      ['FETCH 1 (MODSEQ)', /MODSEQ/],
    ] as const) {
      await inbox.setFlags([1, 2, 3], 'set', []);
      await one.command('c NOOP');
      held.hold();
      await one.command('c STORE 1 +FLAGS.SILENT (\\Deleted)');
      await one.command('c STORE 1 +FLAGS.SILENT (\\Flagged)');
      const done = one.command(`d ${command}`);
      expect(await answeredWhileHeld(done)).toBe(false);
      expect((await done).join('\n')).toMatch(answer);
    }
    const [mod] = await one.command('e FETCH 1 (FLAGS MODSEQ)');
    expect(mod).toBe(`* 1 FETCH (FLAGS (\\Flagged \\Deleted) MODSEQ (${inbox.entries()[0]?.modseq}))`);
  });

  it('and then cannot be: the program is told what the flags are, and the next one waits', async () => {
    const one = await session();
    held.hold();
    await one.command('c STORE 1 +FLAGS (\\Seen)');
    await held.waiting();
    fixture.mailbox.post.down = true;
    held.release();
    expect(await one.command('d NOOP')).toEqual(['* 1 FETCH (FLAGS ())', 'd OK done']);
    expect((await one.command('e STORE 1 +FLAGS (\\Seen)')).at(-1)).toMatch(/^e NO \[UNAVAILABLE\]/);
    fixture.mailbox.post.down = false;
    expect((await one.command('f STORE 1 +FLAGS (\\Seen)')).at(-1)).toBe('f OK stored');
  });

  it('is not answered where the setting says so', async () => {
    await fixture.stop();
    await start({ flagDelayMs: 0 });
    const one = await session();
    held.hold();
    expect(await answeredWhileHeld(one.command('c STORE 1 +FLAGS (\\Seen)'))).toBe(false);
  });
});
