import { decode, encode } from '@ipld/dag-cbor';
import { MailFault } from './fault.ts';
import type { FlagMode } from './flags.ts';
import { packedMessageRefBytes } from './message-ref.ts';
import type { UidRanges } from './uid-ranges.ts';

/** How a message came in by notification; kept in the log, not in the index. */
export interface DeliveryFacts {
  readonly id: Uint8Array;
  readonly envelopeFrom: string;
  readonly trace: string;
  readonly provenance?: Uint8Array | undefined;
}

/** One step of a folder's history (DESIGN §9). Flags are in their one spelling. */
export type FolderRecord =
  | { readonly kind: 'born'; readonly uidValidity: number }
  | {
      readonly kind: 'insert';
      readonly uid: number;
      readonly flags: readonly string[];
      readonly internalDate: number;
      readonly ref: Uint8Array;
      readonly at: number;
      readonly delivery?: DeliveryFacts | undefined;
    }
  | { readonly kind: 'flags'; readonly mode: FlagMode; readonly flags: readonly string[]; readonly uids: UidRanges }
  | { readonly kind: 'expunge'; readonly uids: UidRanges };

// Arrays, not maps: a head carries dozens of these and every name would be repeated.
export function encodeFolderRecord(record: FolderRecord): Uint8Array {
  switch (record.kind) {
    case 'born':
      return encode(['born', record.uidValidity]);
    case 'insert': {
      const { uid, flags, internalDate, ref, at, delivery } = record;
      const facts =
        delivery === undefined
          ? null
          : [delivery.id, delivery.envelopeFrom, delivery.trace, delivery.provenance ?? null];
      return encode(['insert', uid, flags, internalDate, ref, at, facts]);
    }
    case 'flags':
      return encode(['flags', record.mode, record.flags, record.uids]);
    default:
      return encode(['expunge', record.uids]);
  }
}

const bad = (what: string): MailFault => new MailFault('damaged', `a folder record with ${what}`);

function asNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw bad('a wrong number');
  return value;
}

function asString(value: unknown): string {
  if (typeof value !== 'string') throw bad('a wrong text');
  return value;
}

function asList<T>(value: unknown, item: (value: unknown) => T): readonly T[] {
  if (!Array.isArray(value)) throw bad('a wrong list');
  return value.map(item);
}

function asBytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw bad('wrong octets');
  return value;
}

function asRanges(value: unknown): UidRanges {
  const ranges = asList(value, asNumber);
  // Ascending and in pairs: then walking them is bounded by the folder, not by what they claim.
  if (ranges.length % 2 !== 0 || ranges.some((uid, i) => uid < (ranges[i - 1] ?? 0))) throw bad('wrong uids');
  return ranges;
}

function asMode(value: unknown): FlagMode {
  if (value === 'set' || value === 'add' || value === 'remove') return value;
  throw bad('a wrong mode');
}

function asDelivery(value: unknown): DeliveryFacts | undefined {
  if (value === null) return undefined;
  const [id, envelopeFrom, trace, provenance] = asList(value, (item) => item);
  return {
    id: asBytes(id),
    envelopeFrom: asString(envelopeFrom),
    trace: asString(trace),
    ...(provenance === null ? {} : { provenance: asBytes(provenance) }),
  };
}

function asRef(value: unknown): Uint8Array {
  const ref = asBytes(value);
  if (ref.length !== packedMessageRefBytes) throw bad('a wrong reference');
  return ref;
}

function row(bytes: Uint8Array): readonly unknown[] {
  try {
    return asList(decode(bytes), (item) => item);
  } catch (cause) {
    throw new MailFault('damaged', 'a folder record that does not parse', cause);
  }
}

/** Throws MailFault `damaged` for what {@link encodeFolderRecord} does not make. */
export function decodeFolderRecord(bytes: Uint8Array): FolderRecord {
  const [kind, a, b, c, d, e, f] = row(bytes);
  switch (kind) {
    case 'born':
      return { kind, uidValidity: asNumber(a) };
    case 'insert':
      return {
        kind,
        uid: asNumber(a),
        flags: asList(b, asString),
        internalDate: asNumber(c),
        ref: asRef(d),
        at: asNumber(e),
        delivery: asDelivery(f),
      };
    case 'flags':
      return { kind, mode: asMode(a), flags: asList(b, asString), uids: asRanges(c) };
    case 'expunge':
      return { kind, uids: asRanges(a) };
    default:
      throw bad('an unknown kind');
  }
}
