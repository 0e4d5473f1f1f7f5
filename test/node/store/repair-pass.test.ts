import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../node/overlay/overlay.ts';
import { type PassTools, RepairPass } from '../../../node/store/repair-pass.ts';
import { Summaries } from '../../../node/store/summaries.ts';

const keyOf = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());
const name = (key: Uint8Array): string => Buffer.from(key).toString('hex');
const [self, peer] = [{ peerId: 'self' }, { peerId: 'peer' }] as [Member, Member];

/** What lies at this node, and what at the other; both should have everything but what is foreign to this one. */
class Pair {
  readonly here = new Map<string, Uint8Array>();
  readonly there = new Set<string>();
  readonly foreign = new Set<string>();
  isUp = true;
  /** Keys that were read from the disk. */
  read = 0;
  readonly pushed: string[] = [];

  put(text: string, places: 'both' | 'here' | 'foreign'): Uint8Array {
    const key = keyOf(text);
    this.here.set(name(key), key);
    if (places === 'both') this.there.add(name(key));
    if (places === 'foreign') this.foreign.add(name(key));
    return key;
  }

  async walk(options: { only?: Member; verify: boolean }): Promise<RepairPass['count']> {
    const signal = new AbortController().signal;
    const page = (after: Uint8Array | undefined, limit: number, end?: Uint8Array): Uint8Array[] =>
      [...this.here.values()]
        .sort((left, right) => Buffer.compare(left, right))
        .filter((key) => after === undefined || Buffer.compare(key, after) > 0)
        .filter((key) => end === undefined || Buffer.compare(key, end) < 0)
        .slice(0, limit);
    const keepers = (key: Uint8Array): Member[] => (this.foreign.has(name(key)) ? [peer] : [self, peer]);
    const isWanted = (): boolean => true;
    const summariesOf = (selfId: string, has: (key: Uint8Array) => boolean): Summaries =>
      new Summaries({
        selfId,
        keepers,
        ring: () => '',
        page: (after, limit) => page(after, limit),
        isWanted: has,
        signal,
      });
    const [mine, theirs] = [summariesOf('self', isWanted), summariesOf('peer', (key) => this.there.has(name(key)))];
    const remote = {
      summary: async (root: Uint8Array) => {
        const sums = await theirs.of('self');
        return Buffer.compare(sums.root(), root) === 0 ? undefined : sums.stamps();
      },
      lacks: async (_kind: string, items: readonly { key: Uint8Array }[]) =>
        items.map(({ key }) => !this.there.has(name(key))),
      insert: async (blocks: readonly { key: Uint8Array }[]) => {
        for (const { key } of blocks) this.pushed.push(name(key));
      },
    };
    const counted = (after: Uint8Array | undefined, limit: number, end?: Uint8Array): Uint8Array[] => {
      const keys = page(after, limit, end);
      this.read += keys.length;
      return keys;
    };
    const shelf = { page: () => [] };
    const blocks = {
      page: counted,
      isWanted,
      damaged: () => [],
      get: async (key: Uint8Array) => ({ kind: 'block', bytes: key }),
      carried: () => [],
    };
    const tools = {
      disk: { entries: shelf, heads: shelf, blocks },
      neighbours: {
        locate: () => undefined,
        isSelf: (member: Member) => member === self,
        isUp: () => this.isUp,
        remote: () => remote,
        holder: () => remote,
      },
      signal,
      keepers,
      summaries: mine,
      heal: async () => false,
      failed: () => undefined,
    };
    return new RepairPass(tools as unknown as PassTools, options).run();
  }
}

const everything = 600;
function pairAtRest(): Pair {
  const pair = new Pair();
  for (let n = 0; n < everything; n += 1) pair.put(`block ${n}`, 'both');
  return pair;
}

describe('a walk of repair', () => {
  it.each([
    ['over all', {}],
    ['for one', { only: peer }],
  ])('%s reads no key where both have the same', async (_why, only) => {
    const pair = pairAtRest();
    const { unreached } = await pair.walk({ ...only, verify: false });
    expect([pair.read, pair.pushed, unreached]).toEqual([0, [], 0]);
  });

  it('reads the part in which one is lacking, and brings it', async () => {
    const pair = pairAtRest();
    const lacking = pair.put('lacking', 'here');
    await pair.walk({ verify: false });
    expect(pair.pushed).toEqual([name(lacking)]);
    expect(pair.read).toBeLessThan(everything / 2);
  });

  it('brings what lies here for others, which is in no sum', async () => {
    const pair = pairAtRest();
    const foreign = [1, 2, 3].map((n) => pair.put(`foreign ${n}`, 'foreign'));
    await pair.walk({ verify: false });
    expect(pair.pushed.sort()).toEqual(foreign.map(name).sort());
    expect(pair.read).toBeLessThan(everything);
  });

  it('reads everything where it is to be hashed', async () => {
    const pair = pairAtRest();
    await pair.walk({ verify: true });
    expect(pair.read).toBe(everything);
  });

  it('says of one that is down that it was not reached, and reads nothing for it', async () => {
    const pair = pairAtRest();
    pair.isUp = false;
    expect(await pair.walk({ verify: false })).toMatchObject({ unreached: 1 });
    expect(pair.read).toBe(0);
  });
});
