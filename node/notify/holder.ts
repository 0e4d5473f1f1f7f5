import { checkIdentityCertificate, type Trust } from '../identity/certificate.ts';
import type { Member } from '../overlay/overlay.ts';
import { sameBytes } from './field.ts';
import { memoryMs } from './lifetime.ts';
import type { PendingTable } from './pending-table.ts';
import { PeerRates, submissionRate } from './rate.ts';
import { itemOf } from './receipt.ts';
import { decodeOuter } from './sealed.ts';
import {
  type Carried,
  decodeKeys,
  decodeList,
  decodePut,
  encodeListed,
  encodePush,
  encodePutAnswers,
  encodeStandings,
  maxBatchBytes,
  type Pushed,
  type PutAnswer,
  type Standing,
} from './wire.ts';

// Checked certificates of recipients, by their exact bytes: a gateway sends to the same few hundred again and again.
const maxChecked = 2000;
const checkedForMs = 60_000;

/** The part of a node that keeps notifications for the recipients of others (DESIGN §8.2 to §8.4). Trusts no sender and no peer. */
export class Holder {
  readonly #table: PendingTable;
  readonly #trust: () => Trust;
  readonly #rates: PeerRates;
  readonly #checked = new Map<string, { to: Uint8Array; until: number }>();

  constructor(options: { table: PendingTable; trust: () => Trust }) {
    this.#table = options.table;
    this.#trust = options.trust;
    this.#rates = new PeerRates(submissionRate, () => options.trust().now);
  }

  /** Keeps what it may. `kept` is said only for what is synced to disk. */
  async put(body: Uint8Array, from: Member): Promise<Uint8Array> {
    const items = decodePut(body);
    // By whose node it is, so that many nodes of one identity get no more than one. Who wrote an item is sealed, and so is not for a holder to count.
    const allowed = this.#rates.draw(from.owner, items.length);
    const answers = items.map(async (item, number) =>
      number < allowed ? this.#putOne(item, from.owner) : ({ kind: 'busy' } as const),
    );
    return encodePutAnswers(await Promise.all(answers));
  }

  async #putOne(item: Carried, bringer: string): Promise<PutAnswer> {
    const { now } = this.#trust();
    const recipient = this.#recipient(item.certificate, now);
    if (recipient === undefined) return { kind: 'refused' };
    const outer = readOuter(item.bytes);
    if (outer === undefined || !sameBytes(outer.to, recipient.to)) return { kind: 'refused' };
    if (item.at < now - memoryMs) return { kind: 'refused' };
    const key = { to: outer.to, id: outer.id, item: itemOf(item.bytes) };
    const receipt = this.#table.receiptFor(key);
    if (receipt !== undefined) return { kind: 'answered', receipt };
    // A time ahead of ours would stretch the item's life.
    const kept = { bytes: item.bytes, origin: item.origin, at: Math.min(item.at, now) };
    return { kind: await this.#table.put(outer.to, outer.id, kept, item.certificate, bringer) };
  }

  /** Whose certificate this is; the signature is checked once a minute. Nobody certified: nothing is kept for them. */
  #recipient(certificate: Uint8Array, now: number): { to: Uint8Array } | undefined {
    const name = Buffer.from(itemOf(certificate)).toString('hex');
    const known = this.#checked.get(name);
    // Further ahead than it was ever set: the clock went back.
    if (known !== undefined && known.until > now && known.until <= now + checkedForMs) return known;
    this.#checked.delete(name);
    const check = checkIdentityCertificate(certificate, this.#trust());
    // A list too old to be sure of is no reason to lose mail: the recipient decides.
    if (check.kind !== 'valid' && check.kind !== 'unknown') return undefined;
    const to = check.certificate.signingKey;
    const oldest = this.#checked.keys().next();
    if (this.#checked.size >= maxChecked && oldest.done === false) this.#checked.delete(oldest.value);
    const entry = { to, until: now + checkedForMs };
    this.#checked.set(name, entry);
    return entry;
  }

  /** Ids of what waits. Any member may ask: what it could get with them is sealed. */
  list(body: Uint8Array): Uint8Array {
    const { to, after } = decodeList(body);
    return encodeListed(this.#table.list(to, after));
  }

  /** As much of what was asked for as one frame holds. */
  get(body: Uint8Array): Uint8Array {
    const items: Pushed[] = [];
    let bytes = 0;
    for (const key of decodeKeys(body)) {
      const item = this.#table.get(key);
      if (item === undefined) continue;
      bytes += item.bytes.length + 160;
      if (bytes > maxBatchBytes) break;
      items.push({ bytes: item.bytes, origin: item.origin });
    }
    return encodePush(items);
  }

  ask(body: Uint8Array): Uint8Array {
    const standings = decodeKeys(body).map((key): Standing => {
      const receipt = this.#table.receiptFor(key);
      if (receipt !== undefined) return { kind: 'answered', receipt };
      return { kind: this.#table.has(key) ? 'pending' : 'absent' };
    });
    return encodeStandings(standings);
  }
}

function readOuter(bytes: Uint8Array): { id: Uint8Array; to: Uint8Array } | undefined {
  try {
    return decodeOuter(bytes);
  } catch {
    return undefined;
  }
}
