import { MailFault } from '../../../mail/fault.ts';
import type { Command } from '../command/command.ts';
import type { FetchItem } from '../command/fetch-items.ts';
import { bodyStructure } from '../message/body-structure.ts';
import { envelope } from '../message/envelope.ts';
import { partialOf, sectionBytes } from '../message/section.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import { formatDateTime } from '../wire/date-time.ts';
import type { Writer } from '../wire/writer.ts';
import { bad, type Completion, no, ok, type Selected, type Session } from './session.ts';
import { Turns } from './turns.ts';
import type { FolderView, Numbered } from './view.ts';

/** FETCH (RFC 3501 §6.4.5). One message is in memory at a time; what it sends waits for the client. */

// Messages whose \Seen is stored at once: one append to the folder's log instead of one for each.
const batchSize = 200;

export async function fetch(
  session: Session,
  { view }: Selected,
  { messages, items: asked }: Extract<Command, { name: 'fetch' }>,
): Promise<Completion> {
  const resolved = view.resolve(messages);
  if (resolved.kind === 'out-of-range') return bad('there is no message of that number');
  // RFC 3501 §6.4.8: answers to UID FETCH always show the UID.
  const uidToo = messages.by === 'uid' && !asked.some(({ kind }) => kind === 'uid');
  const items: readonly FetchItem[] = uidToo ? [{ kind: 'uid' }, ...asked] : asked;
  const marks = !view.readOnly && items.some((item) => item.kind === 'section' && !item.peek);
  const turns = new Turns(256);
  let gone = 0;
  for (let at = 0; at < resolved.messages.length; at += batchSize) {
    const batch = resolved.messages.slice(at, at + batchSize);
    const seen = marks ? await markSeen(session, view, batch) : new Set<number>();
    for (const message of batch) {
      await turns.next();
      const current = view.numbered([message.entry.uid])[0] ?? message;
      if (!(await fetchOne(session, view, current, withFlags(items, seen.has(current.entry.uid))))) gone += 1;
    }
  }
  // RFC 5530 §3: expunged by another session while this one had not been told yet.
  return gone === 0 ? ok('fetched') : no('some of the messages are gone', 'EXPUNGEISSUED');
}

function withFlags(items: readonly FetchItem[], changed: boolean): readonly FetchItem[] {
  return changed && !items.some(({ kind }) => kind === 'flags') ? [...items, { kind: 'flags' }] : items;
}

/** Sets \Seen on those of the batch that lack it; gives their UIDs. */
async function markSeen(session: Session, view: FolderView, batch: readonly Numbered[]): Promise<Set<number>> {
  const unseen = batch.filter(({ entry }) => !entry.flags.includes('\\Seen')).map(({ entry }) => entry.uid);
  if (unseen.length === 0) return new Set();
  try {
    view.adopt(await view.folder.setFlags(unseen, 'add', ['\\Seen']));
    return new Set(unseen);
  } catch (fault) {
    // Mail can be read while too little of the ring answers to store that it was read.
    if (!(fault instanceof MailFault) || fault.code !== 'unavailable') throw fault;
    session.shared.log.warn({ fault }, 'read, but could not be marked as seen');
    return new Set();
  }
}

const needsBytes = new Set(['envelope', 'body', 'bodystructure', 'section']);

/** Sends one FETCH response; false when the message is gone. */
async function fetchOne(
  { connection }: Session,
  { folder }: FolderView,
  { sequence, entry }: Numbered,
  items: readonly FetchItem[],
): Promise<boolean> {
  let message: Buffer | undefined;
  if (items.some(({ kind }) => needsBytes.has(kind))) {
    const bytes = await bytesOf(folder, entry.uid);
    if (bytes === undefined) return false;
    message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  const loaded = message === undefined ? undefined : new Loaded(message);
  const { writer } = connection;
  await writer.write(`* ${sequence} FETCH (`);
  for (const [index, item] of items.entries()) {
    if (index > 0) await writer.write(' ');
    if (item.kind === 'section') await writeSection(writer, item, loaded!);
    else await writer.write(simpleItem(item.kind, entry, loaded));
  }
  await writer.write(')\r\n');
  return true;
}

async function bytesOf(folder: FolderView['folder'], uid: number): Promise<Uint8Array | undefined> {
  try {
    return await folder.bytes(uid);
  } catch (fault) {
    if (fault instanceof MailFault && fault.code === 'no-such-message') return undefined;
    throw fault;
  }
}

function simpleItem(
  kind: Exclude<FetchItem['kind'], 'section'>,
  entry: Numbered['entry'],
  loaded: Loaded | undefined,
): string {
  switch (kind) {
    case 'flags':
      return `FLAGS (${entry.flags.join(' ')})`;
    case 'uid':
      return `UID ${entry.uid}`;
    case 'internaldate':
      return `INTERNALDATE "${formatDateTime(entry.internalDate)}"`;
    case 'size':
      return `RFC822.SIZE ${entry.size}`;
    case 'envelope':
      return `ENVELOPE ${envelope(loaded!.message, loaded!.top.fields)}`;
    case 'body':
      return `BODY ${bodyStructure(loaded!.message, loaded!.top, false)}`;
    default:
      return `BODYSTRUCTURE ${bodyStructure(loaded!.message, loaded!.top, true)}`;
  }
}

async function writeSection(
  writer: Writer,
  item: Extract<FetchItem, { kind: 'section' }>,
  { sectionOf }: Loaded,
): Promise<void> {
  const bytes = sectionOf(item.section);
  const label = item.partial === undefined ? item.label : `${item.label}<${item.partial.offset}>`;
  if (bytes === undefined) return await writer.write(`${label} NIL`);
  const part = partialOf(bytes, item.partial);
  await writer.write(`${label} {${part.length}}\r\n`);
  for (let at = 0; at < part.length; at += portionBytes) await writer.write(part.subarray(at, at + portionBytes));
}

// How much of a message is handed to the socket before the client must have taken it.
const portionBytes = 65_536;

/** A message in memory; its structure is looked at only when something needs it. */
class Loaded {
  readonly message: Buffer;
  #top: Part | undefined;

  constructor(message: Buffer) {
    this.message = message;
  }

  get top(): Part {
    this.#top ??= parseStructure(this.message);
    return this.#top;
  }

  readonly sectionOf = (section: Parameters<typeof sectionBytes>[2]): Buffer | undefined => {
    if (section.path.length === 0 && section.text.kind === 'all') return this.message;
    return sectionBytes(this.message, this.top, section);
  };
}
