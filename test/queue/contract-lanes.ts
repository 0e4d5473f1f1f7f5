/** What every queue promises of lanes: pauses, pace, groups, what can be seen of them; and of jobs that are put off or ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { everyLane, type LaneRule, type Queue } from '../../queue/queue.ts';
import { all, done, job, type QueueHome, until } from './contract.ts';

export function laneContract(newHome: () => Promise<QueueHome>): void {
  let home: QueueHome;
  let queue: Queue;
  let worked: string[];

  beforeEach(async () => {
    home = await newHome();
    queue = await home.open();
    worked = [];
  });

  afterEach(async () => {
    await queue.close();
    await home.remove();
  });

  const isDone = (id: string) => until(`${id} is done`, async () => (await queue.get(id))?.state === 'done');
  const work = (rule: Partial<LaneRule> = {}) =>
    queue.work({ ...all, ...rule }, async ({ id }) => {
      worked.push(id);
      return done;
    });

  describe('pauses', () => {
    test('a paused lane is not worked until it is resumed, and others are', async () => {
      await queue.pause('slow', 'they asked us to');
      work();
      await queue.add([job('1', { lane: 'slow' }), job('2', { lane: 'quick' }), job('3', { lane: 'slow' })]);
      await isDone('2');
      await queue.add([job('4', { lane: 'quick' })]);
      await isDone('4');
      expect(worked).toEqual(['2', '4']);
      expect(await queue.pauses()).toMatchObject([{ lane: 'slow', reason: 'they asked us to' }]);
      expect(await queue.resume('slow')).toBe(true);
      await isDone('1');
      await isDone('3');
      expect([await queue.resume('slow'), await queue.pauses()]).toEqual([false, []]);
    });

    test('everything can be paused at once; what runs ends', async () => {
      const [began, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      await queue.add([job('running')]);
      queue.work(all, async ({ id }) => {
        worked.push(id);
        began.resolve();
        await go.promise;
        return done;
      });
      await began.promise;
      await queue.pause(everyLane, 'maintenance');
      go.resolve();
      await isDone('running');
      await queue.add([job('1'), job('2', { lane: 'b' })]);
      await sleep(300);
      expect(worked).toEqual(['running']);
      await queue.resume(everyLane);
      await isDone('1');
      await isDone('2');
    });

    test('another process pauses and resumes, and a pause outlives the process that works', async () => {
      const guest = await home.openGuest();
      await guest.pause('a', 'by the postmaster');
      await queue.close();
      queue = await home.open();
      work();
      await queue.add([job('1'), job('2', { lane: 'b' })]);
      await isDone('2');
      await sleep(100);
      expect(worked).toEqual(['2']);
      await guest.resume('a');
      await isDone('1');
      await guest.close();
    });

    test('a lane name that could not be one is refused, and pauses are bounded', async () => {
      await expect(queue.pause('a\nb', 'x')).rejects.toMatchObject({ code: 'job-invalid' });
      for (let n = 0; n < 1_000; n += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, i) => queue.pause(`lane${n + i}`, 'x')));
      }
      await expect(queue.pause('one more', 'x')).rejects.toMatchObject({ code: 'queue-full' });
      await queue.pause('lane7', 'again');
      expect(await queue.pauses()).toHaveLength(1_000);
    });
  });

  describe('pace', () => {
    test('lanes of a group share its places', async () => {
      let [running, most] = [0, 0];
      const pace = { group: (lane: string) => lane.slice(0, 1), places: () => 2, notBefore: () => 0 };
      await queue.add(Array.from({ length: 24 }, (_, i) => job(`${i}`, { lane: `${'ab'[i % 2]!}${i % 8}` })));
      const groups = new Map<string, number>();
      queue.work({ ...all, concurrency: 20, perLane: 9, pace }, async ({ lane }) => {
        const group = lane.slice(0, 1);
        groups.set(group, (groups.get(group) ?? 0) + 1);
        running += 1;
        most = Math.max(most, ...groups.values());
        await sleep(5);
        groups.set(group, groups.get(group)! - 1);
        running -= 1;
        return done;
      });
      await until('all are done', async () => (await queue.counts()).done === 24);
      expect([most, running]).toEqual([2, 0]);
    });

    test('a group that rests is left alone until its time, and does not hold up the others', async () => {
      const until_ = Date.now() + 600;
      const at: Record<string, number> = {};
      const pace = {
        group: (lane: string) => lane,
        places: () => 5,
        notBefore: (group: string) => (group === 'resting' ? until_ : 0),
      };
      await queue.add([job('1', { lane: 'resting' }), job('2', { lane: 'resting' }), job('3', { lane: 'other' })]);
      queue.work({ ...all, pace }, async ({ id }) => {
        at[id] = Date.now();
        return done;
      });
      for (const id of ['3', '1', '2']) await isDone(id);
      expect(at['3']).toBeLessThan(until_);
      expect(Math.min(at['1']!, at['2']!)).toBeGreaterThanOrEqual(until_);
    });
  });

  describe('what can be seen of lanes', () => {
    test('how many jobs of each state, what comes next, and the last answer', async () => {
      const far = Date.now() + 3_600_000;
      await queue.add([
        job('1', { lane: 'b' }),
        job('2', { lane: 'b', dueAt: far }),
        job('3', { lane: 'a', hold: { reason: 'h' } }),
        job('4', { lane: 'c' }),
      ]);
      const handle = queue.work({ ...all, match: (lane) => lane !== 'z' }, async ({ id }) =>
        id === '1' ? { kind: 'later', at: far - 1000, why: '451 busy' } : { kind: 'never', why: 'no' },
      );
      await until(
        'both were tried',
        async () => (await queue.counts()).failed === 1 && (await queue.get('1'))?.attemptCount === 1,
      );
      await until('the first waits again', async () => (await queue.get('1'))?.state === 'due');
      await handle.stop(1_000);
      await queue.add([job('5', { lane: 'z' })]);
      expect(await queue.lanes(10)).toMatchObject([
        { lane: 'a', due: 0, held: 1 },
        { lane: 'b', due: 2, ready: 0, nextAt: far - 1000, last: { outcome: 'later', why: '451 busy' } },
        { lane: 'c', due: 0, failed: 1, last: { outcome: 'never' } },
        { lane: 'z', due: 1, ready: 1 },
      ]);
      expect(await queue.lanes(2)).toHaveLength(2);
    });
  });

  describe('jobs that are put off', () => {
    test('count as no attempt, say why, and come back at their time', async () => {
      let turns = 0;
      await queue.add([job('1')]);
      queue.work(all, async ({ attemptCount, attempts, putOff }) => {
        turns += 1;
        if (turns < 8) return { kind: 'put-off', at: Date.now() + 10, why: `no resolver ${turns}` };
        worked.push(`${attemptCount} ${attempts.length} ${putOff}`);
        return { kind: 'later', at: Date.now() + 3_600_000, why: 'tried' };
      });
      await until('it was tried', async () => (await queue.get('1'))?.attemptCount === 1);
      expect(worked).toEqual(['0 0 no resolver 7']);
      const after = (await queue.get('1'))!;
      expect([after.putOff, after.attempts.map(({ why }) => why)]).toEqual([undefined, ['tried']]);
    });
  });

  describe('jobs that are to be ended', () => {
    test('come to their worker at once with the reason, from every state they can wait in', async () => {
      const far = Date.now() + 3_600_000;
      const seen: string[] = [];
      await queue.add([
        job('due', { dueAt: far }),
        job('held', { hold: { reason: 'h' } }),
        job('failed'),
        job('other', { dueAt: far }),
      ]);
      queue.work(all, async ({ id, failing }) => {
        if (failing === undefined) return { kind: 'never', why: 'no' };
        seen.push(`${id}: ${failing}`);
        return done;
      });
      await until('one is set aside', async () => (await queue.get('failed'))?.state === 'failed');
      for (const id of ['due', 'held', 'failed']) expect(await queue.fail(id, 'spam')).toBe(true);
      for (const id of ['due', 'held', 'failed']) await isDone(id);
      expect(seen.sort()).toEqual(['due: spam', 'failed: spam', 'held: spam']);
      expect([await queue.fail('due', 'x'), await queue.fail('none', 'x'), (await queue.get('other'))?.state]).toEqual([
        false,
        false,
        'due',
      ]);
    });

    test('retry takes it back', async () => {
      await queue.add([job('1')]);
      await queue.fail('1', 'a mistake');
      await queue.retry('1');
      const seen = Promise.withResolvers<string | undefined>();
      queue.work(all, async ({ failing }) => {
        seen.resolve(failing);
        return done;
      });
      expect(await seen.promise).toBeUndefined();
      await isDone('1');
    });
  });
}
