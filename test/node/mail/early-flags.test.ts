import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Folder, FolderChange } from '../../../node/mail/folder.ts';
import { type HeldWrites, holdWrites } from './held-writes.ts';
import { type MailboxFixture, makeMailbox } from './mailbox-fixture.ts';

let fixture: MailboxFixture;
let inbox: Folder;
let held: HeldWrites;
let now: number;
beforeEach(async () => {
  now = 1_000_000;
  fixture = await makeMailbox({ now: () => now });
  held = holdWrites(fixture.post);
  inbox = (await fixture.mailbox.folder('INBOX'))!;
  for (let n = 1; n <= 3; n += 1)
    await inbox.append(Buffer.from(`Subject: ${n}\r\n\r\n`), { flags: [], internalDate: n });
});
afterEach(async () => {
  held.release();
  await fixture.stop();
});

const delay = 250;
const flagsOf = (folder: Folder): (readonly string[])[] => folder.entries().map(({ flags }) => flags);

describe('a change of flags that is not waited for', () => {
  it('says what it makes of the messages, which the folder shows when it is written', async () => {
    const modseq = inbox.highestModseq;
    const told: FolderChange[] = [];
    inbox.onChange((change) => told.push(change));
    held.hold();
    const early = inbox.setFlagsEarly([1, 3, 9], 'add', ['\\seen'], delay)!;
    expect(early.entries.map(({ uid, flags }) => [uid, ...flags])).toEqual([
      [1, '\\Seen'],
      [3, '\\Seen'],
    ]);
    // Nobody is told a mod-sequence that a crash could take back.
    expect(early.entries.every((entry) => entry.modseq <= modseq)).toBe(true);
    await held.waiting();
    expect([flagsOf(inbox), inbox.highestModseq, inbox.unseen, told]).toEqual([[[], [], []], modseq, 3, []]);
    expect(inbox.unwritten).toBe(1);
    held.release();
    await inbox.settled();
    expect(flagsOf(inbox)).toEqual([['\\Seen'], [], ['\\Seen']]);
    expect([inbox.unwritten, inbox.unseen, told]).toEqual([0, 1, [{ kind: 'flags', uids: [1, 3] }]]);
    expect(inbox.highestModseq).toBeGreaterThan(modseq);
  });

  it('each sees those before it, and all are written in their order, many in one head', async () => {
    held.hold();
    const seen = inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay);
    await held.waiting();
    const heads = fixture.post.heads;
    expect(inbox.setFlagsEarly([1], 'add', ['\\Flagged'], delay)?.entries[0]?.flags).toEqual(['\\Seen', '\\Flagged']);
    expect(inbox.setFlagsEarly([1], 'remove', ['\\Seen'], delay)?.entries[0]?.flags).toEqual(['\\Flagged']);
    expect(inbox.setFlagsEarly([1, 2], 'set', ['\\Draft'], delay)?.entries.map(({ flags }) => flags)).toEqual([
      ['\\Draft'],
      ['\\Draft'],
    ]);
    const waited = inbox.setFlags([2], 'add', ['\\Deleted']);
    held.release();
    expect((await waited)[0]?.flags).toEqual(['\\Deleted', '\\Draft']);
    await seen?.written;
    expect(flagsOf(inbox)).toEqual([['\\Draft'], ['\\Deleted', '\\Draft'], []]);
    expect(fixture.post.heads).toBe(heads + 2);
    const reopened = await fixture.reopen({ deleteIndex: true });
    expect(flagsOf((await reopened.folder('INBOX'))!)).toEqual([['\\Draft'], ['\\Deleted', '\\Draft'], []]);
  });

  it('is waited for where the oldest is not written after the time set', async () => {
    held.hold();
    expect(inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay)).toBeDefined();
    now += delay - 1;
    expect(inbox.setFlagsEarly([2], 'add', ['\\Seen'], delay)).toBeDefined();
    now += 1;
    expect(inbox.setFlagsEarly([3], 'add', ['\\Seen'], delay)).toBeUndefined();
    held.release();
    await inbox.settled();
    expect(inbox.setFlagsEarly([3], 'add', ['\\Seen'], delay)).toBeDefined();
  });

  it('is waited for after one that could not be written, until one is', async () => {
    fixture.post.down = true;
    const early = inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay)!;
    await expect(early.written).rejects.toMatchObject({ code: 'unavailable' });
    await inbox.settled();
    expect(flagsOf(inbox)).toEqual([[], [], []]);
    fixture.post.down = false;
    expect(inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay)).toBeUndefined();
    await inbox.setFlags([1], 'add', ['\\Flagged']);
    expect(inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay)?.entries[0]?.flags).toEqual(['\\Seen', '\\Flagged']);
  });

  it('is waited for where it could still be refused, or is of many messages; a wrong flag is refused at once', async () => {
    expect(inbox.setFlagsEarly([1], 'add', ['Work'], delay)).toBeUndefined();
    await inbox.setFlags([1], 'add', ['Work']);
    expect(inbox.setFlagsEarly([2], 'add', ['work'], delay)?.entries[0]?.flags).toEqual(['Work']);
    expect(() => inbox.setFlagsEarly([1], 'add', ['\\Nonsense'], delay)).toThrow(/not a system flag/);
    expect(
      inbox.setFlagsEarly(
        Array.from({ length: 201 }, (_, n) => n + 1),
        'add',
        ['\\Seen'],
        delay,
      ),
    ).toBeUndefined();
  });

  it('that changes nothing is not written', async () => {
    await inbox.setFlags([1], 'add', ['\\Seen']);
    const heads = fixture.post.heads;
    await inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay)?.written;
    expect([inbox.unwritten, fixture.post.heads]).toEqual([0, heads]);
  });

  it('is seen by whoever gets the folder from its mailbox', async () => {
    held.hold();
    inbox.setFlagsEarly([1], 'add', ['\\Seen'], delay);
    await held.waiting();
    const got = fixture.mailbox.folder('INBOX').then((folder) => folder?.unseen);
    held.release();
    expect(await got).toBe(2);
  });

  it('is written before the mailbox is closed', async () => {
    inbox.setFlagsEarly([2], 'add', ['\\Seen'], delay);
    const reopened = await fixture.reopen({ deleteIndex: true });
    expect(flagsOf((await reopened.folder('INBOX'))!)).toEqual([[], ['\\Seen'], []]);
  });
});
