import { setImmediate as turn } from 'node:timers/promises';
import { decode, encode } from '@ipld/dag-cbor';
import type { Address } from '../../policy/address.ts';
import { decryptBlock, encryptBlock } from './block-cipher.ts';
import { StoreFault } from './fault.ts';

/** A holder refuses larger blocks; with its frame a block stays well below the overlay's 128 KiB. */
export const maxBlockBytes = 65_000;
/** With its tag a full chunk is 15 pages of the disk engine minus its 16 bytes of page head, and two of them share a frame. */
export const chunkBytes = 15 * 4096 - 16 - 16;
// 1 MiB of ciphertext per insert; two inserts in flight hide the round trip while memory stays bounded.
const blocksPerInsert = 16;
const insertsInFlight = 2;
// Reading ahead hides the round trip: 8 blocks are half a megabyte.
const blocksAhead = 8;
// 700 references to the manifest: two levels hold 28 GB, so three never come from us.
const maxDepth = 3;

// What lies behind a reference is guessable when it is small, and the last piece of a convergent content is: below this the last two are made even.
const minChunkBytes = 16 * 1024;
// No manifest of ours has a reference for less than this on average; so what a stranger's reference makes a reader fetch is bounded by its size.
const leastBytesPerRef = 4 * 1024;

/** References in one manifest: 700 of at most 84 bytes stay below one block. */
const maxManifestRefs = 700;
/** Larger content is refused before anything is allocated: seven times the largest message, for the snapshots of very large mailboxes. */
const maxContentBytes = 256 * 1024 * 1024;
// An encoded reference: two byte strings of 32, a number of up to 5 bytes, a small number, and their heads.
const maxRefBytes = 96;

/** Names a piece of content and gives the key to read it. Whoever holds it can read; keep it sealed. */
export interface ContentRef {
  /** SHA-256 of the ciphertext: where the block lies. */
  readonly key: Uint8Array;
  /** 32 bytes: the key it is encrypted under. */
  readonly secret: Uint8Array;
  /** Plaintext bytes. */
  readonly size: number;
  /** `tree`: the block is a manifest of further refs. */
  readonly kind: 'block' | 'tree';
}

/**
 * Convergent content is stored once for everyone who has the same bytes, so whoever can guess it can tell that it is there: only for large,
 * unguessable parts. Salted: the same salt and bytes give the same block, so a retried job stores nothing twice.
 */
export type Secrecy = { readonly kind: 'convergent' } | { readonly kind: 'salted'; readonly salt: Uint8Array };

/** For whom a block is kept, and until when (ms since the epoch). */
export interface Lease {
  readonly identity: Address;
  readonly until: number;
  /** For what must be writable when a quota is used up, because without it nothing could be deleted: the records of logs. */
  readonly reserve?: boolean;
}

export interface Block {
  readonly key: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Where blocks can be put. Resolves when every block is durable at the write quorum; throws StoreFault `quorum` otherwise. */
export interface BlockSink {
  insert(blocks: readonly Block[], lease: Lease): Promise<{ copies: number; wanted: number }>;
}

/** Where blocks can be had. What it gives is verified; throws StoreFault `missing` (all proper holders said no) or `unavailable`. */
export interface BlockSource {
  fetch(key: Uint8Array): Promise<Uint8Array>;
  /** The block, verified as well, where it can be had without a wait. Undefined says nothing: {@link fetch} does. */
  atHand?(key: Uint8Array): Uint8Array | undefined;
}

type Row = readonly [Uint8Array, Uint8Array, number, number];

function rowOf(ref: ContentRef): Row {
  return [ref.key, ref.secret, ref.size, ref.kind === 'tree' ? 1 : 0];
}

function refOf(row: unknown): ContentRef {
  if (!Array.isArray(row) || row.length !== 4) throw new StoreFault('invalid', 'a reference has four fields');
  const [key, secret, size, kind] = row as readonly unknown[];
  if (!(key instanceof Uint8Array) || key.length !== 32 || !(secret instanceof Uint8Array) || secret.length !== 32)
    throw new StoreFault('invalid', 'a reference names a key and a secret of 32 bytes each');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || size > maxContentBytes)
    throw new StoreFault('invalid', `a reference names a size of 0 to ${maxContentBytes} bytes`);
  if (kind !== 0 && kind !== 1) throw new StoreFault('invalid', 'a reference is to a block or a tree');
  return { key, secret, size, kind: kind === 1 ? 'tree' : 'block' };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (cause) {
    throw new StoreFault('invalid', 'a reference is not DAG-CBOR', { cause });
  }
}

/** At most 96 bytes; to be kept sealed, for it opens the content. */
export function encodeRef(ref: ContentRef): Uint8Array {
  return encode(rowOf(ref));
}

/** Throws StoreFault `invalid` for anything that {@link encodeRef} does not make. */
export function decodeRef(bytes: Uint8Array): ContentRef {
  if (bytes.length > maxRefBytes) throw new StoreFault('invalid', 'a reference is at most 96 bytes');
  return refOf(parse(bytes));
}

function encodeManifest(refs: readonly ContentRef[]): Uint8Array {
  return encode(refs.map(rowOf));
}

/** The references a manifest of `size` plaintext bytes holds; throws StoreFault `invalid` unless they add up to it. */
function decodeManifest(bytes: Uint8Array, size: number): ContentRef[] {
  const rows = parse(bytes);
  if (!Array.isArray(rows) || rows.length === 0 || rows.length > maxManifestRefs)
    throw new StoreFault('invalid', `a manifest holds 1 to ${maxManifestRefs} references`);
  if (rows.length > size / leastBytesPerRef + 1)
    throw new StoreFault('invalid', `a manifest of ${size} bytes does not need ${rows.length} references`);
  const refs = rows.map(refOf);
  // A reference to nothing would cost a fetch and add nothing to the sum.
  if (refs.some((ref) => ref.size === 0) || refs.reduce((sum, ref) => sum + ref.size, 0) !== size)
    throw new StoreFault('invalid', 'the parts of a manifest do not add up to its size');
  return refs;
}

/** The pieces of content, in order: full ones, of which the last two are even where the last would be small. At least one. */
function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  let at = 0;
  do {
    const left = bytes.length - at;
    const small = left > chunkBytes && left < chunkBytes + minChunkBytes;
    const chunk = bytes.subarray(at, at + (small ? Math.ceil(left / 2) : chunkBytes));
    yield chunk;
    at += chunk.length;
  } while (at < bytes.length);
}

/** Hands blocks on in inserts of 1 MiB, at most two of them under way. */
class Inserting {
  readonly #sink: BlockSink;
  readonly #lease: Lease;
  readonly #underWay = new Set<Promise<void>>();
  #waiting: Block[] = [];
  #sends = 0;

  constructor(sink: BlockSink, lease: Lease) {
    this.#sink = sink;
    this.#lease = lease;
  }

  async add(block: Block): Promise<void> {
    this.#waiting.push(block);
    if (this.#waiting.length >= blocksPerInsert) await this.#send();
  }

  /** Resolves when everything added is durable at the quorum. */
  async finish(): Promise<void> {
    if (this.#waiting.length > 0) await this.#send();
    await Promise.all(this.#underWay);
  }

  /** Waits for what is under way, whatever became of it: nothing outlives the call that started it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #send(): Promise<void> {
    // A store that has the blocks already answers without a wait in which others had a turn.
    if (this.#sends > 0) await turn();
    this.#sends += 1;
    while (this.#underWay.size >= insertsInFlight) await Promise.race(this.#underWay);
    const blocks = this.#waiting;
    this.#waiting = [];
    const sent: Promise<void> = this.#sink.insert(blocks, this.#lease).then(() => {
      this.#underWay.delete(sent);
    });
    // The rejection is met by finish() or the race above; until then it must not count as unhandled.
    sent.catch(() => undefined);
    this.#underWay.add(sent);
  }
}

async function putBlock(
  to: Inserting,
  bytes: Uint8Array,
  secrecy: Secrecy,
  size: number,
  kind: ContentRef['kind'],
): Promise<ContentRef> {
  const block = encryptBlock(bytes, secrecy.kind === 'salted' ? secrecy.salt : undefined);
  await to.add(block);
  return { key: block.key, secret: block.secret, size, kind };
}

async function putTree(to: Inserting, refs: readonly ContentRef[], secrecy: Secrecy): Promise<ContentRef> {
  const [only] = refs;
  if (refs.length === 1 && only !== undefined) return only;
  const above: ContentRef[] = [];
  for (let at = 0; at < refs.length; at += maxManifestRefs) {
    const group = refs.slice(at, at + maxManifestRefs);
    const size = group.reduce((sum, ref) => sum + ref.size, 0);
    above.push(await putBlock(to, encodeManifest(group), secrecy, size, 'tree'));
  }
  return putTree(to, above, secrecy);
}

/**
 * Encrypts content, cuts it into blocks under manifests and inserts them all. Resolves when every block is durable at the write quorum;
 * what the sink throws comes through. The same bytes and secrecy give the same reference.
 */
export async function putContent(
  sink: BlockSink,
  bytes: Uint8Array,
  secrecy: Secrecy,
  lease: Lease,
): Promise<ContentRef> {
  if (bytes.length > maxContentBytes) throw new StoreFault('invalid', `content is at most ${maxContentBytes} bytes`);
  const inserting = new Inserting(sink, lease);
  try {
    const refs: ContentRef[] = [];
    for (const chunk of chunksOf(bytes)) refs.push(await putBlock(inserting, chunk, secrecy, chunk.length, 'block'));
    const root = await putTree(inserting, refs, secrecy);
    await inserting.finish();
    return root;
  } finally {
    await inserting.settle();
  }
}

async function fetchPlain(source: BlockSource, ref: ContentRef): Promise<Uint8Array> {
  return opened(await source.fetch(ref.key), ref);
}

function opened(block: Uint8Array, ref: ContentRef): Uint8Array {
  const plain = decryptBlock(block, ref.secret);
  if (ref.kind === 'block' && plain.length !== ref.size)
    throw new StoreFault('invalid', 'a block is not of the size its reference names');
  return plain;
}

async function* readAt(source: BlockSource, ref: ContentRef, depth: number): AsyncGenerator<Uint8Array> {
  if (ref.kind === 'block') {
    yield await fetchPlain(source, ref);
    return;
  }
  if (depth >= maxDepth) throw new StoreFault('invalid', 'content is a tree of more than three levels');
  const refs = decodeManifest(await fetchPlain(source, ref), ref.size);
  const ahead: Promise<Uint8Array>[] = [];
  let next = 0;
  try {
    for (const [index, child] of refs.entries()) {
      for (; next < refs.length && ahead.length < blocksAhead; next++) {
        const sooner = refs[next];
        if (sooner?.kind !== 'block') break;
        const fetched = fetchPlain(source, sooner);
        fetched.catch(() => undefined); // Met below when its turn comes, or by allSettled when the reader leaves first.
        ahead.push(fetched);
      }
      // Blocks on our own disk come, and are decrypted, without any wait in which others had a turn.
      if (index > 0 && index % blocksAhead === 0) await turn();
      const block = child.kind === 'block' ? ahead.shift() : undefined;
      if (block !== undefined) yield await block;
      else {
        next++;
        yield* readAt(source, child, depth + 1);
      }
    }
  } finally {
    await Promise.allSettled(ahead);
  }
}

/** The content block by block, a few blocks ahead of the reader, whatever its size. Throws what the source throws, and StoreFault `invalid`. */
export function readContent(source: BlockSource, ref: ContentRef): AsyncIterable<Uint8Array> {
  return readAt(source, ref, 0);
}

/** The whole content, of exactly `ref.size` bytes. */
export async function getContent(source: BlockSource, ref: ContentRef): Promise<Uint8Array> {
  if (ref.kind === 'block') return fetchPlain(source, ref);
  const whole = new Uint8Array(ref.size);
  let at = 0;
  for await (const chunk of readContent(source, ref)) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The same of content that is one block and can be had without a wait; undefined for any other. Throws StoreFault `invalid`. */
export function contentAtHand(source: BlockSource, ref: ContentRef): Uint8Array | undefined {
  const block = ref.kind === 'block' ? source.atHand?.(ref.key) : undefined;
  return block === undefined ? undefined : opened(block, ref);
}

/** The keys of all blocks that a content is made of. Reads its manifests only. Throws what {@link readContent} throws. */
export async function* keysOf(source: BlockSource, ref: ContentRef): AsyncGenerator<Uint8Array> {
  yield* keysAt(source, ref, 0);
}

async function* keysAt(source: BlockSource, ref: ContentRef, depth: number): AsyncGenerator<Uint8Array> {
  yield ref.key;
  if (ref.kind === 'block') return;
  if (depth >= maxDepth) throw new StoreFault('invalid', 'content is a tree of more than three levels');
  for (const child of decodeManifest(await fetchPlain(source, ref), ref.size)) yield* keysAt(source, child, depth + 1);
}
