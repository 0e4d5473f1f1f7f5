import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../simulation/seeded-random.ts';
import { blockOf, lease, StoreRing, soon } from './store-ring.ts';

let ring: StoreRing;
afterEach(() => ring.stop());

/** Blocks of many sizes: inside pages of the engine, filling one, and over many. */
function blocksOf(random: SeededRandom): ReturnType<typeof blockOf>[] {
  return [40, 900, 2_000, 4_080, 20_000, 60_416, 65_000].flatMap((size) =>
    Array.from({ length: 4 }, () => blockOf(random.bytes(size))),
  );
}

/** Turns one random bit of each of these values over, in every place where the file of the engine has it. */
async function rot(dir: string, values: readonly Uint8Array[], random: SeededRandom): Promise<void> {
  const file = path.join(dir, 'store.lmdb');
  const bytes = await readFile(file);
  for (const value of values) {
    const [offset, bit] = [random.below(value.length), 1 << random.below(8)];
    // The whole of it: a page that was given back may begin like it and be in use for something else by now.
    let places = 0;
    for (let at = bytes.indexOf(value); at >= 0; at = bytes.indexOf(value, at + 1), places++)
      bytes[at + offset] = (bytes[at + offset] ?? 0) ^ bit;
    expect(places).toBeGreaterThan(0);
  }
  await writeFile(file, bytes);
}

describe('a bit that turns over anywhere in a stored block', () => {
  it.each([1, 2, 3])('is found by reading everything, told, and healed from the replicas, seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    ring = await StoreRing.of(3);
    const blocks = blocksOf(random);
    await ring.node(0).store.insert(blocks, lease);
    await soon(() => expect(blocks.every(({ key }) => ring.copies(key) === 3)).toBe(true));
    const { leases } = await ring.node(1).store.stats();
    const rotten = blocks.filter(() => random.below(2) === 0);
    await ring.kill(1);
    await rot(
      ring.node(1).dir,
      rotten.map(({ bytes }) => bytes),
      random,
    );
    await ring.restart(1);
    // What is had without a wait is verified as well: never rotten, and all that is whole.
    for (const { key, bytes } of blocks)
      expect(ring.node(1).store.atHand(key)).toEqual(
        rotten.some((one) => one.key === key) ? undefined : Buffer.from(bytes),
      );
    expect(await ring.node(1).store.repair()).toMatchObject({ damaged: rotten.length, healed: rotten.length });
    // What was healed is kept for the same people as before.
    expect(await ring.node(1).store.stats()).toMatchObject({ blocks: blocks.length, damaged: 0, leases, orphans: 0 });
    expect(await ring.node(1).store.recount()).toBe(0);
    await ring.kill(0);
    await ring.kill(2);
    for (const { key, bytes } of blocks) expect(Buffer.compare(await ring.node(1).store.fetch(key), bytes)).toBe(0);
  });
});
