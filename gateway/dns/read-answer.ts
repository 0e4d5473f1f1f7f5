import type { DecodedPacket, Answer as PacketRecord } from 'dns-packet';
import type { Answer, RecordType } from './answer.ts';

// RFC 1034 §3.6.2 warns of chains; eight aliases are more than any zone in use has.
const maxAliases = 8;
// RFC 2308 §5: no more than three hours; without an SOA there is no saying, and the usual reason is a record not yet published.
const maxNegativeTtlMs = 10_800_000;
const negativeTtlMs = 30_000;
const noError = 0;
const nxdomain = 3;

/** An answer and how long it is good for, in ms; nothing of `unknown` is kept. */
export interface Read {
  readonly answer: Answer;
  readonly ttlMs: number;
}

/** What a packet says about a question: records of the type at the name or at the end of its aliases, none of two kinds, or nothing that could be used. */
export function readAnswer(packet: DecodedPacket, name: string, type: RecordType): Read {
  // RFC 1035 §4.1.1: the response code is the low four bits of the flags.
  const code = (packet.flags ?? 0) & 0xf;
  if (code !== noError && code !== nxdomain) {
    const reason = refusals.get(code) ?? `the name server answered with code ${code}`;
    return { answer: { kind: 'unknown', reason }, ttlMs: 0 };
  }
  const { found, ttlMs } = atEndOfAliases(packet.answers ?? [], name, type);
  if (found.length > 0) {
    const records = found.flatMap((record) => recordOf(record, type));
    if (records.length < found.length)
      return { answer: { kind: 'unknown', reason: 'the answer was malformed' }, ttlMs: 0 };
    return { answer: { kind: 'records', records, ttlMs, authenticated: packet.flag_ad }, ttlMs };
  }
  return {
    answer: { kind: code === nxdomain ? 'nxdomain' : 'nodata', authenticated: packet.flag_ad },
    ttlMs: negativeTtl(packet),
  };
}

function atEndOfAliases(
  answers: readonly PacketRecord[],
  name: string,
  type: RecordType,
): { found: PacketRecord[]; ttlMs: number } {
  let at = name;
  let ttl = Number.POSITIVE_INFINITY;
  for (let hop = 0; hop <= maxAliases; hop += 1) {
    const here = answers.filter((record) => record.name.toLowerCase() === at);
    const found = here.filter((record) => record.type === type);
    ttl = Math.min(ttl, ...found.map(ttlOf));
    if (found.length > 0) return { found, ttlMs: ttl * 1_000 };
    const alias = here.find((record) => record.type === 'CNAME');
    if (alias === undefined) break;
    ttl = Math.min(ttl, ttlOf(alias));
    at = String((alias as { data?: unknown }).data).toLowerCase();
  }
  return { found: [], ttlMs: 0 };
}

function ttlOf(record: PacketRecord): number {
  const { ttl } = record as { ttl?: number };
  // RFC 2181 §8: a TTL with its highest bit set is zero.
  return ttl === undefined || ttl > 0x7fff_ffff ? 0 : ttl;
}

/** RFC 2308 §5: the lesser of the SOA's own TTL and its MINIMUM. */
function negativeTtl({ authorities = [] }: DecodedPacket): number {
  for (const record of authorities)
    if (record.type === 'SOA')
      return Math.min(ttlOf(record) * 1_000, (record.data.minimum ?? 0) * 1_000, maxNegativeTtlMs);
  return negativeTtlMs;
}

/** In the shape of {@link RecordsByType}; empty where the packet carries something else. */
function recordOf(record: PacketRecord, type: RecordType): unknown[] {
  const { data } = record as { data: unknown };
  switch (type) {
    case 'A':
    case 'AAAA':
    case 'PTR':
    case 'CNAME':
      return typeof data === 'string' ? [data] : [];
    case 'TXT': {
      const strings = [data].flat();
      return [strings.map((one) => (Buffer.isBuffer(one) ? one.toString('latin1') : String(one)))];
    }
    case 'MX': {
      const { preference = 0, exchange } = data as { preference?: number; exchange: string };
      // RFC 7505: the null MX is written as an empty name.
      return [{ priority: preference, exchange: exchange === '.' ? '' : exchange }];
    }
    default: {
      const { usage, selector, matchingType, certificate } = data as Readonly<Record<string, unknown>>;
      if (!(certificate instanceof Uint8Array)) return [];
      return [{ certUsage: usage, selector, match: matchingType, data: new Uint8Array(certificate) }];
    }
  }
}

const refusals: ReadonlyMap<number, string> = new Map([
  [1, 'the name server did not understand the question'],
  [2, 'the name server failed'],
  [4, 'the name server did not understand the question'],
  [5, 'the name server refused to answer'],
]);
