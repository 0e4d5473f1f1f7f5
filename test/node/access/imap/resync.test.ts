import { afterEach, describe, expect, it } from 'vitest';
import { intersection } from '../../../../node/access/imap/session/resync.ts';
import type { Folder } from '../../../../node/mail/folder.ts';
import { type ImapFixture, makeImap, password } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let fixture: ImapFixture | undefined;
const clients: DialogClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await fixture?.stop();
});

async function inboxOf(count: number): Promise<Folder> {
  fixture = await makeImap();
  const inbox = await fixture.account.mailbox.folder('INBOX');
  for (let number = 0; number < count; number += 1)
    await inbox!.append(Buffer.from(`Subject: ${number}\r\n\r\n`), { flags: [], internalDate: 0 });
  return inbox!;
}

async function qresyncClient(): Promise<DialogClient> {
  const client = await DialogClient.connect(fixture!.securePort, true);
  clients.push(client);
  await client.line();
  await client.command(`a LOGIN alice@example.org "${password}"`);
  await client.command('b ENABLE QRESYNC');
  return client;
}

const news = (lines: readonly string[]): string[] => lines.filter((line) => /^\* (VANISHED|\d+ FETCH)/.test(line));

describe('SELECT with what the client knew (RFC 7162 §3.2.5)', () => {
  it('tells what went and what changed since, within the UIDs the client knows', async () => {
    const inbox = await inboxOf(8);
    const modseq = inbox.highestModseq;
    await inbox.expunge([2, 5, 6]);
    await inbox.setFlags([3, 7], 'add', ['\\Seen']);
    const client = await qresyncClient();
    const all = await client.command(`c SELECT INBOX (QRESYNC (${inbox.uidValidity} ${modseq}))`);
    expect(news(all)).toEqual([
      '* VANISHED (EARLIER) 2,5:6',
      `* 2 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (${modseq + 2}))`,
      `* 4 FETCH (UID 7 FLAGS (\\Seen) MODSEQ (${modseq + 2}))`,
    ]);
    const some = await client.command(`d SELECT INBOX (QRESYNC (${inbox.uidValidity} ${modseq} 1:5 (1 1)))`);
    expect(news(some)).toEqual(['* VANISHED (EARLIER) 2,5', `* 2 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (${modseq + 2}))`]);
    const nothing = await client.command(`e SELECT INBOX (QRESYNC (${inbox.uidValidity} ${inbox.highestModseq}))`);
    expect(news(nothing)).toEqual([]);
    const other = await client.command(`f SELECT INBOX (QRESYNC (${inbox.uidValidity + 1} ${modseq}))`);
    expect(news(other)).toEqual([]);
  });

  it('tells every UID that is not there where it is not remembered any more which went since', async () => {
    const inbox = await inboxOf(6);
    const modseq = inbox.highestModseq;
    await inbox.expunge([2]);
    await inbox.expunge([4, 6]);
    Object.defineProperty(inbox, 'expungedSince', { value: () => undefined });
    const client = await qresyncClient();
    const lines = await client.command(`c SELECT INBOX (QRESYNC (${inbox.uidValidity} ${modseq}))`);
    expect(news(lines)).toEqual(['* VANISHED (EARLIER) 2,4,6']);
  });

  it('another session hears of what goes by VANISHED', async () => {
    const inbox = await inboxOf(4);
    const client = await qresyncClient();
    await client.command('c SELECT INBOX');
    await inbox.expunge([1, 2, 4]);
    expect(news(await client.command('d NOOP'))).toEqual(['* VANISHED 1:2,4']);
  });
});

describe('STORE only what has not changed', () => {
  it('of two at the same time one is refused, also when they go into the same head', async () => {
    const inbox = await inboxOf(2);
    const known = inbox.highestModseq;
    const [first, second] = await Promise.all([
      inbox.setFlagsIfUnchanged([1], 'add', ['\\Seen'], known),
      inbox.setFlagsIfUnchanged([1, 2], 'add', ['\\Flagged'], known),
    ]);
    expect(first.modified).toEqual([]);
    expect(second.modified).toEqual([1]);
    expect(inbox.entry(1)?.flags).toEqual(['\\Seen']);
    expect(inbox.entry(2)?.flags).toEqual(['\\Flagged']);
    expect((await inbox.setFlagsIfUnchanged([1], 'add', ['\\Draft'], known)).modified).toEqual([1]);
    expect((await inbox.setFlagsIfUnchanged([1], 'add', ['\\Draft'], inbox.highestModseq)).modified).toEqual([]);
  });
});

it('what two lists of ranges have in common', () => {
  const ranges = (...pairs: readonly [number, number][]) => pairs.map(([from, to]) => ({ from, to }));
  expect(intersection(ranges([1, 5], [8, 9], [12, 12]), ranges([3, 8], [12, 20]))).toEqual(
    ranges([3, 5], [8, 8], [12, 12]),
  );
  expect(intersection([], ranges([1, 2]))).toEqual([]);
});
