import { describe, expect, it } from 'vitest';
import { Turns } from '../../queue/turns.ts';

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('what is ready in one moment begins a few in each turn of the event loop, in its order', async () => {
    const turns = new Turns(2);
    let turn = 0;
    const count = (): void => {
      turn += 1;
      if (turn < 20) setImmediate(count);
    };
    setImmediate(count);
    const begun: number[] = [];
    const perTurn = new Map<number, number>();
    await Promise.all(
      Array.from({ length: 7 }, async (_, n) => {
        await turns.mine();
        begun.push(n);
        perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1);
      }),
    );
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect([...perTurn.values()]).toEqual([2, 2, 2, 1]);
  });

  it('who comes after a quiet time begins at once', async () => {
    const turns = new Turns(1);
    await turns.mine();
    await nextTurn();
    await nextTurn();
    let isBegun = false;
    const turn = turns.mine().then(() => {
      isBegun = true;
    });
    await Promise.resolve();
    await Promise.resolve();
    expect(isBegun).toBe(true);
    await turn;
  });

  it('who comes while others wait is behind them', async () => {
    const turns = new Turns(1);
    const begun: string[] = [];
    const first = turns.mine().then(() => begun.push('first'));
    const second = turns.mine().then(() => begun.push('second'));
    await nextTurn();
    const third = turns.mine().then(() => begun.push('third'));
    await Promise.all([first, second, third]);
    expect(begun).toEqual(['first', 'second', 'third']);
  });
});
