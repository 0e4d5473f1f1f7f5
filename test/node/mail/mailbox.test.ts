import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { itemsAfter, start } from '../../../node/log/place.ts';
import type { Delivery, Folder } from '../../../node/mail/folder.ts';
import { takesUid } from '../../../node/mail/folder-record.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import { type MailboxFixture, makeMailbox } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const fixtures: MailboxFixture[] = [];
afterEach(async () => {
  await Promise.all(fixtures.splice(0).map(async (fixture) => fixture.stop()));
});

async function made(options: { now?: () => number } = {}): Promise<MailboxFixture> {
  const fixture = await makeMailbox(options);
  fixtures.push(fixture);
  return fixture;
}

async function folderOf(mailbox: Mailbox, name: string): Promise<Folder> {
  const folder = await mailbox.folder(name);
  if (folder === undefined) throw new Error(`no folder ${name}`);
  return folder;
}

const at = Date.UTC(2026, 0, 2);
const letter = (n: number): Uint8Array => octets(`Subject: ${n}`, '', `text ${n}`, '');

async function fill(folder: Folder, count: number, flags: readonly string[] = []): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, i) => folder.append(letter(i), { flags, internalDate: at })),
  );
}

async function delivery(fixture: MailboxFixture, n: number): Promise<Delivery> {
  const lease = { identity: fixture.user.address, until: at };
  const ref = await storeMessage(fixture.post.store, letter(n), { salt: Buffer.alloc(32, 1), lease });
  const id = createHash('sha256').update(`${n}`).digest();
  return { id, ref, internalDate: at, envelopeFrom: 'bob@example.org', trace: `t${n}`, provenance: Buffer.from('p') };
}

const names = (mailbox: Mailbox): readonly string[] => mailbox.folders().map(({ name }) => name);
const uids = (folder: Folder): readonly number[] => folder.entries().map(({ uid }) => uid);

/** All that a client can see of a folder. */
function view(folder: Folder): unknown {
  const { name, uidValidity, uidNext, highestModseq, unseen } = folder;
  const entries = folder.entries().map(({ uid, flags, internalDate, size, modseq, emailId, ref }) => ({
    uid,
    flags,
    internalDate,
    size,
    modseq,
    emailId,
    hash: Buffer.from(ref.hash).toString('hex'),
  }));
  return { name, uidValidity, uidNext, highestModseq, unseen, keywords: folder.keywords(), entries };
}

describe('a new mailbox', () => {
  it('has its five folders, subscribed and with their use', async () => {
    const { mailbox } = await made();
    expect(mailbox.folders().map(({ name, specialUse, subscribed }) => [name, specialUse, subscribed])).toEqual([
      ['INBOX', undefined, true],
      ['Drafts', '\\Drafts', true],
      ['Junk', '\\Junk', true],
      ['Sent', '\\Sent', true],
      ['Trash', '\\Trash', true],
    ]);
  });

  it('is never made anew where its log is missing', async () => {
    const fixture = await made();
    fixture.post.logs.clear();
    await expect(fixture.reopen()).rejects.toMatchObject({ name: 'MailFault', code: 'missing' });
  });

  it('does not bring back a folder that the user removed', async () => {
    const fixture = await made();
    await fixture.mailbox.remove('Drafts');
    expect(names(await fixture.reopen())).toEqual(['INBOX', 'Junk', 'Sent', 'Trash']);
  });
});

describe('the folder list', () => {
  const refusals: readonly [string, (mailbox: Mailbox) => Promise<unknown>, string][] = [
    ['a name that is taken', async (m) => m.create('Sent'), 'exists'],
    ['INBOX in other letters', async (m) => m.create('inbox'), 'exists'],
    ['an empty level', async (m) => m.create('a//b'), 'bad-name'],
    ['a control character', async (m) => m.create('a\nb'), 'bad-name'],
    ['a wildcard', async (m) => m.create('a*'), 'bad-name'],
    ['more octets than a line has room for', async (m) => m.create('ä'.repeat(200)), 'bad-name'],
    ['removing INBOX', async (m) => m.remove('Inbox'), 'not-allowed'],
    ['removing what is not there', async (m) => m.remove('nothing'), 'missing'],
    ['renaming what is not there', async (m) => m.rename('nothing', 'x'), 'missing'],
    ['renaming to a name that is taken', async (m) => m.rename('Sent', 'Trash'), 'exists'],
    ['a folder going into itself', async (m) => m.rename('Sent', 'Sent/x'), 'not-allowed'],
  ];
  it.each(refusals)('refuses %s', async (_why, act, code) => {
    const { mailbox } = await made();
    const before = mailbox.folders();
    expect(await act(mailbox)).toMatchObject({ kind: 'refused', code });
    expect(mailbox.folders()).toEqual(before);
  });

  it('creates superior names that are missing (RFC 3501 §6.3.3)', async () => {
    const { mailbox } = await made();
    expect(await mailbox.create('work/2026/plans')).toEqual({ kind: 'done' });
    expect(names(mailbox)).toEqual(expect.arrayContaining(['work', 'work/2026', 'work/2026/plans']));
  });

  it('a removed folder leaves its inferior names (RFC 3501 §6.3.4), and its object says that it is gone', async () => {
    const { mailbox } = await made();
    await mailbox.create('work/plans');
    const work = await folderOf(mailbox, 'work');
    await mailbox.remove('work');
    expect(names(mailbox)).toContain('work/plans');
    expect(names(mailbox)).not.toContain('work');
    await expect(work.append(letter(1), { flags: [], internalDate: at })).rejects.toMatchObject({
      code: 'folder-gone',
    });
  });

  it('a folder made again under an old name has a greater uidValidity, even while the clock stands', async () => {
    const { mailbox } = await made({ now: () => at });
    await mailbox.create('work');
    const before = (await folderOf(mailbox, 'work')).uidValidity;
    await mailbox.remove('work');
    await mailbox.create('work');
    const again = await folderOf(mailbox, 'work');
    expect(again.uidValidity).toBeGreaterThan(before);
    expect(again.entries()).toEqual([]);
  });

  it('a renamed folder takes its inferiors, messages, subscription and open sessions along', async () => {
    const fixture = await made();
    const { mailbox } = fixture;
    await mailbox.create('work/plans');
    await mailbox.subscribe('work/plans', true);
    const plans = await folderOf(mailbox, 'work/plans');
    await fill(plans, 2);
    expect(await mailbox.rename('work', 'archive/old')).toEqual({ kind: 'done' });
    expect(plans.name).toBe('archive/old/plans');
    expect(await mailbox.folder('work/plans')).toBeUndefined();
    expect(mailbox.subscriptions()).toContain('archive/old/plans');
    const before = view(plans);
    expect(view(await folderOf(await fixture.reopen(), 'archive/old/plans'))).toEqual(before);
  });

  it('renaming INBOX moves its messages and leaves it empty, with what is below it (RFC 3501 §6.3.5)', async () => {
    const { mailbox } = await made();
    await mailbox.create('INBOX/lists');
    const inbox = await folderOf(mailbox, 'inbox');
    await fill(inbox, 3, ['\\Seen']);
    expect(await mailbox.rename('INBOX', 'old')).toEqual({ kind: 'done' });
    const old = await folderOf(mailbox, 'old');
    expect(inbox.entries()).toEqual([]);
    expect(inbox.name).toBe('INBOX');
    expect(old.entries().map(({ flags }) => flags)).toEqual([['\\Seen'], ['\\Seen'], ['\\Seen']]);
    expect(names(mailbox)).toEqual(expect.arrayContaining(['INBOX', 'INBOX/lists', 'old']));
  });

  it('keeps a subscription to a folder that has gone (RFC 3501 §6.3.9)', async () => {
    const fixture = await made();
    await fixture.mailbox.remove('Drafts');
    expect((await fixture.reopen()).subscriptions()).toContain('Drafts');
  });

  it('makes two folders of one name only once when asked twice at the same time', async () => {
    const { mailbox } = await made();
    const answers = await Promise.all([mailbox.create('work'), mailbox.create('work')]);
    expect(answers.map(({ kind }) => kind)).toEqual(['done', 'refused']);
  });

  it('tells its listeners what changed', async () => {
    const { mailbox } = await made();
    const seen: unknown[] = [];
    const stop = mailbox.onChange((change) => seen.push(change));
    await mailbox.create('work');
    await mailbox.rename('work', 'play');
    stop();
    await mailbox.remove('play');
    expect(seen).toEqual([
      { kind: 'created', name: 'work' },
      { kind: 'renamed', name: 'work', to: 'play' },
    ]);
  });
});

describe('messages in a folder', () => {
  it('come back as they were, with flags and date', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    const { uid } = await inbox.append(letter(1), { flags: ['$Forwarded', '\\seen', '\\Recent'], internalDate: at });
    expect(inbox.entry(uid)).toMatchObject({ uid: 1, flags: ['\\Seen', '$Forwarded'], internalDate: at });
    expect(Buffer.from(await inbox.bytes(uid))).toEqual(Buffer.from(letter(1)));
    expect(inbox.entry(uid)?.size).toBe(letter(1).length);
  });

  it('get ascending uids without gaps, and many at once share heads', async () => {
    const { mailbox, post } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    const before = post.heads;
    await fill(inbox, 100);
    expect(uids(inbox)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(post.heads - before).toBeLessThan(20);
  });

  it('never give a uid again', async () => {
    const fixture = await made();
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    await fill(inbox, 3);
    expect(await inbox.expunge([3, 2, 9])).toEqual([2, 3]);
    const again = await folderOf(await fixture.reopen({ deleteIndex: true }), 'INBOX');
    expect(again.uidNext).toBe(4);
    expect(await again.append(letter(9), { flags: [], internalDate: at })).toEqual({ uid: 4 });
  });

  it('an array of entries that was handed out never changes', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 3);
    const before = inbox.entries();
    const copy = [...before];
    await inbox.setFlags([1], 'add', ['\\Seen']);
    await inbox.expunge([2]);
    await fill(inbox, 1);
    expect(before).toEqual(copy);
    expect(before[0]?.flags).toEqual([]);
  });

  it('nothing has changed where the ring did not take it, and the uid is not given to another', async () => {
    const { mailbox, post } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 1);
    post.down = true;
    const before = view(inbox);
    await expect(inbox.append(letter(2), { flags: [], internalDate: at })).rejects.toMatchObject({
      name: 'MailFault',
      code: 'unavailable',
    });
    await expect(inbox.setFlags([1], 'add', ['\\Seen'])).rejects.toMatchObject({ code: 'unavailable' });
    expect(view(inbox)).toEqual(before);
    post.down = false;
    expect((await inbox.append(letter(3), { flags: [], internalDate: at })).uid).toBeGreaterThan(1);
  });

  it('a message whose blocks are gone shows a message that says so', async () => {
    const fixture = await made();
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    const { uid } = await inbox.append(letter(1), { flags: [], internalDate: at });
    fixture.post.store.blocks.clear();
    const again = await folderOf(await fixture.reopen(), 'INBOX');
    expect(Buffer.from(await again.bytes(uid)).toString()).toMatch(/^From: .*\r\nSubject: This message cannot be read/);
    await expect(again.bytes(77)).rejects.toMatchObject({ code: 'no-such-message' });
  });
});

describe('flags', () => {
  it('are set, added and removed, in any case, and the entries of all uids named come back', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 3);
    await inbox.setFlags([1, 2], 'set', ['Work', '\\flagged']);
    await inbox.setFlags([2], 'add', ['WORK', '\\SEEN']);
    const entries = await inbox.setFlags([3, 1, 2, 9], 'remove', ['\\Flagged']);
    expect(entries.map(({ uid, flags }) => [uid, flags])).toEqual([
      [1, ['Work']],
      [2, ['\\Seen', 'Work']],
      [3, []],
    ]);
    expect(inbox.keywords()).toEqual(['Work']);
    expect(inbox.unseen).toBe(2);
  });

  it('move modseq only where something changed, and write nothing where nothing does', async () => {
    const { mailbox, post } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 2);
    const [first, second] = inbox.entries();
    await inbox.setFlags([1, 2], 'add', ['\\Seen']);
    expect(inbox.entry(1)?.modseq).toBeGreaterThan(first?.modseq ?? 0);
    await inbox.setFlags([1], 'add', ['\\Flagged']);
    expect(inbox.entry(2)?.modseq).toBe((second?.modseq ?? 0) + 1);
    const [heads, modseq] = [post.heads, inbox.highestModseq];
    await inbox.setFlags([1, 2], 'add', ['\\Seen']);
    expect([post.heads, inbox.highestModseq]).toEqual([heads, modseq]);
  });

  it('changed at the same time take effect in the order asked', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 1, ['\\Seen']);
    await Promise.all([
      inbox.setFlags([1], 'remove', ['\\Seen']),
      inbox.setFlags([1], 'add', ['\\Seen']),
      inbox.setFlags([1], 'add', ['\\Flagged']),
    ]);
    expect(inbox.entry(1)?.flags).toEqual(['\\Seen', '\\Flagged']);
  });

  it.each([
    ['a system flag that does not exist', ['\\Nonsense']],
    ['a keyword with a space', ['a b']],
    ['an empty keyword', ['']],
    ['a keyword of 65 characters', ['k'.repeat(65)]],
    ['a 65th keyword', Array.from({ length: 65 }, (_, i) => `k${i}`)],
  ])('%s is refused and changes nothing', async (_why, flags) => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 1);
    await expect(inbox.setFlags([1], 'set', flags)).rejects.toMatchObject({ code: 'bad-flag' });
    await expect(inbox.append(letter(1), { flags, internalDate: at })).rejects.toMatchObject({ code: 'bad-flag' });
    expect(inbox.entry(1)?.flags).toEqual([]);
  });

  it('a keyword that is no longer used makes room for another', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    await fill(inbox, 1);
    await inbox.setFlags(
      [1],
      'set',
      Array.from({ length: 64 }, (_, i) => `k${i}`),
    );
    await expect(inbox.setFlags([1], 'add', ['another'])).rejects.toMatchObject({ code: 'bad-flag' });
    await inbox.setFlags([1], 'set', []);
    expect((await inbox.setFlags([1], 'add', ['another']))[0]?.flags).toEqual(['another']);
  });

  it('of a thousand scattered messages are changed by records that stay small', async () => {
    const { mailbox, post } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    const one = await inbox.append(letter(0), { flags: [], internalDate: at });
    for (let doublings = 0; doublings < 11; doublings++) await inbox.copyTo(inbox, uids(inbox));
    expect(one.uid).toBe(1);
    const odd = uids(inbox).filter((uid) => uid % 2 === 1);
    await inbox.setFlags(odd, 'add', ['\\Seen']);
    expect(inbox.unseen).toBe(1024);
    const sizes = [...post.logs.values()].flatMap(({ items }) =>
      items.map((item) => (item.kind === 'record' ? item.record.length : 0)),
    );
    const largest = Math.max(...sizes);
    expect(largest).toBeLessThan(8_000);
  });
});

describe('copies and moves', () => {
  it('share the blocks, keep flags and date, and say which became which', async () => {
    const { mailbox, post } = await made();
    const [inbox, trash] = [await folderOf(mailbox, 'INBOX'), await folderOf(mailbox, 'Trash')];
    await fill(inbox, 3, ['\\Seen', 'Work']);
    await fill(trash, 1);
    const blocks = post.store.blocks.size;
    expect(await inbox.copyTo(trash, [3, 1, 8])).toEqual({ from: [1, 3], to: [2, 3] });
    expect(post.store.blocks.size).toBe(blocks);
    expect(trash.entry(3)).toMatchObject({ flags: ['\\Seen', 'Work'], emailId: inbox.entry(3)?.emailId });
    expect(await inbox.moveTo(trash, [2])).toEqual({ from: [2], to: [4] });
    expect(uids(inbox)).toEqual([1, 3]);
    expect(Buffer.from(await trash.bytes(4))).toEqual(Buffer.from(letter(1)));
  });
});

describe('deliveries', () => {
  it('under one notification id insert one message: at once, later, after a restart, after a rebuild, after it was deleted', async () => {
    const fixture = await made();
    const one = await delivery(fixture, 1);
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    const answers = await Promise.all([inbox.insertRef(one), inbox.insertRef(one)]);
    expect(answers).toEqual([
      { kind: 'inserted', uid: 1 },
      { kind: 'known', uid: 1 },
    ]);
    const again = await folderOf(await fixture.reopen(), 'INBOX');
    expect(await again.insertRef(one)).toEqual({ kind: 'known', uid: 1 });
    const rebuilt = await folderOf(await fixture.reopen({ deleteIndex: true }), 'INBOX');
    expect(await rebuilt.insertRef(one)).toEqual({ kind: 'known', uid: 1 });
    await rebuilt.expunge([1]);
    expect(await rebuilt.insertRef(one)).toEqual({ kind: 'known', uid: undefined });
    expect(await rebuilt.insertRef(await delivery(fixture, 2))).toEqual({ kind: 'inserted', uid: 3 });
    expect(uids(rebuilt)).toEqual([3]);
  });

  it('that failed for want of a quorum can be tried again', async () => {
    const fixture = await made();
    const one = await delivery(fixture, 1);
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    fixture.post.down = true;
    await expect(inbox.insertRef(one)).rejects.toMatchObject({ code: 'unavailable' });
    fixture.post.down = false;
    expect((await inbox.insertRef(one)).kind).toBe('inserted');
    expect(inbox.entries()).toHaveLength(1);
  });
});

describe('listeners of a folder', () => {
  it('are told each change once, in order, after it can be seen', async () => {
    const { mailbox } = await made();
    const inbox = await folderOf(mailbox, 'INBOX');
    const seen: unknown[] = [];
    const stop = inbox.onChange((change) => seen.push([change.kind, change.uids, inbox.entries().length]));
    await fill(inbox, 2);
    await inbox.setFlags([1], 'add', ['\\Seen']);
    await inbox.expunge([1]);
    await inbox.expunge([1]);
    stop();
    await inbox.expunge([2]);
    expect(seen.flat(2).filter((fact) => typeof fact === 'string')).toEqual(['inserted', 'flags', 'expunged']);
    expect(seen).toEqual([
      ['inserted', [1, 2], 2],
      ['flags', [1], 2],
      ['expunged', [1], 1],
    ]);
  });
});

describe('the index is only a cache', () => {
  async function busy(folder: Folder): Promise<void> {
    await fill(folder, 40);
    for (let i = 0; i < 800; i++)
      await folder.setFlags([(i % 40) + 1], (i / 40) % 2 < 1 ? 'add' : 'remove', ['\\Seen', 'W']);
    await folder.expunge([3, 4, 5, 17]);
    await folder.copyTo(folder, [1, 2]);
  }

  it('deleted, it comes back identical, from a snapshot and the records behind it', async () => {
    const fixture = await made();
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    await busy(inbox);
    const before = view(inbox);
    fixture.post.recordsRead = 0;
    expect(view(await folderOf(await fixture.reopen({ deleteIndex: true }), 'INBOX'))).toEqual(before);
    expect(fixture.post.recordsRead).toBeGreaterThan(0);
    expect(fixture.post.recordsRead).toBeLessThan(400);
  });

  it('kept, a restart reads no record at all', async () => {
    const fixture = await made();
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    await busy(inbox);
    const before = view(inbox);
    fixture.post.recordsRead = 0;
    expect(view(await folderOf(await fixture.reopen(), 'INBOX'))).toEqual(before);
    expect(fixture.post.recordsRead).toBe(0);
  });

  it('of an older time (a crash, a restored disk), it is brought up to date', async () => {
    const fixture = await made();
    const inbox = await folderOf(fixture.mailbox, 'INBOX');
    await fill(inbox, 5);
    const again = await folderOf(await fixture.reopen(), 'INBOX');
    const kept = fixture.post.logs.get(`folder/${again.uidValidity}`);
    const other = await makeMailbox();
    fixtures.push(other);
    const foreign = await folderOf(other.mailbox, 'INBOX');
    await fill(foreign, 2);
    // Another node's history, which had parted before the first message, came in without this index, as after a crash before it was kept.
    const stored = (other.post.logs.get(`folder/${foreign.uidValidity}`)?.items ?? []).flatMap((item) =>
      item.kind === 'record' ? item.record : [],
    );
    const join = { from: { numbers: 0, height: 1 }, most: { numbers: 2, height: 3 }, moves: 5 };
    const end = kept?.items.at(-1)?.after ?? start;
    kept?.items.push(...itemsAfter(end, [join, ...stored.slice(1)], takesUid));
    // The other had given 1 and 2 to messages of its own: those get new uids, so that no uid means two messages.
    expect(uids(await folderOf(await fixture.reopen(), 'INBOX'))).toEqual([3, 4, 5, 6, 7, 11, 12]);
  });

  it('a folder is not read before somebody asks for it', async () => {
    const fixture = await made();
    await fill(await folderOf(fixture.mailbox, 'INBOX'), 50);
    await fixture.mailbox.close();
    fixture.post.recordsRead = 0;
    await fixture.reopen({ deleteIndex: true });
    // The root alone: five folders and their subscriptions.
    expect(fixture.post.recordsRead).toBe(10);
  });
});
