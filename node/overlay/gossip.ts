import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import type { Handlers } from './handlers.ts';
import type { Entry, MemberProof } from './member-table.ts';
import { maxMembers } from './member-table.ts';
import type { Membership } from './membership.ts';
import { type Log, maxBodyBytes } from './overlay.ts';
import { batches, proofsShape, withinMessage } from './proofs.ts';

export interface GossipParts {
  readonly membership: Membership;
  readonly handlers: Handlers;
  readonly upPeers: () => readonly string[];
  /** A member says that the ring is larger than its table. */
  readonly heardLarge: () => void;
  readonly ask: (peerId: string, method: string, body: Uint8Array, timeoutMs: number) => Promise<Uint8Array>;
  readonly random: () => number;
  readonly log: Log;
}

const methods = { sync: 'overlay/sync', tell: 'overlay/tell' } as const;
// Two random peers compare their tables this often: what a lost message hid is found within a few rounds.
const syncEveryMs = 30_000;
// News of a burst go out together.
const gatherMs = 20;
// Each node passes news on to this many; the rest hear from these, or at the next comparison.
const fanOut = 8;
const timeoutMs = 10_000;
// In a large ring news of a member concern the neighbourhood in which it is, which is so many.
const nearby = 32;
// All members at about 100 proofs a round, and some to spare.
const maxRounds = 64;
const nameBytes = 8;

const bytesShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const nameShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === nameBytes);
const digestShape = z.strictObject({
  known: z.array(z.tuple([nameShape, z.int().nonnegative()])).max(maxMembers),
  list: z.int().nonnegative(),
  /** The ring is larger than the sender's table: nothing is compared but the lists. */
  large: z.boolean(),
});
const replyShape = z.strictObject({
  proofs: proofsShape,
  wanted: z.array(nameShape).max(maxMembers),
  list: z.int().nonnegative(),
  large: z.boolean(),
});
const tellShape = z.strictObject({ proofs: proofsShape, list: bytesShape.optional() });

/** Spreads member proofs and revocation lists: news at once to a few, and comparison of tables now and then (anti-entropy). */
export class Gossip {
  readonly #parts: GossipParts;
  readonly #news = new Set<Entry>();
  #gather: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | undefined;

  constructor(parts: GossipParts) {
    this.#parts = parts;
    parts.handlers.handle(methods.sync, async (body, from) => this.#compare(body, from.peerId));
    parts.handlers.handle(methods.tell, async (body, from) => this.#hear(body, from.peerId));
  }

  start(): void {
    this.#tick = setInterval(() => {
      const [peer] = this.#some(1);
      if (peer !== undefined) this.syncWith(peer);
    }, syncEveryMs);
  }

  stop(): void {
    clearInterval(this.#tick);
    clearTimeout(this.#gather);
    this.#news.clear();
  }

  /** Something that the others may not know yet. */
  spread(entry: Entry): void {
    this.#news.add(entry);
    this.#gather ??= setTimeout(() => {
      this.#gather = undefined;
      const news = [...this.#news];
      this.#news.clear();
      if (this.#parts.membership.table.large) return this.#tellNeighbours(news);
      const proofs = news.map(({ proof }) => proof);
      for (const batch of batches(proofs)) for (const peer of this.#some(fanOut)) this.#tell(peer, { proofs: batch });
    }, gatherMs);
  }

  /** In a large ring only those near to a member need to hear of it; the others meet it in lookups. */
  #tellNeighbours(news: readonly Entry[]): void {
    const up = new Set(this.#parts.upPeers());
    for (const { peerId, position, proof } of news) {
      const near = this.#parts.membership.table.nearest(position, nearby).map((entry) => entry.peerId);
      const told = near.filter((peer) => peer !== peerId && up.has(peer)).slice(0, fanOut);
      for (const peer of told) this.#tell(peer, { proofs: [proof] });
    }
  }

  /** The newest revocation list to everyone who is up: a revoked node must be out soon, everywhere. */
  spreadList(): void {
    const list = this.#parts.membership.revocations.bytes();
    if (list === undefined) return;
    for (const peer of this.#parts.upPeers()) this.#tell(peer, { proofs: [], list });
  }

  /** Compares tables with one peer, both ways, in the background. */
  syncWith(peerId: string): void {
    this.#sync(peerId).catch((error: unknown) => {
      this.#parts.log.debug({ err: error, peer: peerId }, 'comparing member tables failed');
    });
  }

  async #sync(peerId: string): Promise<void> {
    const { membership, ask } = this.#parts;
    for (let round = 0; round < maxRounds; round += 1) {
      const reply = read(replyShape, await ask(peerId, methods.sync, encodeCanonical(this.#digest()), timeoutMs));
      const learnt = reply.proofs.filter((proof) => isNews(membership.learn(proof, peerId)));
      const list = reply.list < this.#listVersion() ? membership.revocations.bytes() : undefined;
      const wanted = this.#named(reply.wanted);
      for (const proofs of batches(wanted)) await ask(peerId, methods.tell, encodeCanonical({ proofs }), timeoutMs);
      if (list !== undefined) await ask(peerId, methods.tell, encodeCanonical({ proofs: [], list }), timeoutMs);
      if (reply.large) this.#parts.heardLarge();
      if (learnt.length === 0 || membership.table.large) return;
    }
  }

  #digest(): z.infer<typeof digestShape> {
    const { table } = this.#parts.membership;
    const entries = table.large ? [] : [...table.entries()];
    const known = entries.map((entry): [Uint8Array, number] => [nameOf(entry), entry.sequence]);
    return { known, list: this.#listVersion(), large: table.large };
  }

  /** Answers a digest: what the asker lacks, as much as fits, and what we lack. A newer list of ours goes separately. */
  #compare(body: Uint8Array, asker: string): Uint8Array {
    const digest = read(digestShape, body);
    const list = this.#parts.membership.revocations.bytes();
    if (digest.list < this.#listVersion() && list !== undefined) this.#tell(asker, { proofs: [], list });
    const { table } = this.#parts.membership;
    const news = { list: this.#listVersion(), large: table.large };
    if (digest.large) {
      this.#parts.heardLarge();
      return encodeCanonical({ proofs: [], wanted: [], ...news });
    }
    const theirs = new Map(digest.known.map(([name, sequence]) => [hex(name), sequence]));
    const ours = new Map(Array.from(table.kept(), (entry) => [hex(nameOf(entry)), entry]));
    const lacking = [...ours].filter(([name, { sequence }]) => (theirs.get(name) ?? -1) < sequence);
    // In a large ring whoever asks is new and learns where to begin; it will make itself known where it belongs.
    const wanted = table.large
      ? []
      : digest.known.filter(([name, sequence]) => (ours.get(hex(name))?.sequence ?? -1) < sequence);
    const proofs = withinMessage(lacking.map(([, { proof }]) => proof));
    return encodeCanonical({ proofs, wanted: wanted.map(([name]) => name), ...news });
  }

  #hear(body: Uint8Array, from: string): Uint8Array {
    const { proofs, list } = read(tellShape, body);
    if (list !== undefined) this.#parts.membership.learnRevocations(list);
    for (const proof of proofs) this.#parts.membership.learn(proof, from);
    return new Uint8Array();
  }

  #tell(peerId: string, news: { readonly proofs: readonly MemberProof[]; readonly list?: Uint8Array }): void {
    this.#parts.ask(peerId, methods.tell, encodeCanonical(news), timeoutMs).catch((error: unknown) => {
      this.#parts.log.debug({ err: error, peer: peerId }, 'news could not be passed on');
    });
  }

  #named(names: readonly Uint8Array[]): MemberProof[] {
    const wanted = new Set(names.map(hex));
    return [...this.#parts.membership.table.entries()]
      .filter((entry) => wanted.has(hex(nameOf(entry))))
      .map(({ proof }) => proof);
  }

  #listVersion(): number {
    return this.#parts.membership.revocations.current()?.version ?? 0;
  }

  #some(count: number): readonly string[] {
    const peers = [...this.#parts.upPeers()];
    // Fisher-Yates, as far as needed.
    for (let at = 0; at < Math.min(count, peers.length); at += 1) {
      const other = at + Math.floor(this.#parts.random() * (peers.length - at));
      [peers[at], peers[other]] = [peers[other] ?? '', peers[at] ?? ''];
    }
    return peers.slice(0, count);
  }
}

function isNews(offer: { readonly kind: string }): boolean {
  return offer.kind === 'joined' || offer.kind === 'renewed';
}

/** Eight bytes of the position name a member among thousands; a clash would only delay one record. */
function nameOf(entry: Entry): Uint8Array {
  return entry.position.slice(0, nameBytes);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function read<T>(shape: z.ZodType<T>, body: Uint8Array): T {
  const decoded = decodeCanonical(body, maxBodyBytes);
  if (decoded.kind === 'invalid') throw new Error(`gossip that cannot be read: ${decoded.reason}`);
  return shape.parse(decoded.value);
}
