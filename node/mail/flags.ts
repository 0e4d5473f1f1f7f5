import { MailFault } from './fault.ts';

// RFC 3501 §2.3.2. \Recent belongs to a session, never to a message that is kept.
const systemFlags = ['\\Seen', '\\Answered', '\\Flagged', '\\Deleted', '\\Draft'];
const systemByLower = new Map(systemFlags.map((flag) => [flag.toLowerCase(), flag]));
// RFC 3501 §9 flag-keyword = atom; 64 characters are twice the longest registered one.
const keyword = /^[!#$&'+,\-./0-9:;<=>?@A-Z[^_`a-z|}~]{1,64}$/;
/** Keywords in use in one folder. Programs use a dozen; PERMANENTFLAGS of more would not fit their lines. */
export const maxKeywords = 64;

/** Whether a message is deleted, seen, and so on; one object for all messages of a folder with the same flags. */
export interface FlagSet {
  readonly flags: readonly string[];
  readonly seen: boolean;
  /** Messages that have it. Kept by {@link FlagPool}. */
  count: number;
}

/**
 * The flag in its one spelling: system flags as in the RFC, a keyword as the folder first spelled it (flags are case-insensitive,
 * RFC 9051 §2.3.2). Undefined for \Recent. Throws MailFault `bad-flag`.
 */
function canonicalFlag(flag: string, pool: FlagPool): string | undefined {
  if (flag.startsWith('\\')) {
    const lower = flag.slice(0, 64).toLowerCase();
    if (lower === '\\recent') return undefined;
    const system = systemByLower.get(lower);
    if (system === undefined) throw new MailFault('bad-flag', `${flag.slice(0, 64)} is not a system flag`);
    return system;
  }
  if (!keyword.test(flag)) throw new MailFault('bad-flag', 'a keyword is an atom of 1 to 64 characters');
  return pool.spelling(flag);
}

function order(flag: string): string {
  const place = systemFlags.indexOf(flag);
  return place < 0 ? `9${flag}` : `${place}`;
}

/** All flags in their one spelling and order, without repeats. Throws MailFault `bad-flag`, also when the folder would get too many. */
export function canonicalFlags(flags: readonly string[], pool: FlagPool): readonly string[] {
  const spelled = new Map<string, string>();
  for (const flag of flags) {
    const canonical = canonicalFlag(flag, pool);
    if (canonical !== undefined && !spelled.has(canonical.toLowerCase()))
      spelled.set(canonical.toLowerCase(), canonical);
    if (spelled.size > maxKeywords + systemFlags.length) throw new MailFault('bad-flag', 'too many flags at once');
  }
  const result = [...spelled.values()];
  const used = pool.keywords();
  const fresh = result.filter((flag) => !flag.startsWith('\\') && !used.includes(flag));
  if (fresh.length > 0 && used.length + fresh.length > maxKeywords)
    throw new MailFault('bad-flag', `a folder takes at most ${maxKeywords} keywords`);
  return inOrder(result);
}

function inOrder(flags: readonly string[]): readonly string[] {
  return flags.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

export type FlagMode = 'set' | 'add' | 'remove';

/** What `current` becomes; all in their one spelling. */
export function changedFlags(current: readonly string[], mode: FlagMode, flags: readonly string[]): readonly string[] {
  switch (mode) {
    case 'set':
      return flags;
    case 'add':
      return inOrder([...new Set([...current, ...flags])]);
    default:
      return current.filter((flag) => !flags.includes(flag));
  }
}

/** The different sets of flags in a folder and how many messages have each: keywords and unseen without a walk over all messages. */
export class FlagPool {
  readonly #sets = new Map<string, FlagSet>();

  /** The set for these flags (in their one spelling and order), counted once more. */
  take(flags: readonly string[]): FlagSet {
    const key = flags.join(' ');
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = { flags: Object.freeze([...flags]), seen: flags.includes('\\Seen'), count: 0 };
      this.#sets.set(key, set);
    }
    set.count += 1;
    return set;
  }

  release(set: FlagSet): void {
    set.count -= 1;
    if (set.count === 0) this.#sets.delete(set.flags.join(' '));
  }

  sets(): readonly FlagSet[] {
    return [...this.#sets.values()];
  }

  get unseen(): number {
    let sum = 0;
    for (const set of this.#sets.values()) if (!set.seen) sum += set.count;
    return sum;
  }

  keywords(): readonly string[] {
    const all = new Set<string>();
    for (const { flags } of this.#sets.values()) for (const flag of flags) if (!flag.startsWith('\\')) all.add(flag);
    return [...all].sort();
  }

  /** The keyword as this folder spells it. */
  spelling(flag: string): string {
    const lower = flag.toLowerCase();
    return this.keywords().find((known) => known.toLowerCase() === lower) ?? flag;
  }
}
