import type { Log } from './overlay.ts';

export interface DialerParts {
  readonly selfId: string;
  /** Resolves when the peer is connected and admitted, rejects when that failed. */
  readonly dial: (peerId: string, addresses: readonly string[], signal: AbortSignal) => Promise<void>;
  readonly isUp: (peerId: string) => boolean;
  readonly random: () => number;
  readonly log: Log;
}

type Target = {
  readonly peerId: string;
  addresses: readonly string[];
  failures: number;
  /** Dials at once for new addresses in the current minute. */
  renewals: { minute: number; count: number };
  /** By the monotonic clock, for those who are dialled only when asked. */
  notBefore: number;
  timer: NodeJS.Timeout | undefined;
  attempt: Promise<boolean> | undefined;
};

function fresh(peerId: string, addresses: readonly string[]): Target {
  return {
    peerId,
    addresses,
    failures: 0,
    renewals: { minute: 0, count: 0 },
    notBefore: 0,
    timer: undefined,
    attempt: undefined,
  };
}

// Lost nodes are redialled for ever (DESIGN §6), soon at first and then, with the jitter, at least once a minute: within that two halves find each
// other, and who was cut off when somebody was revoked learns of it.
const firstDelayMs = 1_000;
const lastDelayMs = 48_000;
// When two learn of each other at once, the greater peer id leaves the other this much time, so that one connection is made, not two.
const courtesyMs = 400;
// Dials to dead addresses hang until their time-out; more at once would starve the live ones.
const maxDials = 32;
const busyDelayMs = 100;
// A member that keeps changing its record makes us dial hosts of its choice: a machine changes its address a few times a minute at most.
const maxRenewalsPerMinute = 6;
const dialTimeoutMs = 8_000;
// The largest full mesh, twice; whom to keep is the locator's to say.
const maxKept = 1_000;
// Those dialled when asked whose last failure is remembered, so that one that is away is not waited for at each question.
const maxAsked = 2_000;

/** How long to wait after the nth failure in a row: doubling from 1 s to 48 s, with jitter of a quarter to either side. */
export function redialDelay(failures: number, random: () => number): number {
  const plain = Math.min(lastDelayMs, firstDelayMs * 2 ** Math.max(0, failures - 1));
  return Math.round(plain * (0.75 + random() / 2));
}

/** Keeps trying to be connected to everyone it was told of. */
export class Dialer {
  readonly #parts: DialerParts;
  readonly #targets = new Map<string, Target>();
  /** Whom nobody wants to be connected all the time; oldest first. */
  readonly #asked = new Map<string, Target>();
  readonly #stop = new AbortController();
  #dialling = 0;

  constructor(parts: DialerParts) {
    this.#parts = parts;
  }

  /**
   * A peer to be connected to, or new addresses of one: tried soon, whatever was tried before. `alone`: the peer cannot
   * know of us, so there is no sense in leaving it the first move.
   */
  want(peerId: string, addresses: readonly string[], alone = false): void {
    if (peerId === this.#parts.selfId || this.#stop.signal.aborted) return;
    const target = this.#targets.get(peerId);
    if (target === undefined) {
      if (this.#targets.size >= maxKept) return;
      const first = this.#asked.get(peerId) ?? fresh(peerId, addresses);
      this.#asked.delete(peerId);
      first.addresses = addresses;
      first.failures = 0;
      this.#targets.set(peerId, first);
      if (first.attempt === undefined) this.#schedule(first, alone ? 0 : this.#soon(peerId));
      return;
    }
    target.addresses = addresses;
    if (!mayRenew(target)) return;
    target.failures = 0;
    if (target.attempt === undefined) this.#schedule(target, this.#soon(peerId));
  }

  /** The last connection to this peer ended. */
  lost(peerId: string): void {
    const target = this.#targets.get(peerId);
    if (target === undefined || target.attempt !== undefined) return;
    target.failures = 0;
    this.#schedule(target, this.#soon(peerId));
  }

  /** Those that are kept connected. */
  wanted(): readonly string[] {
    return [...this.#targets.keys()];
  }

  wants(peerId: string): boolean {
    return this.#targets.has(peerId);
  }

  /** Tries all that are not up, soon: this machine has been asleep, or elsewhere. */
  hurry(): void {
    this.#asked.clear();
    for (const target of this.#targets.values()) {
      target.failures = 0;
      if (target.attempt === undefined && !this.#parts.isUp(target.peerId))
        this.#schedule(target, this.#parts.random() * courtesyMs);
    }
  }

  /** Whether an attempt now is not known to be in vain. */
  mayTry(peerId: string): boolean {
    const target = this.#targets.get(peerId) ?? this.#asked.get(peerId);
    return target === undefined || target.attempt !== undefined || isDue(target);
  }

  forget(peerId: string): void {
    this.#asked.delete(peerId);
    clearTimeout(this.#targets.get(peerId)?.timer);
    this.#targets.delete(peerId);
  }

  /**
   * Whether the peer is up, after the attempt that is under way or one that is made now. A peer whose last attempt
   * failed and whose next is not due is not tried again: false at once.
   */
  async reach(peerId: string, addresses: readonly string[]): Promise<boolean> {
    if (this.#parts.isUp(peerId)) return true;
    const target = this.#targets.get(peerId) ?? this.#asked.get(peerId) ?? fresh(peerId, addresses);
    if (target.attempt !== undefined) return target.attempt;
    if (this.#stop.signal.aborted || !isDue(target)) return false;
    if (!this.#targets.has(peerId)) this.#remember(target, addresses);
    return this.#try(target);
  }

  #remember(target: Target, addresses: readonly string[]): void {
    target.addresses = addresses;
    this.#asked.delete(target.peerId);
    this.#asked.set(target.peerId, target);
    const oldest = this.#asked.size > maxAsked ? this.#asked.keys().next().value : undefined;
    if (oldest !== undefined) this.#asked.delete(oldest);
  }

  stop(): void {
    this.#stop.abort(new Error('the overlay stops'));
    for (const { timer } of this.#targets.values()) clearTimeout(timer);
    this.#targets.clear();
  }

  #soon(peerId: string): number {
    const courtesy = this.#parts.selfId < peerId ? 0 : courtesyMs;
    return Math.round(courtesy + this.#parts.random() * 50);
  }

  #schedule(target: Target, delayMs: number): void {
    clearTimeout(target.timer);
    if (this.#stop.signal.aborted || this.#targets.get(target.peerId) !== target) return;
    target.timer = setTimeout(() => {
      this.#due(target).catch((error: unknown) =>
        this.#parts.log.error({ err: error, peer: target.peerId }, 'dialling failed'),
      );
    }, delayMs);
  }

  async #due(target: Target): Promise<void> {
    if (this.#parts.isUp(target.peerId) || target.attempt !== undefined) return;
    if (this.#dialling >= maxDials) this.#schedule(target, busyDelayMs);
    else await this.#try(target);
  }

  #try(target: Target): Promise<boolean> {
    clearTimeout(target.timer);
    target.attempt = this.#dial(target).finally(() => {
      target.attempt = undefined;
      if (this.#parts.isUp(target.peerId)) return;
      const delayMs = redialDelay(target.failures, this.#parts.random);
      target.notBefore = performance.now() + delayMs;
      this.#schedule(target, delayMs);
    });
    return target.attempt;
  }

  async #dial(target: Target): Promise<boolean> {
    this.#dialling += 1;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(dialTimeoutMs)]);
      await this.#parts.dial(target.peerId, target.addresses, signal);
      target.failures = 0;
      return true;
    } catch (error) {
      target.failures += 1;
      this.#parts.log.debug(
        { err: error, peer: target.peerId, failures: target.failures },
        'a peer could not be reached',
      );
      return false;
    } finally {
      this.#dialling -= 1;
    }
  }
}

function mayRenew({ renewals }: Target): boolean {
  const minute = Math.floor(performance.now() / 60_000);
  if (renewals.minute !== minute) Object.assign(renewals, { minute, count: 0 });
  renewals.count += 1;
  return renewals.count <= maxRenewalsPerMinute;
}

/** One that is kept connected has its next attempt scheduled: asking does not hasten it. */
function isDue({ failures, notBefore, timer }: Target): boolean {
  return failures === 0 || (timer === undefined && performance.now() >= notBefore);
}
