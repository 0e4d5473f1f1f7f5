import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Followed, followLog } from '../../../node/log/following.ts';
import { LogRing, records, text } from './log-ring.ts';

let ring: LogRing;
beforeEach(async () => {
  ring = await LogRing.of(3);
});
afterEach(() => ring.stop());

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => `r${index}`);

function how(index: number, changes: object = {}) {
  const { store } = ring.ring.node(index);
  return {
    store,
    writer: ring.keys.signing.public,
    secret: ring.keys.export().subarray(0, 32),
    name: 'INBOX',
    ...changes,
  };
}

async function read(followed: Followed | undefined, from = 0): Promise<string[]> {
  const found: string[] = [];
  for await (const item of followed?.read(from) ?? []) if (item.kind === 'record') found.push(text(item.record));
  return found;
}

describe('the log of another writer', () => {
  it('is read at any node by whoever has its secret, from any number on, as far as it is written', async () => {
    const log = await ring.open(0, { create: true });
    await log.append(records(...numbers(120)));
    expect(await read(await followLog(how(2)))).toEqual(numbers(120));
    expect(await read(await followLog(how(1)), 118)).toEqual(['r118', 'r119']);
    await log.append(records('later'));
    expect(await followLog(how(1))).toMatchObject({ length: 121 });
    expect(await read(await followLog(how(1)), 500)).toEqual([]);
  });

  it('is none where the ring has none, or none under that name or by that writer', async () => {
    expect(await followLog(how(1))).toBeUndefined();
    await ring.open(0, { create: true });
    expect(await followLog(how(1))).toMatchObject({ length: 0 });
    expect(await followLog(how(1, { name: 'other' }))).toBeUndefined();
    expect(await followLog(how(1, { writer: randomBytes(32) }))).toBeUndefined();
    expect(await followLog(how(1, { secret: randomBytes(32) }))).toBeUndefined();
  });

  it('that nobody can be asked about is not said to be none', async () => {
    const silent = {
      fetch: async () => new Uint8Array(),
      getHeads: async () => ({ heads: [], answered: 0, asked: 3, sure: false }),
    };
    await expect(followLog(how(1, { store: silent }))).rejects.toMatchObject({ code: 'unavailable' });
  });
});
