import { decode, encode } from '@ipld/dag-cbor';
import type { Place } from '../log/place.ts';
import { MailFault } from './fault.ts';
import { FolderIndex } from './folder-index.ts';
import { IndexEntry, packedSize } from './index-entry.ts';
import { packedMessageRefBytes } from './message-ref.ts';
import { placeFields, placeOf } from './place-fields.ts';

// uid 4, modseq 6, internal date 6, number of its flag set 4, origin 6, serial 6, reference.
const fixedBytes = 32;
const entryBytes = fixedBytes + packedMessageRefBytes;
// id 32, uid 4, time 6.
const deliveryBytes = 42;
// modseq 6, from 4, to 4.
const goneBytes = 14;

/** The whole state of a folder as octets: the same state gives the same octets. Fixed layout, because a folder may have 100,000 entries. */
export function encodeFolderIndex(index: FolderIndex): Uint8Array {
  const sets = index.pool.sets().toSorted((a, b) => (a.flags.join(' ') < b.flags.join(' ') ? -1 : 1));
  const numbers = new Map(sets.map((set, number) => [set, number]));
  const entries = Buffer.alloc(index.length * entryBytes);
  index.entries().forEach((entry, place) => {
    let at = entries.writeUInt32BE(entry.uid, place * entryBytes);
    at = entries.writeUIntBE(entry.modseq, at, 6);
    at = entries.writeUIntBE(entry.internalDate, at, 6);
    at = entries.writeUInt32BE(numbers.get(entry.set) ?? 0, at);
    at = entries.writeUIntBE(entry.origin, at, 6);
    at = entries.writeUIntBE(entry.serial, at, 6);
    entry.packedRef.copy(entries, at);
  });
  const { place, uidValidity, clock } = index;
  const flagSets = sets.map(({ flags }) => flags);
  const [origins, aliases] = [[...index.origins], [...index.aliases]];
  const delivered = encodeDelivered(index);
  const gone = { before: index.gone.before, ranges: encodeGone(index) };
  const flagTimes = [...clock.times];
  const { latest } = clock;
  const kept = { sets: flagSets, entries, delivered, origins, aliases, gone, flagTimes, latest };
  return encode({ v: 2, place, uidValidity, ...kept });
}

function encodeGone(index: FolderIndex): Uint8Array {
  const ranges = index.gone.ranges();
  const bytes = Buffer.alloc(ranges.length * goneBytes);
  let at = 0;
  for (const { modseq, from, to } of ranges) {
    at = bytes.writeUIntBE(modseq, at, 6);
    at = bytes.writeUInt32BE(from, at);
    at = bytes.writeUInt32BE(to, at);
  }
  return bytes;
}

function encodeDelivered(index: FolderIndex): Uint8Array {
  const bytes = Buffer.alloc(index.delivered.size * deliveryBytes);
  let at = 0;
  for (const [id, { uid, at: time }] of index.delivered) {
    bytes.write(id, at, 32, 'latin1');
    bytes.writeUInt32BE(uid, at + 32);
    bytes.writeUIntBE(time, at + 36, 6);
    at += deliveryBytes;
  }
  return bytes;
}

type Fields = {
  readonly place: Place;
  readonly uidValidity: number;
  readonly latest: number;
  readonly sets: readonly (readonly string[])[];
  readonly entries: Uint8Array;
  readonly delivered: Uint8Array;
  readonly origins: readonly (readonly [number, number])[];
  readonly aliases: readonly (readonly [string, number])[];
  readonly gone: { readonly before: number; readonly ranges: Uint8Array };
  readonly flagTimes: readonly (readonly [string, number])[];
};

function fieldsOf(bytes: Uint8Array): Fields {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw new MailFault('damaged', 'a folder snapshot that does not parse', cause);
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { entries, delivered, sets, origins, aliases, flagTimes } = fields;
  const place = placeFields.safeParse(fields['place']);
  const numbers = [fields['uidValidity'], fields['latest']].every(
    (number) => Number.isSafeInteger(number) && Number(number) >= 0,
  );
  const shaped =
    fields['v'] === 2 &&
    place.success &&
    numbers &&
    Array.isArray(sets) &&
    sets.every((set) => Array.isArray(set) && set.every((flag) => typeof flag === 'string')) &&
    isPairs(origins, 'number') &&
    isPairs(aliases, 'string') &&
    isPairs(flagTimes, 'string') &&
    entries instanceof Uint8Array &&
    entries.length % entryBytes === 0 &&
    delivered instanceof Uint8Array &&
    delivered.length % deliveryBytes === 0 &&
    isGone(fields['gone']);
  if (!shaped) throw new MailFault('damaged', 'a folder snapshot of another shape');
  return fields as unknown as Fields;
}

function isPairs(value: unknown, first: 'number' | 'string'): boolean {
  return (
    Array.isArray(value) &&
    value.every((pair) => Array.isArray(pair) && typeof pair[0] === first && typeof pair[1] === 'number')
  );
}

function isGone(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { before, ranges } = value as Record<string, unknown>;
  return Number.isSafeInteger(before) && ranges instanceof Uint8Array && ranges.length % goneBytes === 0;
}

/** Throws MailFault `damaged` for what {@link encodeFolderIndex} does not make. */
export function decodeFolderIndex(bytes: Uint8Array): FolderIndex {
  const fields = fieldsOf(bytes);
  const index = new FolderIndex();
  index.place = placeOf(fields.place);
  index.uidValidity = fields.uidValidity;
  const entries = Buffer.from(fields.entries.buffer, fields.entries.byteOffset, fields.entries.byteLength);
  for (let at = 0; at < entries.length; at += entryBytes) {
    const flags = fields.sets[entries.readUInt32BE(at + 16)];
    if (flags === undefined) throw new MailFault('damaged', 'a folder snapshot with unknown flags');
    const packed = entries.toString('latin1', at + fixedBytes, at + entryBytes);
    const size = packedSize(entries.subarray(at + fixedBytes, at + entryBytes));
    const [uid, modseq] = [entries.readUInt32BE(at), entries.readUIntBE(at + 4, 6)];
    const [internalDate, set] = [entries.readUIntBE(at + 10, 6), index.pool.take(flags)];
    const [origin, serial] = [entries.readUIntBE(at + 20, 6), entries.readUIntBE(at + 26, 6)];
    index.restore(new IndexEntry({ uid, modseq, internalDate, size, set, packed, origin, serial }));
  }
  restoreDelivered(index, fields.delivered);
  for (const [origin, serial] of fields.origins) index.origins.set(origin, serial);
  for (const [name, uid] of fields.aliases) index.aliases.set(name, uid);
  restoreGone(index, fields.gone);
  for (const [name, at] of fields.flagTimes) index.clock.times.set(name, at);
  index.clock.latest = fields.latest;
  return index;
}

function restoreGone(index: FolderIndex, gone: Fields['gone']): void {
  const bytes = Buffer.from(gone.ranges.buffer, gone.ranges.byteOffset, gone.ranges.byteLength);
  const ranges = Array.from({ length: bytes.length / goneBytes }, (_, place) => {
    const at = place * goneBytes;
    return { modseq: bytes.readUIntBE(at, 6), from: bytes.readUInt32BE(at + 6), to: bytes.readUInt32BE(at + 10) };
  });
  index.gone.restore(gone.before, ranges);
}

function restoreDelivered(index: FolderIndex, delivered: Uint8Array): void {
  const bytes = Buffer.from(delivered.buffer, delivered.byteOffset, delivered.byteLength);
  for (let at = 0; at < bytes.length; at += deliveryBytes) {
    const id = bytes.toString('latin1', at, at + 32);
    index.delivered.set(id, { uid: bytes.readUInt32BE(at + 32), at: bytes.readUIntBE(at + 36, 6) });
  }
}
