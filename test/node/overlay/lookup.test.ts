import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type LookupParts, lookup, maxNamed } from '../../../node/overlay/lookup.ts';
import { compareDistance } from '../../../node/overlay/placement.ts';
import { type Contact, RoutingTable } from '../../../node/overlay/routing-table.ts';

const hash = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());
const byDistance = (key: Uint8Array, all: readonly Contact[]): Contact[] =>
  [...all].sort((left, right) => compareDistance(key, left.position, right.position));
const names = (contacts: readonly Contact[]): string[] => contacts.map(({ peerId }) => peerId);
const wanted = 3;

type Lie = (key: Uint8Array, liars: readonly Contact[]) => Promise<readonly Contact[]>;

const size = 400;
const nodes = Array.from(
  { length: size },
  (_, n): Contact => ({ peerId: `n${n}`, position: hash(`node ${n}`), owner: `o${n}` }),
);
const tables = new Map<string, RoutingTable<Contact>>();
for (const node of nodes) {
  const table = new RoutingTable<Contact>(node.position);
  for (const other of nodes) table.offer(other);
  tables.set(node.peerId, table);
}

/** That ring, in which every fourth node answers by `lie`. The first is honest. */
function ringWith(lie?: Lie) {
  const liars = lie === undefined ? [] : nodes.filter((_, n) => n % 4 === 1);
  const lying = new Set(names(liars));
  const asked: string[] = [];
  const find = (key: Uint8Array, changes: Partial<LookupParts<Contact>> = {}) =>
    lookup<Contact>(key, {
      ask: async ({ peerId }) => {
        asked.push(peerId);
        return lie !== undefined && lying.has(peerId)
          ? lie(key, liars)
          : (tables.get(peerId)?.closest(key, maxNamed) ?? []);
      },
      seeds: tables.get('n0')?.closest(key, maxNamed) ?? [],
      count: wanted,
      ...changes,
    });
  return { asked, find };
}

const keys = Array.from({ length: 60 }, (_, n) => hash(`key ${n}`));

describe('a lookup in a ring of 400 routing tables', () => {
  it.each<[string, Lie | undefined]>([
    ['is honest', undefined],
    ['says nothing in a quarter of its nodes', async () => []],
    ['does not answer in a quarter of its nodes', () => Promise.reject(new Error('silent'))],
    [
      'names only each other in a quarter of its nodes',
      async (key, liars) => byDistance(key, liars).slice(0, maxNamed),
    ],
    ['names what is farthest in a quarter of its nodes', async (key, liars) => byDistance(key, liars).slice(-maxNamed)],
    [
      'names a thousand in a quarter of its nodes',
      async (_key, liars) => Array.from({ length: 1_000 }, (_, n) => liars[n % liars.length]!),
    ],
  ])('finds the nearest to every key when it %s', async (_why, lie) => {
    const { find } = ringWith(lie);
    for (const key of keys) {
      const found = await find(key);
      expect(names(found.nearest)).toEqual(names(byDistance(key, nodes).slice(0, wanted)));
      expect(found.asked).toBeLessThan(60);
    }
  });

  it('asks nobody twice', async () => {
    const { asked, find } = ringWith();
    await find(keys[0]!);
    expect(new Set(asked).size).toBe(asked.length);
  });

  it('ends with what it has when it is aborted, and asks nobody any more', async () => {
    const { asked, find } = ringWith();
    const found = await find(keys[0]!, { signal: AbortSignal.abort() });
    expect(asked).toEqual([]);
    expect(names(found.nearest)).toEqual(names(tables.get('n0')!.closest(keys[0]!, wanted)));
  });

  it('finds by several paths what the liars on a single one hide', async () => {
    // Both nodes nearest among the seeds lie; the honest third is where a second path begins.
    const key = hash('hidden');
    const [target, ...others] = byDistance(key, nodes);
    const [first, second, honest] = [others[5]!, others[6]!, others[40]!];
    const ask = async (peer: Contact): Promise<Contact[]> => (peer === honest ? [target!] : [first, second]);
    const parts = { ask, seeds: [first, second, honest], count: 2 };
    expect(names((await lookup(key, { ...parts, paths: 1 })).nearest)).not.toContain(target!.peerId);
    expect(names((await lookup(key, { ...parts, paths: 3 })).nearest)[0]).toBe(target!.peerId);
  });

  it('asks only so many of a chain that comes nearer for ever', async () => {
    const key = new Uint8Array(32);
    let made = 0;
    const nearer = (): Contact => {
      made += 1;
      const position = new Uint8Array(32).fill(255);
      new DataView(position.buffer).setUint32(0, 0xffffffff - made);
      return { peerId: `made ${made}`, position, owner: 'o' };
    };
    const { asked } = await lookup(key, { ask: async () => [nearer()], seeds: [nearer()], count: 1 });
    expect(asked).toBeLessThan(60);
  });
});
