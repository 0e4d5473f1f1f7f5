import { describe, expect, it, vi } from 'vitest';
import { Dialer, redialDelay } from '../../../node/overlay/dialer.ts';
import { silentLog } from './fake-overlay.ts';

describe('the wait before the next dial', () => {
  it.each([
    [1, 1_000],
    [2, 2_000],
    [5, 16_000],
    [7, 48_000],
    [1_000, 48_000],
  ])('after %i failures is about %i ms', (failures, about) => {
    expect(redialDelay(failures, () => 0.5)).toBe(about);
    expect(redialDelay(failures, () => 0)).toBe(about * 0.75);
    expect(redialDelay(failures, () => 1)).toBe(about * 1.25);
  });

  it('is never more than a minute', () => {
    for (let failures = 1; failures < 100; failures += 1)
      expect(redialDelay(failures, () => 1)).toBeLessThanOrEqual(60_000);
  });
});

describe('a dialer', () => {
  function setUp(answers: (peerId: string, attempt: number) => boolean) {
    vi.useFakeTimers();
    const dialled: string[] = [];
    const up = new Set<string>();
    const dialer = new Dialer({
      selfId: 'm',
      dial: async (peerId, addresses) => {
        dialled.push(`${peerId} ${addresses.join()}`);
        if (!answers(peerId, dialled.length)) throw new Error('nobody there');
        up.add(peerId);
      },
      isUp: (peerId) => up.has(peerId),
      random: () => 0.5,
      log: silentLog,
    });
    const over = (): void => {
      dialer.stop();
      vi.useRealTimers();
    };
    return { dialer, dialled, up, over };
  }

  it('tries a silent peer for ever, less and less often', async () => {
    const { dialer, dialled, over } = setUp(() => false);
    dialer.want('z', ['here']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(dialled.length).toBe(4);
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(dialled.length).toBeGreaterThan(75);
    expect(dialled.length).toBeLessThan(85);
    over();
  });

  it('dials for new addresses at once, but not for one who changes them all the time', async () => {
    const { dialer, dialled, over } = setUp(() => false);
    dialer.want('z', ['0']);
    for (let n = 1; n <= 100; n += 1) {
      await vi.advanceTimersByTimeAsync(500);
      dialer.want('z', [`${n}`]);
    }
    expect(dialled.length).toBeGreaterThan(5);
    // In 50 s: six at once, and what the back-off gives anyway.
    expect(dialled.length).toBeLessThan(20);
    over();
  });

  it('leaves one who is up alone, and dials again when he is lost', async () => {
    const { dialer, dialled, up, over } = setUp(() => true);
    dialer.want('z', ['here']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(dialled).toEqual(['z here']);
    up.delete('z');
    dialer.lost('z');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(dialled).toEqual(['z here', 'z here']);
    over();
  });

  it('tries new addresses soon, however long the wait had grown', async () => {
    const { dialer, dialled, over } = setUp(() => false);
    dialer.want('z', ['old']);
    await vi.advanceTimersByTimeAsync(600_000);
    const before = dialled.length;
    dialer.want('z', ['new']);
    await vi.advanceTimersByTimeAsync(500);
    expect(dialled.slice(before)).toEqual(['z new']);
    over();
  });

  it('gives the other side a moment when that one begins', async () => {
    const { dialer, dialled, over } = setUp(() => true);
    dialer.want('a', ['here']);
    dialer.want('z', ['here']);
    await vi.advanceTimersByTimeAsync(100);
    expect(dialled).toEqual(['z here']);
    await vi.advanceTimersByTimeAsync(500);
    expect(dialled).toEqual(['z here', 'a here']);
    over();
  });

  it('answers at once for a peer that did not answer just now, instead of dialling for each request', async () => {
    const { dialer, dialled, over } = setUp(() => false);
    dialer.want('z', ['here']);
    await vi.advanceTimersByTimeAsync(100);
    expect(await Promise.all([dialer.reach('z', []), dialer.reach('z', [])])).toEqual([false, false]);
    expect(dialled).toHaveLength(1);
    over();
  });

  it('never dials itself, nor anyone it was told to forget, nor after stop', async () => {
    const { dialer, dialled, over } = setUp(() => false);
    dialer.want('m', ['here']);
    dialer.want('z', ['here']);
    dialer.forget('z');
    await vi.advanceTimersByTimeAsync(60_000);
    dialer.want('y', ['here']);
    dialer.stop();
    dialer.want('x', ['here']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(dialled).toEqual([]);
    over();
  });
});
