import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FolderIndex } from '../../../node/mail/folder-index.ts';
import { encodeFolderRecord } from '../../../node/mail/folder-record.ts';
import { packedMessageRefBytes } from '../../../node/mail/message-ref.ts';
import { toRuns } from '../../../node/mail/runs.ts';

/** What a person does with a folder; `which` picks a message of those that are there. */
type Step =
  | { readonly kind: 'insert' | 'deliver'; readonly which: number }
  | { readonly kind: 'expunge' | 'flag'; readonly which: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('insert', 'insert', 'deliver', 'expunge', 'flag'),
  which: fc.nat(20),
});
const steps = fc.array(step, { maxLength: 25 });

/** One node's view of the folder: its index, and the records it wrote since the fork. */
class Lineage {
  readonly index = new FolderIndex();
  readonly records: Uint8Array[] = [];
  /** What a program that reads at this node has seen under each uid. */
  readonly shown = new Map<number, string>();
  readonly expunged = new Set<string>();
  /** Names of deliveries → which delivery; one delivery can have a name in each lineage. */
  readonly deliveries = new Map<string, string>();
  readonly #origin: number;
  #serial = 0;

  constructor(origin: number, before: readonly Uint8Array[]) {
    this.#origin = origin;
    for (const record of before) this.index.apply(record);
    this.#look();
  }

  do({ kind, which }: Step): void {
    const all = this.index.entries();
    const chosen = all[which % Math.max(all.length, 1)];
    if (kind === 'insert' || kind === 'deliver') {
      this.#serial += 1;
      const id = Buffer.alloc(32, which);
      if (kind === 'deliver') this.deliveries.set(`${this.#origin}/${this.#serial}`, `delivery ${which}`);
      const delivery = kind === 'deliver' ? { id, envelopeFrom: 'a@b.example', trace: 't' } : undefined;
      this.#write({
        kind: 'insert',
        uid: this.index.uidNext,
        origin: this.#origin,
        serial: this.#serial,
        flags: [],
        internalDate: 0,
        ref: new Uint8Array(packedMessageRefBytes),
        at: 0,
        delivery,
      });
    } else if (chosen !== undefined && kind === 'expunge') {
      this.expunged.add(nameOf(chosen));
      this.#write({ kind: 'expunge', runs: toRuns([chosen]) });
    } else if (chosen !== undefined) {
      this.#write({ kind: 'flags', mode: 'add', flags: [`flag${this.#origin}`], runs: toRuns([chosen]) });
    }
  }

  #write(record: Parameters<typeof encodeFolderRecord>[0]): void {
    const bytes = encodeFolderRecord(record);
    this.index.apply(bytes);
    this.records.push(bytes);
    this.#look();
  }

  #look(): void {
    for (const entry of this.index.entries()) this.shown.set(entry.uid, nameOf(entry));
  }
}

const nameOf = ({ origin, serial }: { origin: number; serial: number }): string => `${origin}/${serial}`;

function replayed(records: readonly Uint8Array[]): FolderIndex {
  const index = new FolderIndex();
  for (const record of records) index.apply(record);
  return index;
}

/** Messages by their names for ever, with flags; a delivery that came twice goes by the name it has in this log. */
const content = (index: FolderIndex): string[] =>
  index.entries().map((entry) => `${nameOf(entry)} ${[...entry.flags].sort().join(' ')}`);

interface Forked {
  readonly common: readonly Uint8Array[];
  readonly root: Lineage;
  readonly left: Lineage;
  readonly right: Lineage;
}

function forked(before: readonly Step[], left: readonly Step[], right: readonly Step[]): Forked {
  const root = new Lineage(1, [encodeFolderRecord({ kind: 'born', uidValidity: 7 })]);
  for (const one of before) root.do(one);
  const common = [encodeFolderRecord({ kind: 'born', uidValidity: 7 }), ...root.records];
  const lineages = { common, root, left: new Lineage(2, common), right: new Lineage(3, common) };
  for (const one of left) lineages.left.do(one);
  for (const one of right) lineages.right.do(one);
  return lineages;
}

const histories = fc.tuple(steps, steps, steps);
const runs = { numRuns: 1_500 };

describe('two histories of one folder, merged as node/log merges them', () => {
  it('no insertion is lost, and deletions win', () => {
    fc.assert(
      fc.property(histories, ([before, one, other]) => {
        const { common, root, left, right } = forked(before, one, other);
        const merged = replayed([...common, ...left.records, ...right.records]);
        const deliveries = new Map([root, left, right].flatMap((lineage) => [...lineage.deliveries]));
        const messageOf = (name: string): string => deliveries.get(name) ?? name;
        const there = new Set(merged.entries().map((entry) => messageOf(nameOf(entry))));
        expect(there.size).toBe(merged.length);
        const gone = new Set([root, left, right].flatMap(({ expunged }) => [...expunged]).map(messageOf));
        for (const { index } of [left, right])
          for (const entry of index.entries()) {
            const message = messageOf(nameOf(entry));
            expect(there.has(message)).toBe(!gone.has(message));
          }
      }),
      runs,
    );
  });

  it('uids are unique and ascend, and none means another message than a program has seen under it', () => {
    fc.assert(
      fc.property(histories, ([before, one, other]) => {
        const { common, left, right } = forked(before, one, other);
        const merged = replayed([...common, ...left.records, ...right.records]);
        const uids = merged.entries().map(({ uid }) => uid);
        expect(uids).toEqual([...new Set(uids)].sort((a, b) => a - b));
        expect(merged.uidNext).toBeGreaterThan(Math.max(0, ...uids));
        for (const { shown } of [left, right])
          for (const [uid, name] of shown) {
            const now = merged.entry(uid);
            if (now !== undefined && !merged.aliases.has(name)) expect(nameOf(now)).toBe(name);
          }
      }),
      runs,
    );
  });

  it('both orders give the same messages with the same flags', () => {
    fc.assert(
      fc.property(histories, ([before, one, other]) => {
        // Deliveries have another name in each order; their messages are compared above.
        const plain = (steps: readonly Step[]) => steps.filter(({ kind }) => kind !== 'deliver');
        const { common, left, right } = forked(before, plain(one), plain(other));
        const there = content(replayed([...common, ...left.records, ...right.records])).sort();
        const back = content(replayed([...common, ...right.records, ...left.records])).sort();
        expect(there).toEqual(back);
      }),
      runs,
    );
  });

  it('records that come again change nothing', () => {
    fc.assert(
      fc.property(histories, ([before, one, other]) => {
        const { common, left, right } = forked(before, one, other);
        const once = [...common, ...left.records, ...right.records];
        const inserts = [...left.records, ...right.records];
        const messages = (index: FolderIndex) => index.entries().map((entry) => [entry.uid, nameOf(entry)]);
        expect(messages(replayed([...once, ...inserts]))).toEqual(messages(replayed(once)));
      }),
      runs,
    );
  });
});
