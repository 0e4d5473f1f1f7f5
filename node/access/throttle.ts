import type { Clock } from './log.ts';

export interface ThrottleLimits {
  /** Wrong passwords for one account from one address before that pair must wait for the window to pass. */
  readonly maxFailures: number;
  /** How long failures are remembered. */
  readonly windowMs: number;
  /** Longest wait before an answer. */
  readonly maxDelayMs: number;
  /** Keys remembered; the oldest go first. */
  readonly maxKeys: number;
  /** Passwords being checked at once for one address: each costs a core for a while. */
  readonly maxAtOnce: number;
  /** Further ones from that address wait their turn: programs open several connections in one moment. */
  readonly maxWaiting: number;
}

export const throttleLimits: ThrottleLimits = {
  // A person mistypes three times, a program with an old password tries for ever.
  maxFailures: 10,
  windowMs: 15 * 60_000,
  maxDelayMs: 8_000,
  maxKeys: 20_000,
  maxAtOnce: 8,
  maxWaiting: 100,
};

export type Permission = { readonly kind: 'try' } | { readonly kind: 'locked'; readonly untilMs: number };

interface Failures {
  count: number;
  last: number;
}

/**
 * Slows down who guesses passwords. The pair of address and account is locked out after too many failures; an address
 * and an account alone only wait longer and longer: on loopback every user has the same address, and an account that
 * anybody could lock from anywhere would be a way to harm its owner. Memory is bounded.
 */
export class Throttle {
  readonly #limits: ThrottleLimits;
  readonly #now: Clock;
  readonly #failures = new Map<string, Failures>();

  constructor(now: Clock, limits: ThrottleLimits = throttleLimits) {
    this.#now = now;
    this.#limits = limits;
  }

  permission(ip: string, username: string): Permission {
    const failures = this.#current(pairKey(ip, username));
    if (failures === undefined || failures.count < this.#limits.maxFailures) return { kind: 'try' };
    return { kind: 'locked', untilMs: failures.last + this.#limits.windowMs };
  }

  failed(ip: string, username: string): void {
    for (const key of [pairKey(ip, username), addressKey(ip), accountKey(username)]) {
      const count = (this.#current(key)?.count ?? 0) + 1;
      // Moved to the end of the map: its front is what has been quiet for longest.
      this.#failures.delete(key);
      this.#failures.set(key, { count, last: this.#now() });
    }
    while (this.#failures.size > this.#limits.maxKeys) {
      const oldest = this.#failures.keys().next().value;
      if (oldest === undefined) break;
      this.#failures.delete(oldest);
    }
  }

  succeeded(ip: string, username: string): void {
    this.#failures.delete(pairKey(ip, username));
    // The account is proven to be in use by its owner; the address has proven nothing about its other users.
    this.#failures.delete(accountKey(username));
  }

  /** How long a refusal waits before it is said: 1 s at least, so that it tells nothing about how long the check took. */
  refusalDelayMs(ip: string, username: string): number {
    const count = Math.max(
      this.#current(pairKey(ip, username))?.count ?? 0,
      this.#current(accountKey(username))?.count ?? 0,
      // Many people may share an address: a fifth of the weight.
      (this.#current(addressKey(ip))?.count ?? 0) / 5,
    );
    return Math.min(this.#limits.maxDelayMs, 1_000 * 2 ** Math.max(0, Math.min(10, Math.floor(count) - 1)));
  }

  #current(key: string): Failures | undefined {
    const failures = this.#failures.get(key);
    if (failures === undefined) return undefined;
    if (this.#now() - failures.last < this.#limits.windowMs) return failures;
    this.#failures.delete(key);
    return undefined;
  }
}

// Names come from strangers: what is kept of them is bounded too.
function accountKey(username: string): string {
  return `a ${username.slice(0, 320).toLowerCase()}`;
}

function addressKey(ip: string): string {
  return `i ${networkOf(ip)}`;
}

function pairKey(ip: string, username: string): string {
  return `p ${networkOf(ip)} ${username.slice(0, 320).toLowerCase()}`;
}

/** An IPv6 customer has a /64 at least: one address of it is not one guesser (DESIGN §14). */
function networkOf(ip: string): string {
  const plain = ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip;
  if (!plain.includes(':')) return plain;
  const [head = '', tail = ''] = plain.split('::');
  const left = head.split(':').filter((part) => part !== '');
  const right = tail.split(':').filter((part) => part !== '');
  const zeros = plain.includes('::') ? Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0') : [];
  return `${[...left, ...zeros, ...right].slice(0, 4).join(':')}::/64`;
}
