import type { z } from 'zod';
import { equalBytes } from '../identity/canonical.ts';
import type { Trust } from '../identity/certificate.ts';
import { type Conduct, noConduct } from '../overlay/conduct.ts';
import type { Overlay } from '../overlay/overlay.ts';
import { sha256 } from './block-cipher.ts';
import type { Lease } from './content.ts';
import { type CheckedEntry, checkEntry, type DirectoryEntry } from './directory.ts';
import { overQuota, StoreFault } from './fault.ts';
import { checkHead, type Head } from './head.ts';
import type { HeadVerdict } from './head-disk.ts';
import { type Claimed, type ClaimedBlock, type Holder, type Item, type Standing } from './holder.ts';
import { checkRound, type Round, roundKey, type StatedRound } from './round.ts';
import {
  bitAt,
  fittingLeases,
  handOverWaitMs,
  type Kind,
  maxExchangeItems,
  methods,
  packBody,
  packItems,
  shapes,
  unpackBody,
} from './wire.ts';

/** Long enough for a busy disk and 128 KiB over a slow line; then the next holder is better. */
const writeTimeoutMs = 8_000;
const readTimeoutMs = 4_000;
// What the other side takes at most to say how far handing over has come, and some to spare.
const syncTimeoutMs = handOverWaitMs + 15_000;

/** Another node as a holder. Nothing it says is believed without proof; what it cannot prove throws StoreFault `invalid`. */
export class RemoteHolder implements Holder {
  readonly #overlay: Overlay;
  readonly #peerId: string;
  readonly #trust: () => Trust;
  readonly #signal: AbortSignal;
  readonly #conduct: Conduct;

  constructor(overlay: Overlay, peerId: string, trust: () => Trust, signal: AbortSignal, conduct: Conduct = noConduct) {
    this.#overlay = overlay;
    this.#peerId = peerId;
    this.#trust = trust;
    this.#signal = signal;
    this.#conduct = conduct;
  }

  /** The answer is none that an honest holder gives: noted, and thrown by the caller. */
  #false(what: string, cause?: unknown): StoreFault {
    this.#conduct.note({ subject: { kind: 'node', name: this.#peerId }, offence: 'false-answer', what });
    return new StoreFault('invalid', what, { cause });
  }

  #head(bytes: Uint8Array): Head {
    const head = checkHead(bytes);
    if (head === undefined) throw this.#false('a holder answered with a head that is not signed');
    return head;
  }

  async #ask<T>(method: string, body: object, shape: z.ZodType<T>, timeoutMs: number): Promise<T> {
    const options = { timeoutMs, signal: this.#signal };
    const answer = await this.#overlay.request(this.#peerId, method, packBody(body), options);
    try {
      return unpackBody(answer, shape);
    } catch (cause) {
      throw this.#false(`a holder answered ${method} with something of another shape`, cause);
    }
  }

  async insert(blocks: readonly ClaimedBlock[]): Promise<void> {
    const body = { blocks: blocks.map(({ bytes, leases }) => ({ bytes, leases: leases.map(plain) })) };
    const { kept, over } = await this.#ask(methods.insert, body, shapes.inserted, writeTimeoutMs);
    if (over !== undefined) throw overQuota(over);
    if (kept !== blocks.length) throw this.#false('a holder kept another number of blocks than it was given');
  }

  async renew(keys: readonly Uint8Array[], lease: Lease): Promise<boolean[]> {
    const body = { keys: packItems(keys.map((key) => ({ key }))), lease: plain(lease) };
    const { bits } = await this.#ask(methods.renew, body, shapes.lacked, writeTimeoutMs);
    return keys.map((_, index) => bitAt(bits, index));
  }

  async exchange(claimed: readonly Claimed[]): Promise<Standing[]> {
    const items = fittingLeases(claimed.slice(0, maxExchangeItems)).map(({ key, leases }) => ({
      key,
      leases: leases.map(plain),
    }));
    const answer = await this.#ask(methods.exchange, { items }, shapes.exchanged, writeTimeoutMs);
    return answer.items.slice(0, items.length);
  }

  async putRound({ certificate, statement }: StatedRound): Promise<void> {
    await this.#ask(methods.putRound, { certificate, statement }, shapes.roundPut, writeTimeoutMs);
  }

  async round(key: Uint8Array): Promise<{ stated: StatedRound; round: Round } | undefined> {
    const { round: stated } = await this.#ask(methods.round, { key }, shapes.roundFound, readTimeoutMs);
    if (stated === null) return undefined;
    const round = checkRound(stated, this.#trust());
    if (round === undefined || !equalBytes(roundKey(round.address), key))
      throw new StoreFault('invalid', 'a holder answered with a forged round');
    return { stated, round };
  }

  async fetch(key: Uint8Array): Promise<Uint8Array | undefined> {
    const { block } = await this.#ask(methods.fetch, { key }, shapes.fetched, readTimeoutMs);
    if (block === null) return undefined;
    if (!equalBytes(sha256(block), key)) throw this.#false('a holder answered with other bytes');
    return block;
  }

  async lacks(kind: Kind, items: readonly Item[]): Promise<boolean[]> {
    const packed = packItems(items.map(({ key, stamp }) => (stamp === undefined ? { key } : { key, stamp })));
    const { bits } = await this.#ask(methods.lacks, { kind, items: packed }, shapes.lacked, readTimeoutMs);
    return items.map((_, index) => bitAt(bits, index));
  }

  async putHead(head: Head): Promise<HeadVerdict> {
    const answer = await this.#ask(methods.putHead, { head: head.bytes }, shapes.headPut, writeTimeoutMs);
    if (answer.verdict === 'kept') return { kind: 'kept' };
    const heads = answer.heads.map((one) => this.#head(one)).filter((other) => equalBytes(other.key, head.key));
    const proves = (other: Head): boolean =>
      answer.verdict === 'stale'
        ? other.version > head.version
        : other.version === head.version && !equalBytes(other.hash, head.hash);
    if (!heads.some(proves)) throw this.#false(`a holder says ${answer.verdict} without proof`);
    return { kind: answer.verdict, heads: heads.filter(proves) };
  }

  async heads(key: Uint8Array): Promise<Head[]> {
    const { heads } = await this.#ask(methods.heads, { key }, shapes.headsFound, readTimeoutMs);
    const read = heads.map((one) => this.#head(one));
    if (read.some((head) => !equalBytes(head.key, key)))
      throw this.#false('a holder answered with the head of another log');
    return read;
  }

  async putEntry(entry: DirectoryEntry): Promise<CheckedEntry> {
    const answer = await this.#ask(methods.putEntry, body(entry), shapes.entryPut, writeTimeoutMs);
    return this.#check(answer.entry);
  }

  async entry(key: Uint8Array): Promise<CheckedEntry | undefined> {
    const { entry } = await this.#ask(methods.entry, { key }, shapes.entryFound, readTimeoutMs);
    if (entry === null) return undefined;
    const checked = this.#check(entry);
    if (!equalBytes(checked.key, key)) throw this.#false('a holder answered with another address');
    return checked;
  }

  #check(entry: DirectoryEntry): CheckedEntry {
    const checked = checkEntry(entry, this.#trust());
    // Not noted: by its clock or its revocation list it may be a good one.
    if (checked === undefined) throw new StoreFault('invalid', 'a holder answered with a forged or expired entry');
    return checked;
  }

  /** The sums of what that node and this one should both have, as it sees them; undefined when they make this very root. */
  async summary(root: Uint8Array): Promise<Uint8Array | undefined> {
    const { stamps } = await this.#ask(methods.summary, { root }, shapes.summarised, writeTimeoutMs);
    return stamps ?? undefined;
  }

  /** Asks the node to push what it has and this node should hold. Resolves when it has; throws when it could not, or needs longer: ask again. */
  async sync(): Promise<void> {
    const { complete } = await this.#ask(methods.sync, {}, shapes.synced, syncTimeoutMs);
    if (!complete) throw new StoreFault('unavailable', 'a holder could not hand over all its copies');
  }
}

/** An entry as a body: a missing record is a missing field. */
export function body(entry: DirectoryEntry): { certificate: Uint8Array; record?: Uint8Array } {
  return entry.record === undefined
    ? { certificate: entry.certificate }
    : { certificate: entry.certificate, record: entry.record };
}

/** What of a lease goes over the wire: who pays is for the other side to say. */
export function plain({ identity, until, reserve }: Lease): Lease {
  return reserve === true ? { identity, until, reserve } : { identity, until };
}
