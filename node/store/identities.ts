import type { Address } from '../../policy/address.ts';
import type { RevocationState } from '../identity/revocation.ts';
import type { Clock } from '../overlay/overlay.ts';
import type { Background } from './background.ts';
import {
  type CheckedEntry,
  type DirectoryEntry,
  directoryKey,
  type Lookup,
  sameEntry,
  supersedes,
} from './directory.ts';
import { StoreFault } from './fault.ts';
import { gather } from './gathering.ts';
import type { Neighbours } from './neighbours.ts';
import { spread } from './spreading.ts';

// A home node that moves is found within a minute; a user that was just added, within seconds.
const foundForMs = 60_000;
const noneForMs = 5_000;
// Strangers name addresses at RCPT: bounded.
const maxCached = 10_000;

interface Cached {
  readonly lookup: Lookup;
  readonly at: number;
  readonly until: number;
}

/** Looks identities up in the ring's directory, and publishes them. Only what enough holders deny is `none`. */
export class Identities {
  readonly #neighbours: Neighbours;
  readonly #background: Background;
  readonly #revocations: () => RevocationState;
  readonly #now: Clock;
  readonly #failed: (cause: unknown) => void;
  readonly #cache = new Map<Address, Cached>();
  readonly #underWay = new Map<Address, Promise<Lookup>>();
  /** Counts publications: what was asked before one is not remembered after it. */
  #publications = 0;

  constructor(parts: {
    neighbours: Neighbours;
    background: Background;
    revocations: () => RevocationState;
    now: Clock;
    failed: (cause: unknown) => void;
  }) {
    this.#neighbours = parts.neighbours;
    this.#background = parts.background;
    this.#revocations = parts.revocations;
    this.#now = parts.now;
    this.#failed = parts.failed;
  }

  /** `checked` is `entry`, checked. Throws StoreFault `stale` when the directory has a better one. */
  async publish(checked: CheckedEntry): Promise<{ copies: number }> {
    const { certificate, entry } = checked;
    const put = async (holder: { putEntry(entry: DirectoryEntry): Promise<CheckedEntry> }): Promise<void> => {
      const kept = await holder.putEntry(entry);
      if (sameEntry(kept, checked)) return;
      // A holder that neither keeps it nor shows a better one is no copy.
      const code = supersedes(kept, checked) ? 'stale' : 'invalid';
      throw new StoreFault(code, 'the directory has another entry for this address');
    };
    const stale = (cause: unknown): boolean => cause instanceof StoreFault && cause.code === 'stale';
    // A better entry that shows up late is found by the next look-up, which asks a majority.
    await this.#neighbours.locate([checked.key]);
    const { atQuorum, finished } = spread(this.#neighbours, checked.key, put, stale, this.#failed);
    this.#background.own(finished, this.#failed);
    try {
      return await atQuorum;
    } finally {
      this.#publications++;
      this.#cache.delete(certificate.address);
      this.#underWay.delete(certificate.address);
    }
  }

  async lookup(address: Address): Promise<Lookup> {
    const cached = this.#cached(address);
    if (cached !== undefined) return cached;
    const underWay = this.#underWay.get(address);
    if (underWay !== undefined) return underWay;
    const publications = this.#publications;
    const asked: Promise<Lookup> = this.#ask(address).then((lookup) => {
      if (publications === this.#publications) this.#remember(address, lookup);
      return lookup;
    });
    this.#underWay.set(address, asked);
    try {
      return await asked;
    } finally {
      if (this.#underWay.get(address) === asked) this.#underWay.delete(address);
    }
  }

  #cached(address: Address): Lookup | undefined {
    const cached = this.#cache.get(address);
    const now = this.#now();
    // Remembered in the future: the clock was set back, and nobody knows how old this is.
    if (cached === undefined || cached.until <= now || cached.at > now) return undefined;
    const { lookup } = cached;
    // What is remembered here may have been revoked since.
    return lookup.kind === 'found' && this.#revocations().isRevoked(lookup.certificate.serial) ? undefined : lookup;
  }

  async #ask(address: Address): Promise<Lookup> {
    const key = directoryKey(address);
    const found = await gather(this.#neighbours, key, (holder) => holder.entry(key), this.#background.signal);
    const entries = [...found.answers.values()].filter((entry) => entry !== undefined);
    const best = entries.reduce<CheckedEntry | undefined>(
      (best, entry) => (best === undefined || supersedes(entry, best) ? entry : best),
      undefined,
    );
    if (best !== undefined) {
      this.#repair(key, best, found.answers);
      return lookupOf(best);
    }
    if (found.sure) return { kind: 'none' };
    return { kind: 'unknown', reason: `${found.answered} of ${found.asked} holders of the address answered` };
  }

  #remember(address: Address, lookup: Lookup): void {
    const forMs = lookup.kind === 'found' ? foundForMs : lookup.kind === 'none' ? noneForMs : 0;
    this.#cache.delete(address);
    const at = this.#now();
    if (forMs > 0) this.#cache.set(address, { lookup, at, until: at + forMs });
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= maxCached) break;
      this.#cache.delete(oldest);
    }
  }

  /** Gives the best entry to the proper holders that answered with a lesser one or none. */
  #repair(key: Uint8Array, best: CheckedEntry, answers: ReadonlyMap<object, CheckedEntry | undefined>): void {
    for (const member of this.#neighbours.place(key).proper) {
      if (!answers.has(member)) continue;
      const had = answers.get(member);
      if (had !== undefined && sameEntry(had, best)) continue;
      this.#background.offer(() => this.#neighbours.holder(member).putEntry(best.entry), this.#failed);
    }
  }
}

function lookupOf(best: CheckedEntry): Lookup {
  if (best.standing === 'revoked') return { kind: 'revoked' };
  if (best.standing === 'unknown')
    return {
      kind: 'unknown',
      reason: 'no fresh enough revocation list, or no right clock, to judge the certificate by',
    };
  return { kind: 'found', certificate: best.certificate, record: best.record };
}
