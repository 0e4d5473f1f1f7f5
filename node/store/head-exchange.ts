import { equalBytes } from '../identity/canonical.ts';
import { type Conduct, noConduct } from '../overlay/conduct.ts';
import type { Background } from './background.ts';
import { StoreFault } from './fault.ts';
import { noteFork } from './fork-proof.ts';
import { gather } from './gathering.ts';
import { checkHead, type Head, newestHeads } from './head.ts';
import type { Holder } from './holder.ts';
import { headFrom } from './holder.ts';
import type { Neighbours } from './neighbours.ts';
import { spread } from './spreading.ts';

export interface HeadsFound {
  readonly heads: Uint8Array[];
  readonly answered: number;
  readonly asked: number;
  readonly sure: boolean;
}

/** Puts a head at its holder, or throws what the holder proved to stand against it. */
async function putAt(holder: Holder, head: Head): Promise<void> {
  const verdict = await holder.putHead(head);
  if (verdict.kind === 'kept') return;
  const heads = verdict.heads.map(({ bytes }) => bytes);
  const message =
    verdict.kind === 'stale' ? 'a holder has a newer head of this log' : 'a holder has another head of this version';
  throw new StoreFault(verdict.kind, message, { heads });
}

function provesConflict(cause: unknown): boolean {
  return cause instanceof StoreFault && (cause.code === 'stale' || cause.code === 'fork');
}

// Own logs that are in conflict at this moment: few. What falls out here is still at the holders.
const maxLate = 1_000;

/** Puts and gets heads at their holders. Stragglers and repairs belong to `background`. */
export class HeadExchange {
  readonly #neighbours: Neighbours;
  readonly #background: Background;
  readonly #failed: (cause: unknown) => void;
  readonly #conduct: Conduct;
  /** What holders proved to stand against a head after it had reached its quorum: told to whoever puts the next one. */
  readonly #late = new Map<string, readonly Uint8Array[]>();

  constructor(
    neighbours: Neighbours,
    background: Background,
    failed: (cause: unknown) => void,
    conduct: Conduct = noConduct,
  ) {
    this.#conduct = conduct;
    this.#neighbours = neighbours;
    this.#background = background;
    this.#failed = failed;
  }

  async put(bytes: Uint8Array): Promise<{ copies: number }> {
    const head = headFrom(bytes);
    const name = Buffer.from(head.key).toString('base64');
    this.#assertNothingLate(name, head);
    const late = (cause: unknown): void => {
      if (!(cause instanceof StoreFault) || this.#late.size >= maxLate) return;
      this.#late.set(name, cause.heads);
    };
    await this.#neighbours.locate([head.key]);
    const { atQuorum, finished } = spread(
      this.#neighbours,
      head.key,
      (holder) => putAt(holder, head),
      provesConflict,
      late,
    );
    this.#background.own(finished, this.#failed);
    return atQuorum;
  }

  #assertNothingLate(name: string, head: Head): void {
    const late = this.#late.get(name)?.flatMap((bytes) => checkHead(bytes) ?? []) ?? [];
    this.#late.delete(name);
    const unheeded = late.filter(({ hash }) => !head.parents.some((parent) => equalBytes(parent, hash)));
    if (unheeded.length === 0) return;
    const heads = unheeded.map(({ bytes }) => bytes);
    throw new StoreFault('fork', 'a holder had another head than the one before this', { heads });
  }

  async get(key: Uint8Array): Promise<HeadsFound> {
    const found = await gather(this.#neighbours, key, (holder) => holder.heads(key), this.#background.signal);
    const newest = newestHeads([...found.answers.values()].flat());
    noteFork(this.#conduct, newest);
    this.#repair(key, newest, found.answers);
    return {
      heads: newest.map(({ bytes }) => bytes),
      answered: found.answered,
      asked: found.asked,
      sure: found.sure,
    };
  }

  /** Gives the newest heads to the proper holders that answered without them. */
  #repair(key: Uint8Array, newest: readonly Head[], answers: ReadonlyMap<object, readonly Head[]>): void {
    for (const member of this.#neighbours.place(key).proper) {
      const had = answers.get(member);
      if (had === undefined) continue;
      for (const head of newest.filter(({ hash }) => !had.some((other) => equalBytes(other.hash, hash))))
        this.#background.offer(
          () =>
            putAt(this.#neighbours.holder(member), head).catch((cause: unknown) => {
              // A fork's second head is kept as evidence by being refused.
              if (!provesConflict(cause)) throw cause;
            }),
          this.#failed,
        );
    }
  }
}
