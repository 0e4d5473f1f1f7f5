import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import type { SigningKey } from '../identity/keys.ts';
import { bytesShape } from '../identity/shapes.ts';
import { decodeSigned, encodeSigned, signBytes, verifySigned } from '../identity/signed.ts';
import { sha256 } from './block-cipher.ts';

/** A head fits into one frame with room for an answer that carries two of them: what a fork or a stale write is answered with. */
export const maxHeadBytes = 60_000;
/** Predecessors named: the last head, and what a merge or an abandoned write left beside it. */
export const maxParents = 4;
/** What signature, keys and numbers take around the body. */
const frameBytes = 600;
export const maxHeadBodyBytes = maxHeadBytes - frameBytes;

const tag = 'head';
const shape = z.strictObject({
  logId: bytesShape(32),
  version: z.int().positive(),
  parents: z.array(bytesShape(32)).max(maxParents),
  at: z.int().nonnegative(),
  body: z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= maxHeadBodyBytes),
});

/** The newest signed statement of a log's one writer. Holders check form, signature, key and version; the body is sealed. */
export interface Head {
  /** The signing key of the owner. */
  readonly writer: Uint8Array;
  readonly logId: Uint8Array;
  /** Strictly increasing. */
  readonly version: number;
  /** SHA-256 of the heads that this one follows. */
  readonly parents: readonly Uint8Array[];
  readonly at: number;
  readonly body: Uint8Array;
  /** Where it lies. */
  readonly key: Uint8Array;
  /** SHA-256 of `bytes`: what a following head names as its parent. */
  readonly hash: Uint8Array;
  /** The exact signed bytes. */
  readonly bytes: Uint8Array;
}

/** Where the heads of a log lie: bound to the owner's key, so that nobody else can put one there. */
export function headKey(writer: Uint8Array, logId: Uint8Array): Uint8Array {
  return sha256('head\0', writer, logId);
}

/** Heads that were signed in this process, by their very octets: a writer who is a holder too, as each is of his own logs, does not read and verify what he has just made. */
const madeHere = new WeakMap<Uint8Array, Head>();

/** Signs a head; its octets must stay as they are. Throws RangeError when the body is too large. */
export function makeHead(head: Pick<Head, 'logId' | 'version' | 'parents' | 'at' | 'body'>, signing: SigningKey): Head {
  if (head.body.length > maxHeadBodyBytes) throw new RangeError(`a head's body is at most ${maxHeadBodyBytes} bytes`);
  const { logId, version, parents, at, body } = head;
  const payload = encodeCanonical({ logId, version, parents, at, body });
  const bytes = encodeSigned(signBytes(tag, payload, signing));
  const writer = signing.public;
  const made = { logId, version, parents, at, body, writer, key: headKey(writer, logId), hash: sha256(bytes), bytes };
  madeHere.set(bytes, made);
  return made;
}

/** The head in these bytes; undefined unless it is well formed, canonical and signed by the writer it names. Never throws. */
export function checkHead(bytes: Uint8Array): Head | undefined {
  const made = madeHere.get(bytes);
  if (made !== undefined) return made;
  const signed = decodeSigned(bytes, maxHeadBytes);
  if (signed === undefined || !verifySigned(tag, signed)) return undefined;
  const payload = decodeCanonical(signed.payload, maxHeadBytes);
  if (payload.kind === 'invalid') return undefined;
  const fields = shape.safeParse(payload.value).data;
  if (fields === undefined) return undefined;
  const writer = signed.signer;
  return { ...fields, writer, key: headKey(writer, fields.logId), hash: sha256(bytes), bytes };
}

/** Of heads of one key: those of the highest version, each once, in the order of their hashes. More than one is a fork. */
export function newestHeads(heads: readonly Head[]): Head[] {
  const top = Math.max(0, ...heads.map((head) => head.version));
  const distinct = new Map<string, Head>();
  for (const head of heads) if (head.version === top) distinct.set(Buffer.from(head.hash).toString('hex'), head);
  return [...distinct.entries()].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, head]) => head);
}
