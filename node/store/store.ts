import type { Address } from '../../policy/address.ts';
import { equalBytes } from '../identity/canonical.ts';
import type { Trust } from '../identity/certificate.ts';
import { type Conduct, noConduct } from '../overlay/conduct.ts';
import type { Clock, Log, Member, Overlay } from '../overlay/overlay.ts';
import { Background, pause } from './background.ts';
import { sha256 } from './block-cipher.ts';
import { allowanceAt, Claims, defaultQuota, ownerPays, type Quota } from './claims.ts';
import { type CollectReport, defaultPatience, type Patience } from './collection.ts';
import { Collector } from './collector.ts';
import { type Block, type BlockSink, type BlockSource, type Lease, maxBlockBytes } from './content.ts';
import { checkEntry, type DirectoryEntry, directoryKey, type Lookup } from './directory.ts';
import { type Disk, openDisk } from './disk.ts';
import { StoreFault } from './fault.ts';
import { fetchFromHolders } from './fetching.ts';
import { HeadExchange, type HeadsFound } from './head-exchange.ts';
import { type Holder, LocalHolder } from './holder.ts';
import { Identities } from './identities.ts';
import { Insertion, type InsertOptions, type InsertResult } from './insertion.ts';
import { Lanes } from './lanes.ts';
import { Neighbours } from './neighbours.ts';
import { RemoteHolder } from './remote-holder.ts';
import { Renewal, type Renewed } from './renewal.ts';
import { Repair } from './repair.ts';
import { checkRound, roundKey, type StatedRound } from './round.ts';
import { serveHolder } from './serve-holder.ts';
import { Settling } from './settling.ts';
import { spread } from './spreading.ts';

/** What one pass of repair did. */
export interface RepairReport {
  /** Local blocks, heads and directory entries compared with their proper holders. */
  readonly compared: number;
  /** Copies that a holder lacked and took. */
  readonly pushed: number;
  /** Local copies found damaged and set aside. */
  readonly damaged: number;
  /** Damaged local copies that were replaced from a replica. */
  readonly healed: number;
  /** Holders that could not be asked, or refused; tried again in the next pass. */
  readonly unreached: number;
}

export interface StoreStats {
  readonly blocks: number;
  readonly bytes: number;
  readonly heads: number;
  readonly entries: number;
  /** Damaged copies set aside. */
  readonly damaged: number;
  /** Blocks that nobody keeps any more, still readable. */
  readonly trash: number;
  readonly leases: number;
  /** Blocks without a lease. */
  readonly orphans: number;
  /** Heads kept as evidence of a fork. */
  readonly forks: number;
}

/** The node's part of the ring's store: keeps blocks for others, and puts and gets its own. */
export interface Store extends BlockSink, BlockSource {
  insert(blocks: readonly Block[], lease: Lease, options?: InsertOptions): Promise<InsertResult>;
  /** Whether a copy of the block lies on this node's own disk. Asks nobody. */
  has(key: Uint8Array): boolean;
  atHand(key: Uint8Array): Uint8Array | undefined;
  /** Puts a signed head at its holders. Throws StoreFault `quorum`, `stale` (a newer one exists) or `fork` (another of the same version). */
  putHead(head: Uint8Array): Promise<{ copies: number }>;
  /** The newest valid head known to the holders; more than one is a fork. `sure`: no acknowledged newer head can have been missed. */
  getHeads(key: Uint8Array): Promise<HeadsFound>;
  /** Renews leases by key, without moving blocks; holders that lack one are given it. Resolves with what could not be renewed. */
  renew(keys: readonly Uint8Array[], lease: Lease): Promise<Renewed>;
  /** Tells the ring that an identity has refreshed all that it still refers to. Throws StoreFault `quorum`. */
  putRound(stated: StatedRound): Promise<{ copies: number }>;
  /** Looks for what nobody keeps any more, and deletes what has been in the trash for long enough. */
  collect(): Promise<CollectReport>;
  publishIdentity(entry: DirectoryEntry): Promise<{ copies: number }>;
  lookupIdentity(address: Address): Promise<Lookup>;
  stats(): Promise<StoreStats>;
  /** Who has how many bytes here, the largest first: identities, and `*owner` for what that owner's nodes brought for others. */
  accounts(): Promise<{ payer: string; bytes: number }[]>;
  /** What one identity has here, and what this holder would let it have: its share of the quota, the whole of it in small rings. */
  account(identity: Address): Promise<{ bytes: number; allowance: number }>;
  /** Sums up all accounts anew; how many were wrong. */
  recount(): Promise<number>;
  /** Compares all that lies here with the proper holders, verifies it, and pushes what they lack. */
  repair(): Promise<RepairReport>;
  stop(): Promise<void>;
}

export interface StoreOptions {
  readonly overlay: Overlay;
  /** Folder of this store alone. */
  readonly dir: string;
  readonly now: Clock;
  readonly log: Log;
  /** k of DESIGN §6. */
  readonly copies?: number;
  readonly quota?: Quota;
  readonly patience?: Patience;
  /** Whether others had begun this ring before: until this node has met one of them, what it does not have may well be there. */
  readonly toldOfOthers?: boolean;
  /** Told of holders and writers that misbehave, and asked whom to ask last. */
  readonly conduct?: Conduct;
}

// Replicas of one message's blocks and a few repairs; what is left out here is found by the next walk.
const maxBackgroundTasks = 256;
// Enough frames under way to hide the round trip; the overlay has its own bound per peer above this.
const framesPerPeer = 6;
// A node that has just started learns within moments whether it may say "none"; a question is worth that wait.
const settleWaitMs = 2_000;
const settleLookMs = 50;
// A person looks at the largest; all of a ring's identities would not fit into an answer.
const maxAccountsShown = 100;

/** Opens the store under `dir` and answers the ring's requests from now on. The overlay is the caller's to stop, after the store. */
export async function openStore(options: StoreOptions): Promise<Store> {
  return storeOn(options, await openDisk(options.dir));
}

/** The same on a disk that is open already; the store closes it. */
export function storeOn(options: Omit<StoreOptions, 'dir'>, disk: Disk): Store {
  return new RingStore(options, disk);
}

class RingStore implements Store {
  readonly #disk: Disk;
  readonly #log: Log;
  readonly #background = new Background(maxBackgroundTasks);
  readonly #lanes = new Lanes(framesPerPeer);
  readonly #neighbours: Neighbours;
  readonly #trust: () => Trust;
  readonly #heads: HeadExchange;
  readonly #identities: Identities;
  readonly #settling: Settling;
  readonly #repair: Repair;
  readonly #collector: Collector;
  readonly #renewal: Renewal;
  readonly #allowance: () => (payer: string) => number;
  readonly #forgetMembership: () => void;
  readonly #fetching = new Map<string, Promise<Uint8Array>>();

  constructor(options: Omit<StoreOptions, 'dir'>, disk: Disk) {
    const { overlay, now, log, copies = 3, toldOfOthers = false } = options;
    const { quota = defaultQuota, patience = defaultPatience, conduct = noConduct } = options;
    this.#disk = disk;
    this.#log = log;
    this.#trust = () => ({ ring: overlay.ring, revocations: overlay.revocations(), now: now() });
    const background = this.#background;
    const claims = new Claims({
      known: (address) => disk.entries.get(directoryKey(address), this.#trust())?.record?.contacts,
      lookup: (address) => this.#identities.lookup(address),
      later: (work) => background.offer(work, failedQuietly),
      now,
    });
    this.#allowance = () => allowanceAt(quota, copies, neighbours.members());
    const parts = {
      disk,
      trust: this.#trust,
      certainOfAbsence: () => this.#settling.certain(),
      claims,
      allowance: () => this.#allowance(),
      isProper: (key: Uint8Array) => neighbours.isProper(key),
      conduct,
    };
    const local = new LocalHolder(parts, overlay.self);
    const neighbours: Neighbours = new Neighbours(
      overlay,
      copies,
      local,
      (peerId) => new RemoteHolder(overlay, peerId, this.#trust, background.signal, conduct),
      conduct,
    );
    this.#neighbours = neighbours;
    const failed = (cause: unknown): void =>
      this.#log.debug({ err: cause }, 'a copy was not made; repair will find it');
    this.#heads = new HeadExchange(neighbours, background, failed, conduct);
    const revocations = () => overlay.revocations();
    this.#identities = new Identities({ neighbours, background, revocations, now, failed });
    this.#settling = new Settling({
      neighbours,
      background,
      settled: disk.settled(),
      toldOfOthers,
      keep: () => disk.keepSettled(),
    });
    const tools = { disk, neighbours, trust: this.#trust, signal: background.signal };
    this.#repair = new Repair(
      { ...tools, heal: (key) => this.#heal(key), failed: (member, cause) => this.#holderFailed(member, cause) },
      background,
      now,
    );
    const holderFailed = (member: Member, cause: unknown): void => this.#holderFailed(member, cause);
    this.#renewal = new Renewal({ neighbours, background, fetch: (key) => this.fetch(key), failed: holderFailed });
    const lookup = (address: Address) => this.#identities.lookup(address);
    const isSettled = (): boolean => this.#settling.isSettled();
    this.#collector = new Collector({ ...tools, lookup, patience, failed: holderFailed }, background, isSettled);
    serveHolder(overlay, local, {
      during: (work) => background.during(work),
      wrote: () => this.#settling.wrote(),
      sync: (from) => this.#repair.handOver(from),
      summary: (from) => this.#repair.summaryFor(from),
    });
    this.#forgetMembership = overlay.onMembership((change) => {
      this.#repair.onMembership(change);
      if (change.kind === 'up') this.#settling.askOthers();
    });
    this.#settling.start();
    this.#repair.start();
    this.#collector.start();
  }

  has(key: Uint8Array): boolean {
    if (this.#background.signal.aborted) throw new StoreFault('stopped', 'the store has been stopped');
    return this.#disk.blocks.has(key);
  }

  insert(blocks: readonly Block[], lease: Lease, options: InsertOptions = {}): Promise<InsertResult> {
    return this.#background.during(() => this.#insert(blocks, lease, options));
  }

  async #insert(blocks: readonly Block[], lease: Lease, options: InsertOptions): Promise<InsertResult> {
    for (const { key, bytes } of blocks) {
      if (bytes.length > maxBlockBytes) throw new StoreFault('invalid', `a block is at most ${maxBlockBytes} bytes`);
      if (!equalBytes(sha256(bytes), key)) throw new StoreFault('invalid', 'the key of a block is its SHA-256');
    }
    const leased = blocks.map(({ key, bytes }) => ({ key, bytes, leases: [lease] }));
    await this.#neighbours.locate(leased.map(({ key }) => key));
    const insertion = new Insertion(this.#neighbours, this.#lanes, leased, options);
    this.#background.own(insertion.finished, () => undefined);
    const result = await insertion.atQuorum;
    this.#settling.wrote();
    return result;
  }

  fetch(key: Uint8Array): Promise<Uint8Array> {
    const name = Buffer.from(key).toString('base64');
    const underWay = this.#fetching.get(name);
    if (underWay !== undefined) return underWay;
    const fetched = this.#background.during(() => this.#fetch(key)).finally(() => this.#fetching.delete(name));
    this.#fetching.set(name, fetched);
    return fetched;
  }

  /** Of the own disk alone. */
  atHand(key: Uint8Array): Uint8Array | undefined {
    return this.#background.signal.aborted ? undefined : this.#disk.blocks.atHand(key);
  }

  /** The own disk first; what comes from elsewhere and belongs here, or to another that lacks it, is put there afterwards. */
  async #fetch(key: Uint8Array): Promise<Uint8Array> {
    const here = await this.#disk.blocks.get(key);
    const { now } = this.#trust();
    const payer = ownerPays(this.#neighbours.self);
    if (here.kind === 'block') {
      await this.#disk.blocks.restore(key, now, payer);
      return here.bytes;
    }
    if (here.kind === 'damaged') this.#log.warn({ block: hex(key) }, 'a block on this disk is damaged and set aside');
    const failed = (member: Member, cause: unknown): void => this.#holderFailed(member, cause);
    const { bytes, lacking } = await fetchFromHolders(this.#neighbours, key, this.#background, failed);
    const { proper } = this.#neighbours.place(key);
    const mine = here.kind === 'damaged' || proper.some((member) => this.#neighbours.isSelf(member));
    // Leases come with the next walk of a node that has them.
    const block = { key, bytes, leases: [] };
    if (mine) this.#background.offer(() => this.#disk.blocks.heal(block, now, payer), failedQuietly);
    for (const member of lacking)
      if (!this.#neighbours.isSelf(member))
        this.#background.offer(() => this.#neighbours.holder(member).insert([block]), failedQuietly);
    return bytes;
  }

  /** Whether a good copy came from a replica and lies here now. */
  async #heal(key: Uint8Array): Promise<boolean> {
    this.#log.warn({ block: hex(key) }, 'a block on this disk is damaged and set aside');
    try {
      const { bytes } = await fetchFromHolders(this.#neighbours, key, this.#background, (member, cause) =>
        this.#holderFailed(member, cause),
      );
      await this.#disk.blocks.heal({ key, bytes }, this.#trust().now, ownerPays(this.#neighbours.self));
      return true;
    } catch {
      return false; // It stays set aside, and is tried again by the next walk.
    }
  }

  #holderFailed(member: Member, cause: unknown): void {
    if (cause instanceof StoreFault && cause.code === 'invalid')
      this.#log.warn({ peer: member.peerId, err: cause }, 'a holder gave an answer that proves false');
    else this.#log.debug({ peer: member.peerId, err: cause }, 'a holder gave no answer');
  }

  putHead(head: Uint8Array): Promise<{ copies: number }> {
    return this.#background.during(async () => this.#heads.put(head));
  }

  getHeads(key: Uint8Array): Promise<HeadsFound> {
    return this.#background.during(async () => {
      const found = await this.#heads.get(key);
      return found.sure || !(await this.#settlesSoon()) ? found : this.#heads.get(key);
    });
  }

  renew(keys: readonly Uint8Array[], lease: Lease): Promise<Renewed> {
    return this.#background.during(() => this.#renewal.run(keys, lease));
  }

  putRound(stated: StatedRound): Promise<{ copies: number }> {
    return this.#background.during(async () => {
      const round = checkRound(stated, this.#trust());
      if (round === undefined) throw new StoreFault('invalid', 'not a refresh round that its identity signed');
      const put = (holder: Holder): Promise<void> => holder.putRound(stated);
      const nothing = (): boolean => false;
      const { atQuorum, finished } = spread(this.#neighbours, roundKey(round.address), put, nothing, failedQuietly);
      this.#background.own(finished, failedQuietly);
      return atQuorum;
    });
  }

  collect(): Promise<CollectReport> {
    return this.#background.during(() => this.#collector.runNow());
  }

  publishIdentity(entry: DirectoryEntry): Promise<{ copies: number }> {
    return this.#background.during(async () => {
      const checked = checkEntry(entry, this.#trust());
      if (checked === undefined)
        throw new StoreFault('invalid', 'not an entry that the authority of the ring vouches for');
      return this.#identities.publish(checked);
    });
  }

  lookupIdentity(address: Address): Promise<Lookup> {
    return this.#background.during(async () => {
      const found = await this.#identities.lookup(address);
      return found.kind !== 'unknown' || !(await this.#settlesSoon()) ? found : this.#identities.lookup(address);
    });
  }

  /** Waits a moment for a node that has just started to settle; whether it did just now. */
  async #settlesSoon(): Promise<boolean> {
    if (this.#settling.isSettled()) return false;
    for (let waited = 0; waited < settleWaitMs && !this.#settling.isSettled(); waited += settleLookMs)
      await pause(settleLookMs, this.#background.signal);
    return this.#settling.isSettled();
  }

  stats(): Promise<StoreStats> {
    const { blocks, heads, entries } = this.#disk;
    return this.#background.during(async () => ({ ...blocks.stats(), ...heads.stats(), ...entries.stats() }));
  }

  accounts(): Promise<{ payer: string; bytes: number }[]> {
    return this.#background.during(async () => this.#disk.blocks.leases.accounts(maxAccountsShown));
  }

  account(identity: Address): Promise<{ bytes: number; allowance: number }> {
    return this.#background.during(async () => ({
      bytes: this.#disk.blocks.leases.usage(identity),
      allowance: this.#allowance()(identity),
    }));
  }

  recount(): Promise<number> {
    return this.#background.during(() => this.#disk.blocks.recount());
  }

  repair(): Promise<RepairReport> {
    return this.#background.during(() => this.#repair.runNow());
  }

  async stop(): Promise<void> {
    if (this.#background.signal.aborted) return;
    this.#forgetMembership();
    await this.#background.stop();
    await this.#disk.close();
  }
}

function failedQuietly(): void {
  // A copy that could not be made now is found by the next walk.
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
