import { createHash } from 'node:crypto';
import type { Address } from '../../policy/address.ts';
import type { Folder, MessageEntry } from '../mail/folder.ts';
import type { Mailbox } from '../mail/mailbox.ts';
import { firstValue, readFields } from './header/fields.ts';
import { decodeOutline } from './imap/message/outline.ts';

/** What was sent is kept once in the folder for it, whether the user's program puts it there too or not (before or after). */

// The program's own copy comes within seconds; so many may have come in between.
const lookedAt = 50;
// After that the same message put there again is meant to be there again.
const twinMs = 86_400_000;

// Read once, not again with each message that is sent after it.
const names = new WeakMap<MessageEntry, string>();

async function sentFolder(mailbox: Mailbox): Promise<Folder | undefined> {
  const info = mailbox.folders().find(({ specialUse }) => specialUse === '\\Sent');
  return info === undefined ? undefined : await mailbox.folder(info.name);
}

function copyId(address: Address, messageId: string): Uint8Array {
  return createHash('sha256').update(`sent copy\0${address}\0${messageId}`).digest();
}

function messageIdOf(header: Buffer): string | undefined {
  const end = header.indexOf('\r\n\r\n');
  return firstValue(header, readFields(header, { start: 0, end: end === -1 ? header.length : end + 2 }), 'message-id');
}

/** The Message-ID of one that is there already; undefined where it has none, or no outline yet. */
function nameOf(folder: Folder, entry: MessageEntry): string | undefined {
  const known = names.get(entry);
  if (known !== undefined) return known;
  const header = decodeOutline(folder.summary(entry.uid))?.header;
  const name = header === undefined ? undefined : messageIdOf(header);
  if (name !== undefined) names.set(entry, name);
  return name;
}

/** Keeps a copy of what was sent, unless it is there. Without a Sent folder, or a Message-ID to know it by, nothing is kept. */
export async function keepSentCopy(mailbox: Mailbox, message: Buffer, now: number): Promise<void> {
  const messageId = messageIdOf(message);
  const folder = await sentFolder(mailbox);
  if (folder === undefined || messageId === undefined) return;
  const newest = folder.entries().slice(-lookedAt);
  if (newest.some((entry) => nameOf(folder, entry) === messageId)) return;
  const id = copyId(mailbox.address, messageId);
  await folder.appendOnce(message, { id, flags: ['\\Seen'], internalDate: now });
  const entry = folder.entry(folder.delivered(id) ?? 0);
  if (entry !== undefined) names.set(entry, messageId);
}

/** The copy that {@link keepSentCopy} made of the message that a program now puts into this folder; undefined when there is none. */
export function ownSentCopy(
  mailbox: Mailbox,
  folder: Folder,
  message: Buffer,
  now: number,
): { readonly uid: number; readonly same: boolean } | undefined {
  const isSent = mailbox.folders().some(({ name, specialUse }) => specialUse === '\\Sent' && name === folder.name);
  const messageId = isSent ? messageIdOf(message) : undefined;
  if (messageId === undefined) return undefined;
  const uid = folder.delivered(copyId(mailbox.address, messageId));
  const entry = uid === undefined ? undefined : folder.entry(uid);
  if (entry === undefined || now - entry.internalDate > twinMs) return undefined;
  const hash = createHash('sha256').update(message).digest();
  return { uid: entry.uid, same: hash.equals(entry.ref.hash) };
}
