import { decode, encode } from '@ipld/dag-cbor';
import { MailFault } from './fault.ts';
import type { FlagMode } from './flags.ts';
import { packedMessageRefBytes } from './message-ref.ts';
import type { Runs } from './runs.ts';

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
      /** Who inserted it, and his how manyth insertion it is: together its name for ever, in whatever history of the log it lies. */
      readonly origin: number;
      readonly serial: number;
      readonly flags: readonly string[];
      readonly internalDate: number;
      readonly ref: Uint8Array;
      readonly at: number;
      readonly delivery?: DeliveryFacts | undefined;
    }
  | {
      readonly kind: 'flags';
      readonly mode: FlagMode;
      readonly flags: readonly string[];
      readonly runs: Runs;
      /** When; after all changes that the writer knew of, whatever his clock says. */
      readonly at: number;
    }
  | { readonly kind: 'expunge'; readonly runs: Runs };

// Arrays, not maps: a head carries dozens of these and every name would be repeated.
export function encodeFolderRecord(record: FolderRecord): Uint8Array {
  switch (record.kind) {
    case 'born':
      return encode(['born', record.uidValidity]);
    case 'insert': {
      const { flags, internalDate, ref, at, delivery, origin, serial } = record;
      const facts =
        delivery === undefined
          ? null
          : [delivery.id, delivery.envelopeFrom, delivery.trace, delivery.provenance ?? null];
      return encode(['insert', flags, internalDate, ref, at, facts, origin, serial]);
    }
    case 'flags':
      return encode(['flags', record.mode, record.flags, record.runs, record.at]);
    default:
      return encode(['expunge', record.runs]);
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

function asRuns(value: unknown): Runs {
  const runs = asList(value, asNumber);
  if (runs.length % 4 !== 0) throw bad('wrong runs');
  return runs;
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
  const [kind, a, b, c, d, e, f, g] = row(bytes);
  switch (kind) {
    case 'born':
      return { kind, uidValidity: asNumber(a) };
    case 'insert':
      return {
        kind,
        flags: asList(a, asString),
        internalDate: asNumber(b),
        ref: asRef(c),
        at: asNumber(d),
        delivery: asDelivery(e),
        origin: asNumber(f),
        serial: asNumber(g),
      };
    case 'flags':
      return { kind, mode: asMode(a), flags: asList(b, asString), runs: asRuns(c), at: asNumber(d) };
    case 'expunge':
      return { kind, runs: asRuns(a) };
    default:
      throw bad('an unknown kind');
  }
}

// An array of eight whose first is the text: how every insertion begins, and nothing else.
const insertStart = Buffer.concat([Buffer.of(0x88), Buffer.from(encode('insert'))]);

/** An insertion takes a number of the log: its uid. */
export function takesUid(record: Uint8Array): 0 | 1 {
  return Buffer.compare(record.subarray(0, insertStart.length), insertStart) === 0 ? 1 : 0;
}
