import type { MembershipChange, Overlay } from '../overlay/overlay.ts';
import type { Log } from './notify.ts';
import type { Peers } from './peers.ts';
import type { PendingKey, PendingTable } from './pending-table.ts';
import type { PendingRepair } from './repair-report.ts';
import { livingHolders, pendingCopies, properHolders } from './spread.ts';
import type { Standing } from './wire.ts';

// Often enough that a holder that came back has all within minutes; a pass over what lies where it should costs 100 bytes an item.
const repairEveryMs = 180_000;
// Nodes come and go in bursts, above all when a ring starts: one pass for a burst.
const settleMs = 5_000;
// Asked about at a time: one or two frames.
const askedAtOnce = 100;

type Counts = { -readonly [Name in keyof PendingRepair]: number };

export interface RepairOptions {
  readonly overlay: Overlay;
  readonly table: PendingTable;
  readonly peers: Peers;
  /** Takes in a receipt that a holder gave; true where the recipient's signature held and items went. */
  readonly takeReceipt: (bytes: Uint8Array) => Promise<boolean>;
  readonly now: () => number;
  readonly log: Log;
}

/** Keeps pending items at the members that are closest now, as members come and go (DESIGN §6, for what waits). */
export class PendingKeeper {
  readonly #options: RepairOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #unlisten: () => void;
  #soon: NodeJS.Timeout | undefined;
  #running: Promise<PendingRepair> | undefined;
  #stopped = false;

  constructor(options: RepairOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#start(), repairEveryMs);
    this.#unlisten = options.overlay.onMembership((change) => this.#changed(change));
  }

  #changed(change: MembershipChange): void {
    if (this.#stopped || change.kind === 'down') return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#start();
    }, settleMs);
  }

  #start(): void {
    this.run().catch((error: unknown) =>
      this.#options.log.warn({ err: error }, 'repair of pending items goes on later'),
    );
  }

  /** One pass over all that waits here. A second call during a pass gets that pass. */
  async run(): Promise<PendingRepair> {
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #pass(): Promise<PendingRepair> {
    const counts: Counts = { compared: 0, pushed: 0, answered: 0, handedOver: 0 };
    const { table, now } = this.#options;
    await table.sweep(now());
    for (const to of table.recipients()) {
      let after: Uint8Array | undefined;
      do {
        const { keys, next } = table.list(to, after);
        for (let at = 0; at < keys.length && !this.#stopped; at += askedAtOnce) {
          await this.#compare(to, keys.slice(at, at + askedAtOnce), counts);
        }
        after = next;
      } while (after !== undefined && !this.#stopped);
    }
    return counts;
  }

  async #compare(to: Uint8Array, keys: readonly PendingKey[], counts: Counts): Promise<void> {
    const { overlay, table } = this.#options;
    const self = overlay.self.peerId;
    const proper = (await properHolders(overlay, to)).map(({ peerId }) => peerId);
    // While a proper holder is away the next living one stands in for it, for days if need be.
    const living = (await livingHolders(overlay, to)).map(({ peerId }) => peerId);
    const targets = new Set([...proper, ...living.slice(0, pendingCopies)]);
    targets.delete(self);
    await Promise.all(
      keys.map(async (key) => {
        counts.compared++;
        const held = new Set<string>();
        await Promise.all(
          [...targets].map(async (peerId) => {
            if (await this.#bringTo(peerId, key, counts)) held.add(peerId);
          }),
        );
        // "Could not find out" keeps it here.
        if (proper.includes(self) || !proper.every((peerId) => held.has(peerId)) || !table.has(key)) return;
        await table.drop(key);
        counts.handedOver++;
      }),
    );
  }

  /** True when that holder certainly has it, or knows the answer. */
  async #bringTo(peerId: string, key: PendingKey, counts: Counts): Promise<boolean> {
    const { overlay, peers, table, log } = this.#options;
    if (!overlay.isUp(peerId)) return false;
    try {
      const standing: Standing = await peers.ask(peerId, key);
      if (standing.kind === 'answered') return await this.#answered(standing.receipt, counts);
      return standing.kind === 'pending' || (await this.#push(peerId, key, counts));
    } catch (error) {
      log.debug({ err: error, peerId, waiting: table.stats().items }, 'a holder could not be compared with');
      return false;
    }
  }

  async #answered(receipt: Uint8Array, counts: Counts): Promise<boolean> {
    const taken = await this.#options.takeReceipt(receipt);
    if (taken) counts.answered++;
    return taken;
  }

  async #push(peerId: string, key: PendingKey, counts: Counts): Promise<boolean> {
    const item = this.#options.table.get(key);
    const certificate = this.#options.table.certificateOf(key.to);
    if (item === undefined || certificate === undefined) return false;
    const answer = await this.#options.peers.put(peerId, { ...item, certificate });
    if (answer.kind === 'answered') return this.#answered(answer.receipt, counts);
    if (answer.kind === 'kept') counts.pushed++;
    return answer.kind === 'kept';
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#unlisten();
    await this.#running?.catch(() => undefined);
  }
}
