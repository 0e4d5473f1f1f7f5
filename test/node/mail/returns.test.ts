import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { simpleParser } from 'mailparser';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { storeMessage } from '../../../node/mail/message.ts';
import { encodeMessageRef } from '../../../node/mail/message-ref.ts';
import { followReturns, giveBack, intoInbox } from '../../../node/mail/returns.ts';
import { SentBook, type SentNote } from '../../../node/mail/sent-book.ts';
import type { Receipt } from '../../../node/notify/receipt.ts';
import type { Address } from '../../../policy/address.ts';
import { type MailboxFixture, makeMailbox, silent } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const day = 86_400_000;
const at = Date.UTC(2026, 0, 2);
const id = Buffer.alloc(32, 5);
const bob = 'bob@example.org' as Address;
const note: SentNote = {
  to: bob,
  via: 'ring',
  sender: 'alice@example.org',
  recipients: ['bob@example.org'],
  header: octets('Subject: hello', 'Message-ID: <m@example.org>', '', 'body'),
  at,
  traceId: 'T1',
};
const receipt = (verdict: Receipt['verdict'], rule?: string): Receipt => ({
  id,
  verdict,
  ...(rule === undefined ? {} : { rule }),
  at: at + day,
  by: bob,
  bytes: new Uint8Array(),
});

/** Receipts that a test gives out; `kept` are those that came before anybody listened. */
class Receipts {
  readonly listeners = new Set<(receipt: Receipt) => void>();
  readonly asked: unknown[] = [];
  kept: Receipt[] = [];

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async watch(awaited: readonly { id: Uint8Array; recipient: Address }[]): Promise<readonly Receipt[]> {
    this.asked.push(...awaited.map(({ recipient }) => recipient));
    return this.kept;
  }

  give(given: Receipt): void {
    for (const listener of this.listeners) listener(given);
  }
}

let dir = '';
let alice: MailboxFixture;
let book: SentBook;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-returns-'));
  alice = await makeMailbox();
  book = await SentBook.open(dir, at);
});
afterEach(async () => {
  await book.close();
  await alice.stop();
  await rm(dir, { recursive: true, force: true });
});

async function follow(notify: Receipts): Promise<() => Promise<void>> {
  const deliver = intoInbox(alice.mailbox, () => at);
  const author = alice.user.address;
  const back = async (given: SentNote): Promise<void> => giveBack(alice.mailbox, given);
  return followReturns({
    notify,
    book,
    deliver,
    author,
    giveBack: back,
    reportingMta: 'node.example.org',
    now: () => at,
    log: silent,
  });
}

async function inbox(): Promise<readonly Uint8Array[]> {
  const folder = await alice.mailbox.folder('INBOX');
  const messages = (folder?.entries() ?? []).map(async ({ uid }) => folder?.bytes(uid) ?? new Uint8Array());
  return Promise.all(messages);
}

describe('what the sender asked to be told (RFC 3461)', () => {
  const rows: readonly [
    why: string,
    notify: readonly string[] | undefined,
    given: Receipt,
    action: string | undefined,
  ][] = [
    ['nothing, and it was refused', undefined, receipt('refused', 'r'), 'failed'],
    ['never, and it was refused', ['NEVER'], receipt('refused', 'r'), undefined],
    ['success alone, and it was refused', ['SUCCESS'], receipt('refused', 'r'), undefined],
    ['failure, and it expired', ['FAILURE'], receipt('undeliverable'), 'failed'],
    ['success, and it is in the mailbox', ['SUCCESS', 'FAILURE'], receipt('accepted'), 'delivered'],
    ['failure, and it is in the mailbox', ['FAILURE'], receipt('accepted'), undefined],
  ];
  it.each(rows)('%s', async (_why, notify, given, action) => {
    const dsn = notify === undefined ? undefined : [{ notify, orcpt: 'rfc822;old@example.net' }];
    await book.note(id, { ...note, dsn });
    const receipts = new Receipts();
    const stop = await follow(receipts);
    receipts.give(given);
    await stop();
    const texts = (await inbox()).map((bytes) => Buffer.from(bytes).toString());
    expect(texts.map((text) => /^Action: (.*)\r$/m.exec(text)?.[1])).toEqual(action === undefined ? [] : [action]);
    if (action !== undefined && notify !== undefined)
      expect(texts[0]).toMatch(/^Original-Recipient: rfc822;old@example\.net\r$/m);
    expect(book.find(id)).toBeUndefined();
  });

  it('of what the gateway takes onward is told from there', async () => {
    const dsn = [{ notify: ['SUCCESS'] }];
    await book.note(id, {
      ...note,
      to: 'gateway@example.org' as Address,
      via: 'gateway',
      recipients: ['x@example.net'],
      dsn,
    });
    const receipts = new Receipts();
    const stop = await follow(receipts);
    receipts.give(receipt('accepted'));
    await stop();
    expect(await inbox()).toEqual([]);
  });
});

describe('how a message ended', () => {
  it.each([
    ['a refusal, with the rule', receipt('refused', 'no-strangers'), '5.7.1', 'no-strangers'],
    ['an expiry', receipt('undeliverable'), '5.4.7', 'could not be reached'],
  ])('is told to its sender: %s', async (_why, given, status, words) => {
    await book.note(id, note);
    const notify = new Receipts();
    const stop = await follow(notify);
    expect(notify.asked).toEqual([bob]);
    notify.give(given);
    await stop();
    const [notice = new Uint8Array()] = await inbox();
    expect(Buffer.from(notice).toString()).toContain(`Status: ${status}\r\n`);
    const mail = await simpleParser(Buffer.from(notice));
    expect(mail.text).toContain(words);
    expect(mail.references).toBe('<m@example.org>');
    expect(book.outstanding()).toEqual([]);
  });

  it('is not told where it was accepted, or where the message was itself automatic', async () => {
    const notify = new Receipts();
    const stop = await follow(notify);
    await book.note(id, note);
    notify.give(receipt('accepted'));
    await stop();
    await book.note(id, { ...note, sender: '' });
    const again = await follow(notify);
    notify.give(receipt('refused', 'x'));
    await again();
    expect(await inbox()).toEqual([]);
    expect(book.outstanding()).toEqual([]);
  });

  it('is told once, whenever the receipt comes: while nobody listened, twice, or before a crash kept it from being ticked off', async () => {
    await book.note(id, note);
    const notify = new Receipts();
    notify.kept = [receipt('refused', 'x')];
    await (await follow(notify))();
    await book.note(id, note);
    const stop = await follow(notify);
    notify.give(receipt('refused', 'x'));
    await stop();
    expect(await inbox()).toHaveLength(1);
  });

  it('is told at the next start where the notice could not be kept', async () => {
    await book.note(id, note);
    const notify = new Receipts();
    notify.kept = [receipt('undeliverable')];
    alice.post.down = true;
    await (await follow(notify))();
    expect(book.outstanding()).toHaveLength(1);
    alice.post.down = false;
    await (await follow(notify))();
    expect(await inbox()).toHaveLength(1);
  });
});

describe('what was forwarded', () => {
  const text = Buffer.from('From: x@sender.test\r\n\r\ntext\r\n');
  const forwarded = async (kept: boolean): Promise<SentNote> => {
    const lease = { identity: alice.user.address, until: at };
    const ref = await storeMessage(alice.post.store, text, { salt: Buffer.alloc(32), lease });
    const post = Buffer.alloc(32, 5);
    return { ...note, sender: 'x@sender.test', forwarded: { message: encodeMessageRef(ref), id: post, kept } };
  };
  const rows: [why: string, kept: boolean, given: Receipt, texts: number][] = [
    ['and refused comes back into the inbox', false, receipt('refused', 'r'), 1],
    ['and never fetched, too', false, receipt('undeliverable'), 1],
    ['and taken does not', false, receipt('accepted'), 0],
    ['with a copy left here has one already', true, receipt('refused', 'r'), 0],
  ];
  it.each(rows)('%s', async (_, kept, given, texts) => {
    await book.note(id, await forwarded(kept));
    const receipts = new Receipts();
    const stop = await follow(receipts);
    receipts.give(given);
    await stop();
    expect((await inbox()).map((bytes) => Buffer.from(bytes).toString())).toEqual(
      Array.from({ length: texts }, () => text.toString()),
    );
    expect(book.find(id)).toBeUndefined();
  });
});

describe('the book of what was sent', () => {
  it('is there after a restart, bounded, and forgets what nobody will answer any more', async () => {
    await book.note(id, { ...note, envid: 'e', header: Buffer.alloc(100_000, 'x') });
    await book.close();
    book = await SentBook.open(dir, at + 20 * day);
    expect(book.find(id)).toMatchObject({ to: bob, envid: 'e', traceId: 'T1' });
    expect(book.find(id)?.header.length).toBeLessThan(10_000);
    await book.close();
    book = await SentBook.open(dir, at + 30 * day);
    expect(book.find(id)).toBeUndefined();
  });
});
