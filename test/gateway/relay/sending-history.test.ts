import { describe, expect, it } from 'vitest';
import { sendingHistory } from '../../../gateway/relay/sending-history.ts';
import type { Address } from '../../../policy/address.ts';

const hour = 3_600_000;
const alice = 'alice@example.org' as Address;

/** Marks as the queue keeps them, for as many gateways as share them. */
function marks() {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    getMark: async (key: string) => kept.get(key),
    setMark: async (key: string, value: Uint8Array) => void kept.set(key, value),
  };
}

describe('what is remembered of a sender', () => {
  it('is whom he wrote to, once a message was taken', async () => {
    const shared = marks();
    const history = sendingHistory(shared, () => hour);
    const to = ['a@far.example', 'b@far.example'];
    expect(await history.count(alice, to)).toMatchObject({ firstTimeRecipients: 2 });
    for (const { key, value } of history.marks(alice, to)) shared.kept.set(key, value);
    expect(await history.count(alice, ['A@far.example', 'c@far.example'])).toMatchObject({ firstTimeRecipients: 1 });
    expect([...shared.kept.keys()].some((key) => key.includes('far.example'))).toBe(false);
  });

  it('counts messages of one sender that are under way at once, each of them', async () => {
    const history = sendingHistory(marks(), () => hour);
    const counts = await Promise.all(Array.from({ length: 20 }, () => history.count(alice, ['a@far.example'])));
    expect(counts.map(({ volume }) => volume.lastHour).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, n) => n + 1),
    );
  });

  it('outlives a restart, and another gateway learns of it within a minute', async () => {
    const shared = marks();
    let now = hour;
    const one = sendingHistory(shared, () => now);
    const other = sendingHistory(shared, () => now);
    await other.count(alice, ['a@far.example']);
    for (let n = 0; n < 50; n += 1) await one.count(alice, ['a@far.example']);
    now += 61_000;
    expect((await other.count(alice, ['a@far.example'])).volume.lastHour).toBeGreaterThanOrEqual(51);
    expect((await sendingHistory(shared, () => now).count(alice, [])).volume.lastHour).toBeGreaterThanOrEqual(51);
  });

  it('takes back what was not taken', async () => {
    const history = sendingHistory(marks(), () => hour);
    await history.count(alice, ['a@far.example']);
    history.uncount(alice, ['a@far.example']);
    expect((await history.count(alice, ['a@far.example'])).volume.lastHour).toBe(1);
  });

  it('is nothing where the memory fails: nobody is refused for that', async () => {
    const broken = {
      getMark: async (): Promise<Uint8Array> => Promise.reject(new Error('away')),
      setMark: async (): Promise<void> => Promise.reject(new Error('away')),
    };
    const { volume, firstTimeRecipients } = await sendingHistory(broken, () => hour).count(alice, ['a@far.example']);
    expect([volume.lastHour, firstTimeRecipients]).toEqual([1, 1]);
  });
});
