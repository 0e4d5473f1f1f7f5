/** What every queue promises when something is wrong: clocks, depth, age, size, and workers that know no measure. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Job, NewJob, Queue } from '../../queue/queue.ts';
import { all, done, job, type QueueHome, until } from './contract.ts';

const dayMs = 24 * 3_600_000;

export function troubleContract(newHome: () => Promise<QueueHome>, scale: { readonly deepLane: number }): void {
  let home: QueueHome;
  let queue: Queue;
  let shift: number;
  const now = (): number => Date.now() + shift;

  beforeEach(async () => {
    home = await newHome();
    shift = 0;
    queue = await home.open({ now });
  });

  afterEach(async () => {
    await queue.close();
    await home.remove();
  });

  const state = async (id: string) => (await queue.get(id))?.state;

  describe('a clock that is set back', () => {
    test('loses nothing, repeats nothing, and its times stay in order', async () => {
      const worked: string[] = [];
      const [began, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      await queue.add([job('during')]);
      queue.work(all, async ({ id, attemptCount }) => {
        worked.push(id);
        began.resolve();
        if (id === 'during') await go.promise;
        return id === 'again' && attemptCount === 0 ? { kind: 'later', at: now() + 20, why: 'x' } : done;
      });
      await began.promise;
      shift = -3_600_000;
      go.resolve();
      await queue.add([job('after'), job('again')]);
      await until('all are done', async () => (await queue.counts()).done === 3);
      expect(worked.sort()).toEqual(['after', 'again', 'again', 'during']);
      const attempts = (await queue.list({ limit: 9 })).flatMap((one) => one.attempts);
      expect(attempts.every(({ tookMs }) => tookMs >= 0)).toBe(true);
      expect(await queue.add([job('during')])).toEqual([{ id: 'during', added: false }]);
    });
  });

  describe('a damaged record', () => {
    test('is set aside and visible, is no trouble to the others, and can be dropped', async () => {
      await queue.add([job('before'), job('bad'), job('after'), job('held', { hold: { reason: 'h' } })]);
      await queue.close();
      await home.damage('bad');
      queue = await home.open({ now });
      const worked: string[] = [];
      queue.work(all, async ({ id }) => {
        worked.push(id);
        return done;
      });
      await until('the others are done', async () => (await queue.counts()).done === 2);
      await until('it is set aside', async () => (await queue.counts()).failed === 1);
      const [bad] = await queue.list({ state: 'failed', limit: 9 });
      expect([bad?.id, bad?.lane, bad?.attempts.at(-1)?.why]).toEqual(['bad', 'a', expect.stringContaining('damaged')]);
      expect(await queue.list({ limit: 9 })).toHaveLength(4);
      expect(await queue.lanes(9)).toMatchObject([{ lane: 'a', due: 0, failed: 1, held: 1 }]);
      expect(worked.sort()).toEqual(['after', 'before']);
      expect(await queue.drop('bad')).toBe(true);
      await until('it is gone', async () => (await queue.counts()).failed === 0);
    });
  });

  describe('depth', () => {
    test(`with ${scale.deepLane} jobs due in one lane, another lane is worked, and what is asked is answered`, async () => {
      const body = Buffer.from('x');
      for (let from = 0; from < scale.deepLane; from += 1_000) {
        const some = Array.from({ length: 1_000 }, (_, i): NewJob => job(`deep${from + i}`, { body, lane: 'deep' }));
        await queue.add(some);
      }
      await queue.add([job('shallow', { lane: 'shallow' })]);
      let before = 0;
      const handle = queue.work({ match: () => true, concurrency: 4, perLane: 2 }, async ({ lane }) => {
        if (lane === 'deep') await sleep(1);
        if (lane === 'deep') before += 1;
        return done;
      });
      await until('the shallow lane was worked', async () => (await state('shallow')) === 'done', 60_000);
      expect(before).toBeLessThan(scale.deepLane / 20);
      await handle.stop(5_000);
      const counts = await queue.counts();
      expect(counts.due + counts.done).toBe(scale.deepLane + 1);
      expect(await queue.list({ limit: 10, state: 'due' })).toHaveLength(10);
      expect(await queue.lanes(10)).toMatchObject([{ lane: 'deep', running: 0 }]);
    }, 120_000);
  });

  describe('age', () => {
    test('nothing waits for ever: what is too old is ended by its worker, what was set aside is dropped', async () => {
      const ended: string[] = [];
      await queue.add([
        job('held', { hold: { reason: 'h' } }),
        job('far', { dueAt: now() + 90 * dayMs, lane: 'b' }),
        job('set-aside'),
      ]);
      const first = queue.work({ ...all, match: (lane) => lane === 'a' }, async () => ({ kind: 'never', why: 'no' }));
      await until('one is set aside', async () => (await queue.counts()).failed === 1);
      await first.stop(1_000);
      await queue.close();
      shift = 31 * dayMs;
      queue = await home.open({ now });
      await queue.add([job('young', { hold: { reason: 'h' } })]);
      queue.work(all, async ({ id, failing }) => {
        ended.push(`${id}: ${failing}`);
        return done;
      });
      await until('the old ones ended', async () => (await queue.counts()).done === 3);
      const why = 'it was in the queue for more than 30 days';
      expect(ended.sort()).toEqual([`far: ${why}`, `held: ${why}`]);
      expect(await state('young')).toBe('held');
    });

    test('finished jobs are kept with every attempt, and not more of them than is allowed', async () => {
      await queue.close();
      queue = await home.open({ now, keeping: { doneCount: 5 } });
      await queue.add(Array.from({ length: 12 }, (_, i) => job(`${i}`)));
      queue.work({ ...all, concurrency: 1 }, async ({ attemptCount }) =>
        attemptCount === 0 ? { kind: 'later', at: now(), why: '451 not yet' } : { kind: 'done', why: '250 ok' },
      );
      await until('all ended', async () => {
        const { due, running } = await queue.counts();
        return due + running === 0;
      });
      await queue.close();
      queue = await home.open({ now, keeping: { doneCount: 5 } });
      await until('the older ones are forgotten', async () => (await queue.counts()).done === 5);
      const [first] = await queue.list({ state: 'done', limit: 10 });
      expect(first?.attempts.map(({ why }) => why)).toEqual(['451 not yet', '250 ok']);
    });
  });

  describe('size', () => {
    test('bodies in work are bounded in bytes, and one larger than that is worked alone', async () => {
      let [bytes, most, largest] = [0, 0, 0];
      const sizes = [...Array.from({ length: 20 }, () => 10_000), 60_000];
      await queue.add(sizes.map((size, i) => job(`${i}`, { lane: `${i}`, body: Buffer.alloc(size) })));
      queue.work({ match: () => true, concurrency: 20, perLane: 1, maxBytes: 30_000 }, async ({ body }) => {
        bytes += body.byteLength;
        most = Math.max(most, bytes);
        largest = Math.max(largest, body.byteLength);
        await sleep(5);
        bytes -= body.byteLength;
        return done;
      });
      await until('all are done', async () => (await queue.counts()).done === sizes.length);
      // The last one is begun while there is room for some of it.
      expect(most).toBeLessThan(30_000 + 60_000);
      expect(largest).toBe(60_000);
    });

    test('what an attempt fetches counts like a body', async () => {
      let [bytes, most] = [0, 0];
      await queue.add(Array.from({ length: 20 }, (_, i) => job(`${i}`, { lane: `${i}`, about: { size: 10_000 } })));
      const bytesOf = ({ size }: Job['about']): number => Number(size);
      queue.work({ match: () => true, concurrency: 20, perLane: 1, maxBytes: 30_000, bytesOf }, async ({ about }) => {
        bytes += Number(about['size']);
        most = Math.max(most, bytes);
        await sleep(5);
        bytes -= Number(about['size']);
        return done;
      });
      await until('all are done', async () => (await queue.counts()).done === 20);
      expect(most).toBeLessThanOrEqual(30_000);
    });
  });
}
