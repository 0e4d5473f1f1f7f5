import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import { peerKeyOf } from '../identity/peer-id.ts';
import type { Dialer } from './dialer.ts';
import type { Handlers } from './handlers.ts';
import { maxNamed } from './lookup.ts';
import type { Entry, MemberProof, MemberTable } from './member-table.ts';
import type { Membership } from './membership.ts';
import { type Clock, type Log, maxBodyBytes } from './overlay.ts';
import { positionOf } from './placement.ts';
import { proofsShape, withinMessage } from './proofs.ts';
import { Router } from './router.ts';

export interface LocatorParts {
  readonly selfKey: Uint8Array;
  readonly membership: Membership;
  readonly dialer: Dialer;
  readonly handlers: Handlers;
  readonly isUp: (peerId: string) => boolean;
  /** Asks one that was found, dialling it where it says to be. */
  readonly ask: (
    peer: Entry,
    method: string,
    body: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ) => Promise<Uint8Array>;
  readonly now: Clock;
  readonly random: () => number;
  readonly log: Log;
}

const method = 'overlay/near';
// One round trip and perhaps a dial; a path must not wait long for one that is away.
const askMs = 3_000;
// A full mesh up to this size; beyond it only those in the routing table are kept connected, and others are dialled when they are asked.
const maxMesh = 500;
const maintainEveryMs = 60_000;
// Right after joining, or waking, sooner; then doubling.
const maintainFirstMs = 2_000;
// A ring that was said to be large and is not: whoever said so is not believed again for as long.
const disbeliefMs = 60 * 60_000;

const keyShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === 32);
const askShape = z.strictObject({ key: keyShape, count: z.int().min(1).max(maxNamed) });
const answerShape = z.strictObject({ proofs: proofsShape });

/**
 * Sees to it that the nearest to a key are known here and connected: by nothing at all where everyone is; by dialling where all are known; by
 * lookups over disjoint paths in a ring larger than the member table.
 */
export class Locator {
  readonly #parts: LocatorParts;
  readonly #table: MemberTable;
  readonly #router: Router<Entry>;
  #maintenance: NodeJS.Timeout | undefined;
  #maintainMs = maintainFirstMs;
  #maintaining: Promise<void> | undefined;
  #stopped = false;
  #disproved = Number.NEGATIVE_INFINITY;

  constructor(parts: LocatorParts) {
    this.#parts = parts;
    const table = parts.membership.table;
    this.#table = table;
    this.#router = new Router<Entry>({
      self: positionOf(parts.selfKey),
      table: table.routing,
      known: (key, count) => this.#others(key, count),
      holds: (peerId) => table.get(peerId) !== undefined,
      ask: (peer, key, count, signal) => this.#ask(peer, key, count, signal),
      now: parts.now,
      random: parts.random,
    });
    parts.handlers.handle(method, async (body) => this.#answer(body));
  }

  start(): void {
    this.#goOn();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#maintenance);
    this.#router.stop();
    await this.#maintaining;
  }

  /** Whether this one is to be connected all the time. */
  keepsConnected(entry: Entry): boolean {
    return (!this.#table.large && this.#table.size <= maxMesh) || this.#table.routing.has(entry.peerId);
  }

  /** A member says that the ring is larger than a member table. Believed until the own neighbourhood proves the contrary. */
  heardLarge(): void {
    if (this.#table.large || this.#parts.now() - this.#disproved < disbeliefMs) return;
    this.#parts.log.info({ known: this.#table.size }, 'the ring is larger than a member table: far keys are looked up');
    this.#table.setLarge(true);
    this.hurry();
  }

  /** Much may have changed: this node has joined, or woken up. */
  hurry(): void {
    this.#router.hurry();
    this.#maintainMs = maintainFirstMs;
    clearTimeout(this.#maintenance);
    this.#goOn();
  }

  #goOn(): void {
    if (this.#stopped) return;
    this.#maintain();
    this.#maintenance = setTimeout(() => this.#goOn(), this.#maintainMs);
    this.#maintainMs = Math.min(2 * this.#maintainMs, maintainEveryMs);
  }

  /** Keeps the neighbourhood and the distances known; not twice at once. */
  #maintain(): void {
    if (!this.#table.large) return;
    this.#maintaining ??= this.#router
      .maintain()
      .then(() => this.#judgeSize())
      .catch((error: unknown) => this.#parts.log.warn({ err: error }, 'the routing table could not be refreshed'))
      .finally(() => {
        this.#maintaining = undefined;
      });
  }

  /** See Overlay.locate. */
  locate(key: Uint8Array, count: number): Promise<void> | undefined {
    const looking = this.#table.large ? this.#router.locate(key, count) : undefined;
    return looking === undefined ? this.#connect(key, count) : looking.then(() => this.#connect(key, count));
  }

  /** A member that nobody told this node of, by its peer id: in a large ring that is nothing unusual. */
  async find(peerId: string): Promise<Entry | undefined> {
    const key = this.#table.large && this.#table.get(peerId) === undefined ? peerKeyOf(peerId) : undefined;
    // Not by what was found before: it may have joined since.
    if (key !== undefined) await this.#router.lookup(positionOf(key), 1);
    return this.#table.get(peerId);
  }

  /** Members near to a peer, nearest first: those that are likely to be connected to it. */
  near(peerId: string): readonly string[] {
    const key = peerKeyOf(peerId);
    return key === undefined ? [] : this.#table.nearest(positionOf(key), maxNamed).map((entry) => entry.peerId);
  }

  #connect(key: Uint8Array, count: number): Promise<void> | undefined {
    const { dialer, isUp } = this.#parts;
    const away = this.#table
      .nearest(key, count)
      .filter((entry) => !isUp(entry.peerId) && !this.keepsConnected(entry) && dialer.mayTry(entry.peerId));
    if (away.length === 0) return undefined;
    return Promise.all(away.map(({ peerId, member }) => dialer.reach(peerId, member.addresses))).then(() => undefined);
  }

  #others(key: Uint8Array, count: number): Entry[] {
    const self = this.#parts.selfKey;
    return this.#table
      .nearest(key, count + 1)
      .filter(({ member }) => Buffer.compare(member.peerKey, self) !== 0)
      .slice(0, count);
  }

  async #ask(peer: Entry, key: Uint8Array, count: number, signal: AbortSignal): Promise<readonly Entry[]> {
    const options = { timeoutMs: askMs, signal };
    const body = encodeCanonical({ key, count });
    const { proofs } = read(answerShape, await this.#parts.ask(peer, method, body, options));
    const entries: Entry[] = [];
    // Not more than was asked for: each is a signature to be checked.
    for (const proof of proofs.slice(0, count)) {
      const offer = this.#parts.membership.learn(proof);
      if (offer.kind !== 'refused' && Buffer.compare(offer.entry.member.peerKey, this.#parts.selfKey) !== 0)
        entries.push(offer.entry);
    }
    return entries;
  }

  #answer(body: Uint8Array): Uint8Array {
    const { key, count } = read(askShape, body);
    const proofs: MemberProof[] = this.#table.nearest(key, count).map(({ proof }) => proof);
    return encodeCanonical({ proofs: withinMessage(proofs) });
  }

  #judgeSize(): void {
    const members = this.#router.estimate();
    // Half, so that a ring about as large as the table does not change its mind all the time.
    if (members === undefined || members >= this.#table.bound / 2) return;
    this.#parts.log.info({ members }, 'the ring fits into the member table');
    this.#disproved = this.#parts.now();
    this.#table.setLarge(false);
  }
}

function read<T>(shape: z.ZodType<T>, body: Uint8Array): T {
  const decoded = decodeCanonical(body, maxBodyBytes);
  if (decoded.kind === 'invalid') throw new Error(`not a question for the nearest: ${decoded.reason}`);
  return shape.parse(decoded.value);
}
