import { createHash } from 'node:crypto';
import { equalBytes } from '../identity/canonical.ts';
import {
  type BlockSink,
  type BlockSource,
  contentAtHand,
  getContent,
  type Lease,
  putContent,
} from '../store/content.ts';
import { readBase64 } from './base64-form.ts';
import { asMailFault, MailFault } from './fault.ts';
import { decodeManifest, encodeManifest, type Segment, segmentLength, segmentSlices, sha256 } from './manifest.ts';
import { type MessageRef, maxMessageBytes } from './message-ref.ts';
import { leavesOf } from './mime-leaves.ts';
import { inSlices, sha256InSlices } from './slices.ts';

export { decodeMessageRef, encodeMessageRef, type MessageRef } from './message-ref.ts';

// A message up to here is one block, skeleton and all: one write, one read. Above it the bulk is in leaf parts anyway.
const maxWholeBytes = 48 * 1024;
// Leaf parts from here on are content of their own, convergent: the same attachment is stored once for all senders and
// encodings. Smaller ones stay in the salted skeleton, because what is small can be guessed (DESIGN §6).
const minLeafBytes = 16 * 1024;
// Leaves stored or fetched at the same time: hides round trips, bounds memory.
const leavesAtOnce = 4;

/** A piece of a message before it is stored: a literal range, or a leaf with the content that it decodes to. */
type Piece = { readonly segment: (ref: MessageRef['manifest']) => Segment; readonly content: Uint8Array };
type Cut = readonly (Segment | Piece)[];

function isPiece(part: Segment | Piece): part is Piece {
  return 'content' in part;
}

/** Literals and leaf parts, in order: put together again they are the message by construction. */
async function cut(bytes: Uint8Array): Promise<Cut> {
  const parts: (Segment | Piece)[] = [];
  let done = 0;
  const literalTo = (end: number): void => {
    if (end > done) parts.push({ kind: 'literal', bytes: bytes.subarray(done, end) });
  };
  for (const leaf of leavesOf(bytes)) {
    if (leaf.end - leaf.start < minLeafBytes) continue;
    const data = leaf.base64 ? await readBase64(bytes.subarray(leaf.start, leaf.end)) : undefined;
    if (data !== undefined && data.decoded.length < minLeafBytes) continue;
    const start = leaf.start + (data?.start ?? 0);
    const end = data === undefined ? leaf.end : leaf.start + data.end;
    literalTo(start);
    const content = data?.decoded ?? bytes.subarray(start, end);
    parts.push({ content, segment: (ref) => ({ kind: 'leaf', ref, form: data?.form }) });
    done = end;
  }
  literalTo(bytes.length);
  return parts;
}

async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += leavesAtOnce)
    results.push(...(await Promise.all(items.slice(from, from + leavesAtOnce).map(work))));
  return results;
}

/** Whether the manifest, read back, makes the very message again: only then may it stand for it. */
async function rebuilds(
  manifest: Uint8Array,
  contents: readonly Uint8Array[],
  size: number,
  hash: Uint8Array,
): Promise<boolean> {
  const leaves = contents.values();
  const rebuilt = createHash('sha256');
  for (const segment of decodeManifest(manifest, size)) {
    const leaf = segment.kind === 'leaf' ? leaves.next().value : undefined;
    await inSlices(segmentSlices(segment, leaf), (slice) => rebuilt.update(slice));
  }
  return rebuilt.digest().equals(hash);
}

function whole(bytes: Uint8Array): Uint8Array {
  return encodeManifest([{ kind: 'literal', bytes }]);
}

async function storeLeaves(sink: BlockSink, bytes: Uint8Array, hash: Uint8Array, lease: Lease): Promise<Uint8Array> {
  const parts = await cut(bytes);
  const pieces = parts.filter(isPiece);
  if (pieces.length === 0) return whole(bytes);
  const refs = await inTurns(pieces, ({ content }) => putContent(sink, content, { kind: 'convergent' }, lease));
  const next = refs.values();
  const segments = parts.map((part) => {
    if (!isPiece(part)) return part;
    const ref = next.next().value;
    if (ref === undefined) throw new MailFault('damaged', 'a leaf part was not stored');
    return part.segment(ref);
  });
  const manifest = encodeManifest(segments);
  const contents = pieces.map(({ content }) => content);
  return (await rebuilds(manifest, contents, bytes.length, hash)) ? manifest : whole(bytes);
}

/**
 * Stores a message so that {@link fetchMessage} gives it back octet for octet (proved by its hash before this resolves). The same salt and
 * message give the same blocks. Resolves when all is at the write quorum; throws MailFault `unavailable`, `too-large`.
 */
export async function storeMessage(
  sink: BlockSink,
  bytes: Uint8Array,
  options: { readonly salt: Uint8Array; readonly lease: Lease },
): Promise<MessageRef> {
  if (bytes.length > maxMessageBytes) throw new MailFault('too-large', `a message of ${bytes.length} octets`);
  const { salt, lease } = options;
  const hash = await sha256InSlices(bytes);
  try {
    const manifest = bytes.length <= maxWholeBytes ? whole(bytes) : await storeLeaves(sink, bytes, hash, lease);
    return { manifest: await putContent(sink, manifest, { kind: 'salted', salt }, lease), size: bytes.length, hash };
  } catch (error) {
    throw asMailFault(error, 'a message could not be stored');
  }
}

// A manifest is the message, the references and their frames, never much more.
const maxManifestOverhead = 1024 * 1024;

async function fetchSegments(source: BlockSource, ref: MessageRef): Promise<readonly Segment[]> {
  if (ref.size > maxMessageBytes || ref.manifest.size > ref.size + maxManifestOverhead)
    throw new MailFault('too-large', `a message said to have ${ref.size} octets`);
  return decodeManifest(await getContent(source, ref.manifest), ref.size);
}

/** The octets that segments of so many in all stand for. */
async function putTogether(source: BlockSource, segments: readonly Segment[], size: number): Promise<Uint8Array> {
  const [only] = segments;
  if (only?.kind === 'literal' && segments.length === 1) return only.bytes;
  const bytes = Buffer.allocUnsafeSlow(size);
  let end = 0;
  const placed = segments.map((segment) => {
    const start = end;
    end += segmentLength(segment);
    return { segment, start };
  });
  await inTurns(placed, async ({ segment, start }) => {
    let to = start;
    const leaf = segment.kind === 'leaf' ? await getContent(source, segment.ref) : undefined;
    await inSlices(segmentSlices(segment, leaf), (slice) => {
      bytes.set(slice, to);
      to += slice.length;
    });
  });
  return bytes;
}

/**
 * The message, verified against its hash. Throws MailFault `missing` (blocks gone from every holder), `unavailable` (holders silent),
 * `damaged` (the reference does not name a message), `too-large`. Memory and fetches are bounded by the size in the reference.
 */
export async function fetchMessage(source: BlockSource, ref: MessageRef): Promise<Uint8Array> {
  try {
    const bytes = await putTogether(source, await fetchSegments(source, ref), ref.size);
    if (Buffer.compare(await sha256InSlices(bytes), ref.hash) !== 0)
      throw new MailFault('damaged', 'a message that is not the one its reference names');
    return bytes;
  } catch (error) {
    throw asMailFault(error, 'a message could not be fetched');
  }
}

/**
 * The same of a message that is one block and can be had without a wait, as most mail on a node of its own is: at once, verified as well. Undefined
 * for any other, and for one with which something is the matter: {@link fetchMessage} says what.
 */
export function messageAtHand(source: BlockSource, ref: MessageRef): Uint8Array | undefined {
  if (ref.size > maxWholeBytes) return undefined;
  try {
    const skeleton = contentAtHand(source, ref.manifest);
    const segments = skeleton === undefined ? [] : decodeManifest(skeleton, ref.size);
    const [only] = segments;
    if (only?.kind !== 'literal' || segments.length > 1) return undefined;
    return equalBytes(sha256(only.bytes), ref.hash) ? only.bytes : undefined;
  } catch (error) {
    if (asMailFault(error, '') instanceof MailFault) return undefined;
    throw error;
  }
}

/** What keeps a message alive: its manifest and the contents of its large leaf parts. */
export async function contentsOf(source: BlockSource, ref: MessageRef): Promise<readonly MessageRef['manifest'][]> {
  // By construction a small message is its manifest; nothing needs to be fetched to know that.
  if (ref.size <= maxWholeBytes) return [ref.manifest];
  try {
    const segments = await fetchSegments(source, ref);
    return [ref.manifest, ...segments.flatMap((segment) => (segment.kind === 'leaf' ? [segment.ref] : []))];
  } catch (error) {
    throw asMailFault(error, 'the parts of a message could not be found');
  }
}
