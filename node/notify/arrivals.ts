import type { Overlay } from '../overlay/overlay.ts';
import { pause } from '../store/background.ts';
import { retryDelayMs } from './backoff.ts';
import type { Log, Recipient } from './notify.ts';
import type { Peers } from './peers.ts';
import type { PendingKey } from './pending-table.ts';
import { itemOf } from './receipt.ts';
import { decodeOuter } from './sealed.ts';
import { isThere, livingHolders } from './spread.ts';
import type { PushAnswer, Pushed } from './wire.ts';

// At once in one recipient's hands; what is pushed beyond is pulled when half of them are done.
const maxTaking = 1000;
// Of what is asked for in one `get`: what fits into a frame.
const getItems = 12;
const getsAtOnce = 4;
const pullEveryMs = 30_000;
// Twice what a holder keeps for one recipient; it is a liar that lists more, and what else it has comes with the next pull.
const maxPages = 40;
// After this the next holder is asked as well: one that is slow, or lists without end, must not keep away what the others have.
const waitForHolderMs = 2_000;
// What was put off is remembered up to here; the rest is just asked again.
const maxPutOff = 10_000;

interface PutOff {
  readonly tries: number;
  readonly notBefore: number;
}

/** Everything about one attached recipient. Gone when it is detached. */
interface Attached {
  readonly recipient: Recipient;
  readonly to: Uint8Array;
  readonly taking: Map<string, Promise<void>>;
  readonly putOff: Map<string, PutOff>;
  pulling: Promise<void> | undefined;
  /** Holders that are being asked. */
  readonly asking: Set<string>;
  again: boolean;
  /** Something was turned away because too much was in hand. */
  turnedAway: boolean;
  timer: NodeJS.Timeout | undefined;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The receiving side: takes what is pushed, pulls what waits, has it answered, and brings the answers out. */
export class Arrivals {
  readonly #overlay: Overlay;
  readonly #peers: Peers;
  readonly #now: () => number;
  readonly #log: Log;
  readonly #attached = new Map<string, Attached>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #pullTimer: NodeJS.Timeout;
  #stopped = false;

  constructor(options: { overlay: Overlay; peers: Peers; now: () => number; log: Log }) {
    this.#overlay = options.overlay;
    this.#peers = options.peers;
    this.#now = options.now;
    this.#log = options.log;
    this.#pullTimer = setInterval(() => this.pullAll(), pullEveryMs);
  }

  get attached(): number {
    return this.#attached.size;
  }

  /** The last one attached under a key takes over from the one before. */
  attach(recipient: Recipient): () => void {
    const keys = [recipient.certificate, ...(recipient.retired ?? [])].map(({ signingKey }) => signingKey);
    const distinct = new Map(keys.map((key) => [hex(key), key]));
    const undoings = [...distinct.values()].map((key) => this.#attach(recipient, key));
    return () => {
      for (const undo of undoings) undo();
    };
  }

  #attach(recipient: Recipient, to: Uint8Array): () => void {
    const one: Attached = {
      recipient,
      to,
      taking: new Map(),
      putOff: new Map(),
      pulling: undefined,
      asking: new Set(),
      again: false,
      turnedAway: false,
      timer: undefined,
    };
    this.#detach(this.#attached.get(hex(to)));
    this.#attached.set(hex(to), one);
    this.#pull(one);
    return () => this.#detach(one);
  }

  #detach(one: Attached | undefined): void {
    if (one === undefined) return;
    clearTimeout(one.timer);
    if (this.#attached.get(hex(one.to)) === one) this.#attached.delete(hex(one.to));
  }

  #isHere(one: Attached): boolean {
    return !this.#stopped && this.#attached.get(hex(one.to)) === one;
  }

  /** Takes what a peer pushes, without waiting for the recipient: the receipt goes its own way. */
  take(pushed: Pushed, from: string): PushAnswer {
    const key = keyOf(pushed.bytes);
    const one = key === undefined ? undefined : this.#attached.get(hex(key.to));
    if (key === undefined || one === undefined || this.#stopped) return 'elsewhere';
    if (one.taking.size >= maxTaking) {
      one.turnedAway = true;
      return 'busy';
    }
    this.#own(this.#work(one, key, pushed, from));
    return 'taken';
  }

  #own(task: Promise<void>): void {
    const owned = task
      .catch((error: unknown) =>
        this.#log.warn({ err: error }, 'a notification could not be worked on; it stays pending'),
      )
      .finally(() => this.#tasks.delete(owned));
    this.#tasks.add(owned);
  }

  /** One copy of an item at a time; the others share its fate. */
  async #work(one: Attached, key: PendingKey, pushed: Pushed, from: string): Promise<void> {
    const name = hex(key.item);
    const running = one.taking.get(name) ?? this.#answer(one, name, pushed, from);
    one.taking.set(name, running);
    try {
      await running;
    } finally {
      one.taking.delete(name);
      this.#fetchTurnedAway(one);
    }
  }

  /** The periodic pull would bring it too, but half a minute later. */
  #fetchTurnedAway(one: Attached): void {
    if (!one.turnedAway || one.taking.size > maxTaking / 2) return;
    one.turnedAway = false;
    this.#pull(one);
  }

  async #answer(one: Attached, name: string, pushed: Pushed, from: string): Promise<void> {
    const receipt = await this.#accept(one, pushed.bytes);
    if (receipt === undefined) {
      this.#postpone(one, name);
      return;
    }
    one.putOff.delete(name);
    const holders = (await livingHolders(this.#overlay, one.to)).map((member) => member.peerId);
    const takers = new Set([...holders, from, pushed.origin]);
    await Promise.all([...takers].map(async (peerId) => this.#bring(peerId, receipt)));
  }

  async #accept(one: Attached, sealed: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await one.recipient.accept(sealed);
    } catch (error) {
      this.#log.warn(
        { err: error, recipient: one.recipient.certificate.address },
        'a recipient failed; asked again later',
      );
      return undefined;
    }
  }

  /** A receipt that does not arrive is no loss: the holder still has the item, and the recipient answers it the same. */
  async #bring(peerId: string, receipt: Uint8Array): Promise<void> {
    if (!(await isThere(this.#overlay, peerId))) return;
    try {
      await this.#peers.sendReceipt(peerId, receipt);
    } catch (error) {
      this.#log.debug({ err: error, peerId }, 'a receipt was not taken; the holder will offer the notification again');
    }
  }

  #postpone(one: Attached, name: string): void {
    if (!this.#isHere(one)) return;
    const tries = (one.putOff.get(name)?.tries ?? 0) + 1;
    const delay = retryDelayMs(tries);
    if (one.putOff.size >= maxPutOff) one.putOff.clear();
    one.putOff.set(name, { tries, notBefore: this.#now() + delay });
    if (one.timer !== undefined) return;
    one.timer = setTimeout(() => {
      one.timer = undefined;
      this.#pull(one);
    }, delay);
  }

  pullAll(): void {
    for (const one of this.#attached.values()) this.#pull(one);
  }

  #pull(one: Attached): void {
    if (!this.#isHere(one)) return;
    one.again = true;
    one.pulling ??= this.#pullWhileWanted(one).finally(() => {
      one.pulling = undefined;
    });
    this.#own(one.pulling);
  }

  async #pullWhileWanted(one: Attached): Promise<void> {
    while (one.again && this.#isHere(one)) {
      one.again = false;
      for (const { peerId } of await livingHolders(this.#overlay, one.to)) {
        if (one.asking.has(peerId)) continue;
        const over = new AbortController();
        const pulled = this.#askHolder(one, peerId);
        this.#own(pulled);
        await Promise.race([pulled, pause(waitForHolderMs, over.signal)]);
        over.abort();
      }
    }
  }

  async #askHolder(one: Attached, peerId: string): Promise<void> {
    one.asking.add(peerId);
    try {
      await this.#pullFrom(one, peerId);
    } catch (error) {
      this.#log.debug({ err: error, peerId }, 'a holder could not be asked; asked again later');
    } finally {
      one.asking.delete(peerId);
    }
  }

  async #pullFrom(one: Attached, peerId: string): Promise<void> {
    let after: Uint8Array | undefined;
    let pages = 0;
    do {
      const listed = await this.#peers.list(peerId, { to: one.to, ...(after === undefined ? {} : { after }) });
      const wanted = listed.keys.filter((key) => this.#isWanted(one, key)).map((key) => ({ to: one.to, ...key }));
      await this.#fetch(one, peerId, wanted);
      after = listed.next;
    } while (after !== undefined && ++pages < maxPages && this.#isHere(one));
  }

  #isWanted(one: Attached, key: Omit<PendingKey, 'to'>): boolean {
    const name = hex(key.item);
    if (one.taking.has(name)) return false;
    const putOff = one.putOff.get(name);
    if (putOff === undefined) return true;
    const waitMs = putOff.notBefore - this.#now();
    // Longer than it was ever put off: the clock was set back.
    return waitMs <= 0 || waitMs > retryDelayMs(putOff.tries);
  }

  async #fetch(one: Attached, peerId: string, keys: readonly PendingKey[]): Promise<void> {
    const groups: PendingKey[][] = [];
    for (let at = 0; at < keys.length; at += getItems) groups.push(keys.slice(at, at + getItems));
    const next = groups.values();
    const line = async (): Promise<void> => {
      for (const group of next) {
        if (!this.#isHere(one)) return;
        const items = await this.#peers.get(peerId, group);
        await Promise.all(items.map(async (item) => this.#workPulled(one, item, peerId)));
      }
    };
    await Promise.all(Array.from({ length: getsAtOnce }, line));
  }

  async #workPulled(one: Attached, item: Pushed, peerId: string): Promise<void> {
    const key = keyOf(item.bytes);
    if (key === undefined || Buffer.compare(key.to, one.to) !== 0) return;
    await this.#work(one, key, item, peerId);
  }

  /** Resolves when nothing is in anybody's hands any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#pullTimer);
    for (const one of this.#attached.values()) clearTimeout(one.timer);
    await Promise.all(this.#tasks);
  }
}

function keyOf(sealed: Uint8Array): PendingKey | undefined {
  try {
    const { to, id } = decodeOuter(sealed);
    return { to, id, item: itemOf(sealed) };
  } catch {
    return undefined;
  }
}
