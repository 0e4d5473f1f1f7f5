import { MailFault } from '../../../mail/fault.ts';
import { keepOutline } from '../../kept-outline.ts';
import type { Command } from '../command/command.ts';
import type { FetchItem } from '../command/fetch-items.ts';
import { decodeOutline } from '../message/outline.ts';
import { partialOf } from '../message/section.ts';
import { decodedPart } from '../message/transfer-encoding.ts';
import type { Writer } from '../wire/writer.ts';
import { changeFlags } from './change-messages.ts';
import { wantsModseq } from './enabled.ts';
import { itemText, Loaded, type Shown } from './fetch-text.ts';
import { ReadAhead } from './read-ahead.ts';
import { tellVanishedOf } from './resync.ts';
import { bad, type Completion, no, ok, type Selected, type Session } from './session.ts';
import { Turns } from './turns.ts';
import type { FolderView, Numbered } from './view.ts';

/** FETCH (RFC 3501 §6.4.5). One message is in memory at a time, and a few small ones that come next; what it sends waits for the client. */

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
  const wanted =
    changedSince === undefined
      ? resolved.messages
      : resolved.messages.filter(({ entry }) => entry.modseq > changedSince);
  const plan = planOf(items);
  const ahead = new ReadAhead(view.folder, plan.needs.has('message') ? wanted : []);
  try {
    return marks
      ? await fetchMarking(session, view, wanted, { plan, seenPlan: planOf(withFlags(session, items)), ahead })
      : await fetchAll(session, view, wanted, { plan, ahead });
  } finally {
    await ahead.end();
  }
}

interface Sending {
  readonly plan: Plan;
  readonly ahead: ReadAhead;
}

// Nothing is read for a list of flags: a microsecond each.
const listedPerTurn = 2_048;
const readPerTurn = 256;

async function fetchAll(
  session: Session,
  view: FolderView,
  messages: readonly Numbered[],
  sending: Sending,
): Promise<Completion> {
  const turns = new Turns(needsMessage(sending.plan) ? readPerTurn : listedPerTurn);
  let gone = 0;
  for (const message of messages) {
    if (turns.due()) await turns.give();
    const sent = fetchOne(session, view, message, sending);
    const answer = typeof sent === 'string' ? sent : await sent;
    if (answer === 'unknown-encoding') return unknownEncoding;
    if (answer === 'gone') gone += 1;
  }
  return fetched(gone);
}

/** The same where reading sets \\Seen. */
async function fetchMarking(
  session: Session,
  view: FolderView,
  messages: readonly Numbered[],
  { plan, seenPlan, ahead }: Sending & { readonly seenPlan: Plan },
): Promise<Completion> {
  const turns = new Turns(readPerTurn);
  let gone = 0;
  for (let at = 0; at < messages.length; at += batchSize) {
    const batch = messages.slice(at, at + batchSize);
    const seen = await markSeen(session, view, batch);
    for (const message of batch) {
      if (turns.due()) await turns.give();
      const { uid } = message.entry;
      const current = view.numbered([uid])[0] ?? message;
      const answer = await fetchOne(session, view, current, { plan: seen.has(uid) ? seenPlan : plan, ahead });
      if (answer === 'unknown-encoding') return unknownEncoding;
      if (answer === 'gone') gone += 1;
    }
  }
  return fetched(gone);
}

// RFC 3516 §4.3.
const unknownEncoding = no('a part has a transfer encoding that is not known here', 'UNKNOWN-CTE');

/** RFC 5530 §3: some were expunged by another session while this one had not been told yet. */
function fetched(gone: number): Completion {
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

/** Where reading marked it: its flags are news, and their mod-sequence with them. */
function withFlags({ enabled }: Session, items: readonly FetchItem[]): readonly FetchItem[] {
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
    await changeFlags(session, view, { uids: unseen, mode: 'add', flags: ['\\Seen'] });
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

/** What to send of each message, made ready once: there may be 100,000 of them. */
interface Plan {
  readonly needs: ReadonlySet<Need>;
  /** Whether parts have to be decoded, which takes turns of the event loop. */
  readonly decodes: boolean;
  readonly items: readonly { readonly item: FetchItem; readonly text: (message: Shown) => string }[];
}

function planOf(items: readonly FetchItem[]): Plan {
  return {
    needs: new Set(items.map(needOf)),
    decodes: items.some(({ kind }) => kind === 'binary' || kind === 'binary-size'),
    items: items.map((item) => ({ item, text: isBody(item) || item.kind === 'binary-size' ? noText : itemText(item) })),
  };
}

const noText = (): string => '';

/** The outline that is kept, where it does. */
function outlineOnly(folder: FolderView['folder'], { uid }: Numbered['entry'], { needs }: Plan): Loaded | undefined {
  if (needs.has('message')) return undefined;
  const outline = decodeOutline(folder.summary(uid));
  return outline === undefined ? undefined : new Loaded(outline.header, outline);
}

/** A whole message. Its outline is kept when it was asked for. */
function loadedOf(folder: FolderView['folder'], entry: Numbered['entry'], bytes: Uint8Array, plan: Plan): Loaded {
  const loaded = new Loaded(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), undefined);
  // What stands in for a message that is lost has another size, and is not remembered.
  if (plan.needs.has('outline') && bytes.length === entry.size) keepOutline(folder, entry.uid, loaded.outline);
  return loaded;
}

function needsMessage({ needs }: Plan): boolean {
  return needs.has('outline') || needs.has('message');
}

/** Sends one FETCH response, or nothing when it cannot be whole. At once where nothing has to be fetched. */
function fetchOne(session: Session, view: FolderView, message: Numbered, sending: Sending): Answer | Promise<Answer> {
  const { writer } = session.connection;
  const { plan } = sending;
  const read = needsMessage(plan);
  const kept = read ? outlineOnly(view.folder, message.entry, plan) : undefined;
  if (!read || kept !== undefined) return send(writer, message, kept, plan);
  const bytes = sending.ahead.bytes(message.entry);
  if (bytes instanceof Promise || plan.decodes) return fetchRead(session, view.folder, message, { plan, bytes });
  return bytes === undefined ? 'gone' : send(writer, message, loadedOf(view.folder, message.entry, bytes, plan), plan);
}

function send(
  writer: Writer,
  message: Numbered,
  loaded: Loaded | undefined,
  plan: Plan,
  decoded = noneDecoded,
): Answer | Promise<Answer> {
  return put(writer, message, { entry: message.entry, loaded }, plan, decoded)
    ? writer.flush().then(() => 'sent' as const)
    : 'sent';
}

const noneDecoded: ReadonlyMap<FetchItem, Buffer | undefined> = new Map();

async function fetchRead(
  { connection: { writer } }: Session,
  folder: FolderView['folder'],
  message: Numbered,
  { plan, bytes: coming }: { readonly plan: Plan; readonly bytes: ReturnType<ReadAhead['bytes']> },
): Promise<Answer> {
  const bytes = await coming;
  if (bytes === undefined) return 'gone';
  const loaded = loadedOf(folder, message.entry, bytes, plan);
  const decoded = new Map<FetchItem, Buffer | undefined>();
  for (const { item } of plan.items) {
    if (item.kind !== 'binary' && item.kind !== 'binary-size') continue;
    const binary = await decodedPart(loaded.message, loaded.top, item.path);
    if (binary === 'unknown-encoding') return binary;
    decoded.set(item, binary);
  }
  return send(writer, message, loaded, plan, decoded);
}

/** One response, handed to the writer without a wait: of a message that is in memory nothing is copied before it is sent. */
function put(
  writer: Writer,
  { sequence }: Numbered,
  shown: Shown,
  { items }: Plan,
  decoded: ReadonlyMap<FetchItem, Buffer | undefined>,
): boolean {
  let text = `* ${sequence} FETCH (`;
  for (let index = 0; index < items.length; index += 1) {
    const { item, text: textOf } = items[index]!;
    if (index > 0) text += ' ';
    if (item.kind === 'binary-size') text += `${item.label} ${decoded.get(item)?.length ?? 0}`;
    else if (isBody(item)) {
      const bytes = item.kind === 'section' ? shown.loaded!.sectionOf(item.section) : decoded.get(item);
      writer.put(text);
      text = putOctets(writer, item, bytes);
    } else text += textOf(shown);
  }
  return writer.put(`${text})\r\n`);
}

/** Gives what is to be sent behind it. */
function putOctets(
  writer: Writer,
  item: Extract<FetchItem, { kind: 'section' | 'binary' }>,
  bytes: Buffer | undefined,
): string {
  const label = item.partial === undefined ? item.label : `${item.label}<${item.partial.offset}>`;
  if (bytes === undefined) return `${label} NIL`;
  const part = partialOf(bytes, item.partial);
  // RFC 3516 §4.2: octets with NUL among them are a literal of another kind.
  const mark = item.kind === 'binary' && part.includes(0) ? '~' : '';
  writer.put(`${label} ${mark}{${part.length}}\r\n`);
  writer.put(part);
  return '';
}
