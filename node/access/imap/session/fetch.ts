import { MailFault } from '../../../mail/fault.ts';
import type { Command } from '../command/command.ts';
import type { FetchItem } from '../command/fetch-items.ts';
import { decodeOutline, encodeOutline, type Outline, outlineOf } from '../message/outline.ts';
import { previewText } from '../message/preview.ts';
import { partialOf, sectionBytes } from '../message/section.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import { decodedPart } from '../message/transfer-encoding.ts';
import { formatDateTime } from '../wire/date-time.ts';
import { latin1Of, string } from '../wire/output.ts';
import type { Writer } from '../wire/writer.ts';
import { wantsModseq } from './enabled.ts';
import { tellVanishedOf } from './resync.ts';
import { bad, type Completion, no, ok, type Selected, type Session } from './session.ts';
import { Turns } from './turns.ts';
import type { FolderView, Numbered } from './view.ts';

/** FETCH (RFC 3501 §6.4.5). One message is in memory at a time; what it sends waits for the client. */

// Messages whose \Seen is stored at once: one append to the folder's log instead of one for each.
const batchSize = 200;

export async function fetch(
  session: Session,
  { view }: Selected,
  command: Extract<Command, { name: 'fetch' }>,
): Promise<Completion> {
  const { messages, changedSince } = command;
  // RFC 7162 §3.2.6.
  if (command.vanished && !session.enabled.has('QRESYNC')) return bad('ENABLE QRESYNC first');
  if (changedSince !== undefined || command.items.some(({ kind }) => kind === 'modseq')) await wantsModseq(session);
  const resolved = view.resolve(messages);
  if (resolved.kind === 'out-of-range') return bad('there is no message of that number');
  if (command.vanished && messages.set !== 'saved')
    await tellVanishedOf(session, view, messages.set, changedSince ?? 0);
  const items = shownItems(command);
  const marks = !view.readOnly && items.some((item) => isBody(item) && !item.peek);
  const wanted = resolved.messages.filter(({ entry }) => entry.modseq > (changedSince ?? 0));
  const turns = new Turns(256);
  const needs = new Set(items.map(needOf));
  let gone = 0;
  for (let at = 0; at < wanted.length; at += batchSize) {
    const batch = wanted.slice(at, at + batchSize);
    const seen = marks ? await markSeen(session, view, batch) : new Set<number>();
    for (const message of batch) {
      if (turns.due()) await turns.give();
      const current = marks ? (view.numbered([message.entry.uid])[0] ?? message) : message;
      const sending = fetchOne(session, view, current, {
        items: withFlags(session, items, seen.has(current.entry.uid)),
        needs,
      });
      const answer = typeof sending === 'string' ? sending : await sending;
      if (answer === 'gone') gone += 1;
      // RFC 3516 §4.3.
      if (answer === 'unknown-encoding')
        return no('a part has a transfer encoding that is not known here', 'UNKNOWN-CTE');
    }
  }
  // RFC 5530 §3: expunged by another session while this one had not been told yet.
  return gone === 0 ? ok('fetched') : no('some of the messages are gone', 'EXPUNGEISSUED');
}

/** What is asked for, and what comes with it: the UID with UID FETCH (RFC 3501 §6.4.8), MODSEQ with CHANGEDSINCE (RFC 7162 §3.1.4.1). */
function shownItems({ messages, items, changedSince }: Extract<Command, { name: 'fetch' }>): readonly FetchItem[] {
  const named = new Set(items.map(({ kind }) => kind));
  return [
    ...(messages.by === 'uid' && !named.has('uid') ? [{ kind: 'uid' as const }] : []),
    ...items,
    ...(changedSince !== undefined && !named.has('modseq') ? [{ kind: 'modseq' as const }] : []),
  ];
}

function isBody(item: FetchItem): item is Extract<FetchItem, { kind: 'section' | 'binary' }> {
  return item.kind === 'section' || item.kind === 'binary';
}

/** Shown by a few words, not by octets of the message. */
type Simple = Exclude<FetchItem, { kind: 'section' | 'binary' | 'binary-size' }>;

function isSimple(item: FetchItem): item is Simple {
  return !isBody(item) && item.kind !== 'binary-size';
}

/** Reading marked it: its flags are news, and their mod-sequence with them. */
function withFlags({ enabled }: Session, items: readonly FetchItem[], changed: boolean): readonly FetchItem[] {
  if (!changed) return items;
  const named = new Set(items.map(({ kind }) => kind));
  return [
    ...items,
    ...(named.has('flags') ? [] : [{ kind: 'flags' as const }]),
    ...(named.has('modseq') || !enabled.has('CONDSTORE') ? [] : [{ kind: 'modseq' as const }]),
  ];
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

type Answer = 'sent' | 'gone' | 'unknown-encoding';
type Need = 'nothing' | 'outline' | 'message';

/** What of a message it takes to answer an item. */
function needOf(item: FetchItem): Need {
  switch (item.kind) {
    case 'envelope':
    case 'body':
    case 'bodystructure':
      return 'outline';
    case 'section':
      return isOfHeader(item) ? 'outline' : 'message';
    case 'binary':
    case 'binary-size':
    case 'preview':
      return 'message';
    default:
      return 'nothing';
  }
}

function isOfHeader({ section: { path, text } }: Extract<FetchItem, { kind: 'section' }>): boolean {
  return path.length === 0 && (text.kind === 'header' || text.kind === 'fields');
}

/** The outline that is kept, where it does. */
function outlineOnly(
  folder: FolderView['folder'],
  { uid }: Numbered['entry'],
  needs: ReadonlySet<Need>,
): Loaded | undefined {
  if (needs.has('message')) return undefined;
  const outline = decodeOutline(folder.summary(uid));
  return outline === undefined ? undefined : new Loaded(outline.header, outline);
}

/** The whole message; undefined when it is gone. Its outline is kept when it was asked for. */
async function load(
  folder: FolderView['folder'],
  { uid, size }: Numbered['entry'],
  needs: ReadonlySet<Need>,
): Promise<Loaded | undefined> {
  const bytes = await bytesOf(folder, uid);
  if (bytes === undefined) return undefined;
  const loaded = new Loaded(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), undefined);
  // What stands in for a message that is lost has another size, and is not remembered.
  if (needs.has('outline') && bytes.length === size && folder.summary(uid) === undefined)
    folder.keepSummary(uid, encodeOutline(loaded.outline));
  return loaded;
}

/** What to send of a message, and what that takes. */
interface Wish {
  readonly items: readonly FetchItem[];
  readonly needs: ReadonlySet<Need>;
}

/** Sends one FETCH response, or nothing when it cannot be whole. At once where nothing has to be read: there may be 100,000 of them. */
function fetchOne(session: Session, view: FolderView, message: Numbered, wish: Wish): Answer | Promise<Answer> {
  const { items, needs } = wish;
  if (needs.has('outline') || needs.has('message')) return fetchRead(session, view.folder, message, wish);
  const { writer } = session.connection;
  const shown = items.flatMap((item) => (isSimple(item) ? [simpleItem(item.kind, message.entry, undefined)] : []));
  return writer.put(`* ${message.sequence} FETCH (${shown.join(' ')})\r\n`)
    ? writer.flush().then(() => 'sent' as const)
    : 'sent';
}

async function fetchRead(
  { connection }: Session,
  folder: FolderView['folder'],
  { sequence, entry }: Numbered,
  { items, needs }: Wish,
): Promise<Answer> {
  const loaded = outlineOnly(folder, entry, needs) ?? (await load(folder, entry, needs));
  if (loaded === undefined) return 'gone';
  const decoded = new Map<FetchItem, Buffer | undefined>();
  for (const item of items) {
    if (item.kind !== 'binary' && item.kind !== 'binary-size') continue;
    const binary = await decodedPart(loaded.message, loaded.top, item.path);
    if (binary === 'unknown-encoding') return binary;
    decoded.set(item, binary);
  }
  const { writer } = connection;
  // One text as far as it goes: each wait costs more than what a small item is worth.
  let text = `* ${sequence} FETCH (`;
  for (const [index, item] of items.entries()) {
    if (index > 0) text += ' ';
    if (isSimple(item)) text += simpleItem(item.kind, entry, loaded);
    else if (item.kind === 'binary-size') text += `${item.label} ${decoded.get(item)?.length ?? 0}`;
    else {
      await writer.write(text);
      text = '';
      await writeOctets(writer, item, item.kind === 'section' ? loaded.sectionOf(item.section) : decoded.get(item));
    }
  }
  await writer.write(`${text})\r\n`);
  return 'sent';
}

async function bytesOf(folder: FolderView['folder'], uid: number): Promise<Uint8Array | undefined> {
  try {
    return await folder.bytes(uid);
  } catch (fault) {
    if (fault instanceof MailFault && fault.code === 'no-such-message') return undefined;
    throw fault;
  }
}

function simpleItem(kind: Simple['kind'], entry: Numbered['entry'], loaded: Loaded | undefined): string {
  switch (kind) {
    case 'flags':
      return `FLAGS (${entry.flags.join(' ')})`;
    case 'uid':
      return `UID ${entry.uid}`;
    case 'internaldate':
      return `INTERNALDATE "${formatDateTime(entry.internalDate)}"`;
    case 'size':
      return `RFC822.SIZE ${entry.size}`;
    case 'modseq':
      return `MODSEQ (${entry.modseq})`;
    case 'emailid':
      return `EMAILID (${entry.emailId})`;
    case 'threadid':
      // RFC 8474 §5.2: no threads are kept.
      return 'THREADID NIL';
    case 'preview':
      return `PREVIEW ${string(latin1Of(previewText(loaded!.message, loaded!.top)))}`;
    case 'envelope':
      return `ENVELOPE ${loaded!.outline.envelope}`;
    case 'body':
      return `BODY ${loaded!.outline.body}`;
    default:
      return `BODYSTRUCTURE ${loaded!.outline.bodyStructure}`;
  }
}

async function writeOctets(
  writer: Writer,
  item: Extract<FetchItem, { kind: 'section' | 'binary' }>,
  bytes: Buffer | undefined,
): Promise<void> {
  const label = item.partial === undefined ? item.label : `${item.label}<${item.partial.offset}>`;
  if (bytes === undefined) return await writer.write(`${label} NIL`);
  const part = partialOf(bytes, item.partial);
  // RFC 3516 §4.2: octets with NUL among them are a literal of another kind.
  const mark = item.kind === 'binary' && part.includes(0) ? '~' : '';
  await writer.write(`${label} ${mark}{${part.length}}\r\n`);
  for (let at = 0; at < part.length; at += portionBytes) await writer.write(part.subarray(at, at + portionBytes));
}

// How much of a message is handed to the socket before the client must have taken it.
const portionBytes = 65_536;

/** A message in memory, or its header where no more is needed; its structure is looked at only when something needs it. */
class Loaded {
  readonly message: Buffer;
  #outline: Outline | undefined;
  #top: Part | undefined;

  constructor(message: Buffer, outline: Outline | undefined) {
    this.message = message;
    this.#outline = outline;
  }

  get outline(): Outline {
    this.#outline ??= outlineOf(this.message, this.top);
    return this.#outline;
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
