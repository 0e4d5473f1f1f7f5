import { afterEach, describe, expect, it } from 'vitest';
import { decodeOutline, encodeOutline, outlinedBytes, outlineOf } from '../../../node/access/imap/message/outline.ts';
import { Outliner, type OutlinerLimits, outlinerLimits } from '../../../node/access/outliner.ts';
import type { Folder } from '../../../node/mail/folder.ts';
import { type ImapFixture, makeImap, password, silent } from './access-fixture.ts';
import { DialogClient } from './dialog.ts';

let fixture: ImapFixture | undefined;
let client: DialogClient | undefined;
afterEach(async () => {
  client?.close();
  await fixture?.stop();
  fixture = undefined;
});

const message = (n: number, length = 0): Buffer =>
  Buffer.from(`Subject: number ${n}\r\nFrom: bob@example.org\r\n\r\n`.padEnd(length, 'x'));

/** alice's inbox with so many messages, of which nobody has made an outline; and how many messages were read since. */
async function inboxOf(count: number): Promise<{ inbox: Folder; read: () => number }> {
  fixture = await makeImap();
  const inbox = (await fixture.mailbox.mailbox.folder('INBOX'))!;
  for (let n = 1; n <= count; n += 1) await inbox.append(message(n), { flags: [], internalDate: n });
  const { store } = fixture.mailbox.post;
  const fetch = store.fetch.bind(store);
  let fetched = 0;
  store.fetch = async (key) => {
    fetched += 1;
    return fetch(key);
  };
  return { inbox, read: () => fetched };
}

// No rests: what they do to others is not to be seen here.
function outliner(limits: Partial<OutlinerLimits> = {}, now: () => number = () => 0): Outliner {
  return new Outliner({
    mailbox: fixture!.mailbox.mailbox,
    now,
    log: silent,
    limits: { ...outlinerLimits, workMs: 3_600_000, ...limits },
  });
}

const outlined = (folder: Folder): number[] =>
  folder
    .entries()
    .map(({ uid }) => uid)
    .filter((uid) => decodeOutline(folder.summary(uid)) !== undefined);

describe('messages are outlined before anyone asks', () => {
  it('all of them, so that a search in headers reads none', async () => {
    const { inbox, read } = await inboxOf(12);
    expect(outlined(inbox)).toEqual([]);
    expect(await outliner().pass()).toBe(12);
    expect(outlined(inbox)).toHaveLength(12);
    const before = read();
    client = await DialogClient.connect(fixture!.securePort, true);
    await client.line();
    await client.command(`a LOGIN alice@example.org "${password}"`);
    await client.command('b SELECT INBOX');
    expect(await client.command('c SEARCH SUBJECT "number 1"')).toContain('* SEARCH 1 10 11 12');
    expect(await client.command('d FETCH 3 (ENVELOPE)')).toContainEqual(expect.stringContaining('"number 3"'));
    expect(read()).toBe(before);
  });

  it('once: a second pass looks at what has come since, one after a restart finds what is made', async () => {
    const { inbox, read } = await inboxOf(5);
    const one = outliner();
    expect(await one.pass()).toBe(5);
    const before = read();
    expect(await one.pass()).toBe(0);
    expect(await outliner().pass()).toBe(0);
    expect(read()).toBe(before);
    await inbox.append(message(6), { flags: [], internalDate: 6 });
    expect(await one.pass()).toBe(1);
    expect(outlined(inbox)).toHaveLength(6);
  });

  it('what searches look at is made of outlines that are there, without reading a message', async () => {
    const { inbox, read } = await inboxOf(4);
    for (const { uid } of inbox.entries()) {
      const bytes = Buffer.from(await inbox.bytes(uid));
      inbox.keepSummary(uid, encodeOutline(outlineOf(bytes)));
    }
    const before = read();
    expect(inbox.entries().some(({ uid }) => inbox.hasTexts(uid))).toBe(false);
    expect(await outliner().pass()).toBe(0);
    expect(inbox.entries().every(({ uid }) => inbox.hasTexts(uid))).toBe(true);
    expect(read()).toBe(before);
  });

  it('an outline of another form is made anew', async () => {
    const { inbox } = await inboxOf(1);
    inbox.keepSummary(1, Buffer.from([0, 1, 2]));
    expect(await outliner().pass()).toBe(1);
    expect(outlined(inbox)).toEqual([1]);
  });

  it('anew after they were deleted from the disk', async () => {
    await inboxOf(3);
    expect(await outliner().pass()).toBe(3);
    await fixture!.mailbox.reopen({ deleteIndex: true });
    const again = (await fixture!.mailbox.mailbox.folder('INBOX'))!;
    expect(outlined(again)).toEqual([]);
    expect(again.hasTexts(1)).toBe(false);
    expect(await outliner().pass()).toBe(3);
    expect(outlined(again)).toHaveLength(3);
    expect(again.hasTexts(1)).toBe(true);
  });

  it('the newest first, and no more than a mailbox may have', async () => {
    const { inbox } = await inboxOf(6);
    expect(await outliner({ maxMessages: 4 }).pass()).toBe(4);
    expect(outlined(inbox)).toEqual([3, 4, 5, 6]);
  });

  it('not large ones, whose reader makes them', async () => {
    const { inbox } = await inboxOf(1);
    await inbox.append(message(2, outlinedBytes + 1), { flags: [], internalDate: 2 });
    expect(await outliner().pass()).toBe(1);
    expect(outlined(inbox)).toEqual([1]);
  });

  it('as many octets a day as is set, the rest the day after', async () => {
    const { inbox } = await inboxOf(6);
    const [size = 0] = inbox.entries().map((entry) => entry.size);
    let now = 0;
    const one = outliner({ maxBytesADay: 4 * size }, () => now);
    expect(await one.pass()).toBe(4);
    expect(await one.pass()).toBe(0);
    now += 86_400_000;
    expect(await one.pass()).toBe(2);
    expect(outlined(inbox)).toHaveLength(6);
  });

  it('later, where the ring does not answer; a lost message holds up nobody', async () => {
    const { inbox } = await inboxOf(4);
    const { store } = fixture!.mailbox.post;
    const blocks = new Map(store.blocks);
    store.blocks.clear();
    expect(await outliner().pass()).toBe(0);
    expect(outlined(inbox)).toEqual([]);
    for (const [key, bytes] of blocks) store.blocks.set(key, bytes);
    const fetch = store.fetch.bind(store);
    let isDown = true;
    store.fetch = async (key) => {
      if (isDown) throw new Error('silence');
      return fetch(key);
    };
    const one = outliner();
    await one.pass().catch(() => 0);
    isDown = false;
    await one.pass();
    expect(outlined(inbox)).toHaveLength(4);
  });

  it('until it is stopped: that ends a rest and the pass, and the next one goes on there', async () => {
    const { inbox } = await inboxOf(8);
    let calls = 0;
    // The clock says after some messages that the turn is over; the rest would be long.
    const one = outliner({ workMs: 600_000, firstMs: 0 }, () => (++calls > 10 ? 10_000_000 : 0));
    one.start();
    await expect.poll(() => outlined(inbox).length, { timeout: 20_000 }).toBeGreaterThan(0);
    await one.stop();
    const made = outlined(inbox).length;
    expect(made).toBeLessThan(8);
    expect(await outliner().pass()).toBe(8 - made);
  });
});
