import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { type LogReferences, logReferences } from '../../../node/log/references.ts';
import type { Store } from '../../../node/store/store.ts';
import { LogRing, records } from './log-ring.ts';

let ring: LogRing;
afterEach(() => ring.stop());

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `r${from + index}`);

function referencesAt(store: Pick<Store, 'fetch' | 'getHeads'>, name = 'INBOX'): Promise<LogReferences | undefined> {
  const secret = ring.keys.export().subarray(0, 32);
  return logReferences({ store, writer: ring.keys.signing.public, secret, name });
}

async function keys(references: LogReferences | undefined): Promise<string[]> {
  const found: string[] = [];
  for await (const key of references?.blocks ?? []) found.push(Buffer.from(key).toString('hex'));
  return found.sort();
}

describe('what a log refers to', () => {
  it('is all of it: groups, the nodes of the index over them, the manifest and pieces of the newest snapshot, and nothing that was superseded', async () => {
    ring = await LogRing.of(1);
    const { store } = ring.ring.node(0);
    const inserted: string[][] = [];
    const noting = {
      insert: (blocks: Parameters<Store['insert']>[0], lease: Parameters<Store['insert']>[1]) => {
        inserted.at(-1)?.push(...blocks.map(({ key }) => Buffer.from(key).toString('hex')));
        return store.insert(blocks, lease);
      },
      fetch: (key: Uint8Array) => store.fetch(key),
      putHead: (head: Uint8Array) => store.putHead(head),
      getHeads: (key: Uint8Array) => store.getHeads(key),
    };
    inserted.push([]);
    const log = await ring.open(0, { create: true, store: noting });
    await log.append(records(...numbers(0, 1_000)));
    inserted.push([]);
    await log.saveSnapshot(log.place, randomBytes(150_000));
    inserted.push([]);
    await log.append(records(...numbers(1_000, 2_000)));
    await log.saveSnapshot(log.place, randomBytes(150_000));
    const [before = [], superseded = [], after = []] = inserted;
    expect(superseded.length).toBeGreaterThan(2);
    const found = await referencesAt(store);
    expect(found?.version).toBe(log.version);
    expect(await keys(found)).toEqual([...before, ...after].sort());
    // The log reads with these blocks alone.
    const wanted = new Set(await keys(found));
    expect(superseded.some((key) => wanted.has(key))).toBe(false);
  });

  it('is nothing where the ring surely has no such log, and a fault where it cannot be sure', async () => {
    ring = await LogRing.of(3);
    await ring.open(0, { create: true });
    expect(await referencesAt(ring.ring.node(0).store, 'other')).toBeUndefined();
    await ring.ring.kill(1);
    await ring.ring.kill(2);
    await expect(referencesAt(ring.ring.node(0).store)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
