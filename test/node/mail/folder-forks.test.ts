import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { openLog } from '../../../node/log/log.ts';
import type { Folder } from '../../../node/mail/folder.ts';
import { takesUid } from '../../../node/mail/folder-record.ts';
import { FolderShelf } from '../../../node/mail/folder-shelf.ts';
import type { IndexCache } from '../../../node/mail/index-cache.ts';
import { decodeMessageRef, type MessageRef, packedMessageRefBytes } from '../../../node/mail/message-ref.ts';
import type { MessageVault } from '../../../node/mail/message-vault.ts';
import { MemoryRing, MemoryShelf } from '../log/memory-ring.ts';
import { address, silentLog } from '../overlay/fake-overlay.ts';

/** What somebody does at one of the nodes; `which` picks a message of those that are there, or a delivery. */
type Step =
  | {
      readonly kind: 'insert' | 'doubtful insert' | 'deliver' | 'expunge';
      readonly who: number;
      readonly which: number;
    }
  | {
      readonly kind: 'flag';
      readonly who: number;
      readonly which: number;
      readonly flag: number;
      readonly mode: FlagMode;
    }
  | { readonly kind: 'look' | 'restart'; readonly who: number }
  | { readonly kind: 'divide'; readonly parts: readonly number[] };
type FlagMode = 'add' | 'remove' | 'set';

const flags = ['\\Seen', '\\Flagged', 'Work'];
const nodes = 4;
const who = fc.nat(nodes - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('insert' as const), who, which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('doubtful insert' as const), who, which: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('deliver' as const), who, which: fc.nat(4) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('expunge' as const), who, which: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('flag' as const),
      who,
      which: fc.nat(20),
      flag: fc.nat(flags.length - 1),
      mode: fc.constantFrom<FlagMode>('add', 'remove', 'set'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('look' as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('divide' as const), parts: fc.array(fc.nat(2), { maxLength: nodes }) }),
  },
);

const keys = generateIdentityKeys();
const secret = keys.export().subarray(0, 32);
const owner = address('alice@example.org');

/** A message by a number that is its size in its reference. */
function refOf(number: number): MessageRef {
  return { ...decodeMessageRef(Buffer.alloc(packedMessageRefBytes)), size: number };
}

const noCache = { load: () => undefined, save: async () => undefined } as unknown as IndexCache;

/** One of the user's nodes, and a mail program that shows the folder there. */
class Node {
  readonly number: number;
  readonly #ring: MemoryRing;
  readonly #history: History;
  readonly #disk = new MemoryShelf();
  #shelf: FolderShelf | undefined;
  #folder: Folder | undefined;
  #doubt = false;
  /** Every uid that was ever shown here → the message under it. */
  readonly shown = new Map<number, string>();
  /** What the program shows, by what it was told alone. */
  #program = new Set<number>();
  #view = new Map<number, string>();
  #modseq = 0;

  constructor(number: number, ring: MemoryRing, history: History) {
    this.number = number;
    this.#ring = ring;
    this.#history = history;
  }

  async start(create: boolean): Promise<void> {
    const store = this.#ring.store(this.number, () => this.#doubt);
    const vault = {
      store: async (bytes: Uint8Array) => refOf(Number(Buffer.from(bytes).toString())),
    } as unknown as MessageVault;
    const openIt = async (name: string, fresh: boolean) =>
      openLog({
        store,
        disk: this.#disk,
        signing: keys.signing,
        secret,
        name,
        owner,
        create: fresh,
        takes: takesUid,
        now: () => this.#history.now,
        log: silentLog,
      });
    const now = () => this.#history.now;
    this.#shelf = new FolderShelf({ openLog: openIt, cache: noCache, vault, now, events: silentLog });
    if (create) await this.#shelf.make(7);
    const folder = await this.#shelf.open(7, () => 'INBOX');
    this.#folder = folder;
    this.#program = new Set(folder.entries().map(({ uid }) => uid));
    folder.onChange(({ kind, uids }) => {
      for (const uid of uids) {
        if (kind === 'inserted') this.#program.add(uid);
        if (kind === 'expunged') this.#program.delete(uid);
      }
    });
    this.look();
  }

  async stop(): Promise<void> {
    await this.#shelf?.close();
  }

  get folder(): Folder {
    if (this.#folder === undefined) throw new Error('not started');
    return this.#folder;
  }

  /** What is shown now: nothing that a program has seen may mean anything else, and what changed has a number above all it knew. */
  look(): void {
    const { folder } = this;
    const entries = folder.entries();
    const uids = entries.map(({ uid }) => uid);
    expect(uids).toEqual([...new Set(uids)].sort((a, b) => a - b));
    expect(folder.uidNext).toBeGreaterThan(Math.max(0, ...uids, ...this.shown.keys()));
    expect([...this.#program].sort((a, b) => a - b)).toEqual(uids);
    expect(folder.highestModseq).toBeGreaterThanOrEqual(this.#modseq);
    const view = new Map<number, string>();
    for (const entry of entries) {
      const name = this.#history.nameOf(entry.size);
      expect(this.shown.get(entry.uid) ?? name).toBe(name);
      this.shown.set(entry.uid, name);
      view.set(entry.uid, [name, ...entry.flags].join(' '));
      if (view.get(entry.uid) !== this.#view.get(entry.uid)) expect(entry.modseq).toBeGreaterThan(this.#modseq);
    }
    this.#view = view;
    this.#modseq = folder.highestModseq;
  }

  get view(): unknown {
    const { uidNext, highestModseq } = this.folder;
    const entries = this.folder.entries().map(({ uid, modseq, size, flags: set }) => ({ uid, modseq, size, set }));
    return { uidNext, highestModseq, entries };
  }

  async do(one: Step): Promise<void> {
    const { folder } = this;
    const all = folder.entries();
    const chosen = 'which' in one ? all[one.which % Math.max(all.length, 1)] : undefined;
    this.#history.now += 1;
    if (one.kind === 'look') await folder.refresh();
    else if (one.kind === 'restart') {
      await this.stop();
      await this.start(false);
    } else if (one.kind === 'insert') {
      const number = this.#history.inserted();
      await folder.append(Buffer.from(`${number}`), { flags: [], internalDate: 0 });
      this.#history.certain.add(this.#history.nameOf(number));
    } else if (one.kind === 'doubtful insert') {
      this.#doubt = true;
      const number = this.#history.inserted();
      await expect(folder.append(Buffer.from(`${number}`), { flags: [], internalDate: 0 })).rejects.toThrow();
      this.#doubt = false;
    } else if (one.kind === 'deliver') {
      const number = this.#history.delivered(one.which);
      const id = Buffer.alloc(32, one.which);
      await folder.insertRef({ id, ref: refOf(number), internalDate: 0, envelopeFrom: '', trace: '' });
      this.#history.certain.add(this.#history.nameOf(number));
    } else if (chosen !== undefined && one.kind === 'expunge') {
      const name = this.#history.nameOf(chosen.size);
      if ((await folder.expunge([chosen.uid])).length > 0) this.#history.expunged.add(name);
    } else if (chosen !== undefined && one.kind === 'flag') {
      const flag = flags[one.flag] ?? '';
      // With all that this part of the ring knows, so that it is certain what the change was made against.
      await folder.refresh();
      const name = this.#history.nameOf(chosen.size);
      const before = folder.entry(chosen.uid)?.flags.join(' ');
      const [changed] = await folder.setFlags([chosen.uid], one.mode, [flag]);
      // What changes nothing is not written, and so not the last word.
      if (changed !== undefined && changed.flags.join(' ') !== before) this.#history.flagged(name, one.mode, flag);
    }
    this.look();
  }
}

/** What was done in all, in the order of the times. */
class History {
  now = 1_000;
  /** Acknowledged. */
  readonly certain = new Set<string>();
  readonly expunged = new Set<string>();
  readonly #deliveries = new Map<number, string>();
  readonly #flags = new Map<string, Map<string, boolean>>();
  #messages = 0;

  inserted(): number {
    return ++this.#messages;
  }

  delivered(which: number): number {
    const number = ++this.#messages;
    this.#deliveries.set(number, `delivery ${which}`);
    return number;
  }

  nameOf(number: number): string {
    return this.#deliveries.get(number) ?? `message ${number}`;
  }

  flagged(name: string, mode: FlagMode, flag: string): void {
    const known = this.#flags.get(name) ?? new Map<string, boolean>();
    this.#flags.set(name, known);
    if (mode === 'set') for (const other of flags) known.set(other, false);
    known.set(flag, mode !== 'remove');
  }

  flagsOf(name: string): string[] {
    return [...(this.#flags.get(name) ?? [])].flatMap(([flag, on]) => (on ? flag : [])).sort();
  }
}

async function live(steps: readonly Step[]): Promise<{ all: readonly Node[]; history: History; ring: MemoryRing }> {
  const ring = new MemoryRing(nodes);
  const history = new History();
  const all = Array.from({ length: nodes }, (_, number) => new Node(number, ring, history));
  for (const node of all) await node.start(node.number === 0);
  for (const one of steps) {
    if (one.kind === 'divide') ring.divide(one.parts);
    else await all[one.who]?.do(one);
  }
  ring.heal();
  // Nobody writes any more: each looks as it would by itself, until a round brings nothing new.
  for (let before = ''; before !== JSON.stringify(all.map(({ view }) => view)); ) {
    before = JSON.stringify(all.map(({ view }) => view));
    await Promise.all(all.map(async (node) => node.folder.refresh()));
    for (const node of all) node.look();
  }
  return { all, history, ring };
}

describe('one folder served by four nodes of its user, in whatever parts the ring falls', () => {
  it('ends the same at all of them, under the same uids, with nothing lost, deletions kept and the last flags', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { all, history, ring } = await live(steps);
        const [first, ...others] = all;
        if (first === undefined) throw new Error('no nodes');
        for (const other of others) expect(other.view).toEqual(first.view);
        const fresh = new Node(0, ring, history);
        await fresh.start(false);
        expect(fresh.view).toEqual(first.view);
        const entries = first.folder.entries();
        const there = entries.map(({ size }) => history.nameOf(size));
        expect(new Set(there).size).toBe(there.length);
        for (const name of history.certain)
          expect([name, there.includes(name)]).toEqual([name, !history.expunged.has(name)]);
        for (const name of there) expect(history.expunged.has(name)).toBe(false);
        for (const entry of entries) {
          const name = history.nameOf(entry.size);
          // A delivery that two nodes took in is flagged as two messages until they meet.
          if (name.startsWith('message'))
            expect([name, ...[...entry.flags].sort()]).toEqual([name, ...history.flagsOf(name)]);
          for (const { shown } of all) expect(shown.get(entry.uid) ?? name).toBe(name);
        }
        await Promise.all([...all, fresh].map(async (node) => node.stop()));
      }),
      { numRuns: Number(process.env['EPOST_FORK_RUNS'] ?? 150) },
    );
  });
});
