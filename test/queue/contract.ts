/** What every queue promises (queue/queue.ts), tried against each implementation. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Attempt, Job, Keeping, LaneRule, NewJob, Queue, Worker } from '../../queue/queue.ts';

export interface QueueHome {
  /** The process that adds and works. */
  open(options?: { readonly now?: () => number; readonly keeping?: Partial<Keeping> }): Promise<Queue>;
  /** Another process's view, for looking and steering. */
  openGuest(): Promise<Queue>;
  /** What is stored of this job is rubbish from now on. Nobody has the queue open. */
  damage(id: string): Promise<void>;
  remove(): Promise<void>;
}

export const all: LaneRule = { match: () => true, concurrency: 4, perLane: 2 };
export const done: Attempt = { kind: 'done', why: 'ok' };

export function job(id: string, fields: Partial<NewJob> = {}): NewJob {
  return { id, lane: 'a', body: Buffer.from(`body of ${id}`), about: {}, ...fields };
}

export async function until(what: string, check: () => Promise<boolean> | boolean, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`it never came true that ${what}`);
    await sleep(10);
  }
}

export function queueContract(newHome: () => Promise<QueueHome>): void {
  let home: QueueHome;
  let queue: Queue;
  const others: Queue[] = [];

  beforeEach(async () => {
    home = await newHome();
    queue = await home.open();
  });

  afterEach(async () => {
    for (const other of others.splice(0)) await other.close();
    await queue.close();
    await home.remove();
  });

  const state = async (id: string) => (await queue.get(id))?.state;
  const settles = (id: string, wanted: Job['state']) =>
    until(`${id} is ${wanted}`, async () => (await state(id)) === wanted);

  describe('adding', () => {
    test('a job comes to the worker as it was added', async () => {
      const body = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const about = { sender: 'a@example.org', to: ['b@example.net', 'c@example.net'], size: 7, urgent: true };
      await queue.add([job('x:1', { body, about, lane: 'out:example.net' })]);
      const seen = Promise.withResolvers<Job>();
      queue.work(all, async (given) => {
        seen.resolve(given);
        return done;
      });
      const given = await seen.promise;
      expect([given.id, given.lane, given.state, given.about]).toEqual(['x:1', 'out:example.net', 'running', about]);
      expect(Buffer.from(given.body)).toEqual(body);
    });

    test('the same id is the same job, in one call, later, and when it is done', async () => {
      const worked: string[] = [];
      expect(await queue.add([job('1'), job('1', { body: Buffer.from('other') }), job('2')])).toEqual([
        { id: '1', added: true },
        { id: '1', added: false },
        { id: '2', added: true },
      ]);
      expect(await queue.add([job('2'), job('3')])).toMatchObject([{ added: false }, { added: true }]);
      queue.work(all, async (given) => {
        worked.push(Buffer.from(given.body).toString());
        return done;
      });
      await settles('1', 'done');
      await settles('3', 'done');
      expect(await queue.add([job('1')])).toEqual([{ id: '1', added: false }]);
      await sleep(50);
      expect(worked.sort()).toEqual(['body of 1', 'body of 2', 'body of 3']);
    });

    test('a mark that is set again lives until its newest end, whichever is later', async () => {
      const now = Date.now();
      const set = (key: string, value: string, ms: number) => queue.setMark(key, Buffer.from(value), now + ms);
      await set('longer', 'a', 300);
      await set('longer', 'b', 60_000);
      await set('longer', 'b', 60_000);
      await set('shorter', 'a', 60_000);
      await set('shorter', 'b', 300);
      await until('the shorter one is forgotten', async () => (await queue.getMark('shorter')) === undefined);
      expect(Buffer.from((await queue.getMark('longer')) ?? []).toString()).toBe('b');
    });

    test('marks are kept with the jobs, and alone, until they expire', async () => {
      const later = Date.now() + 60_000;
      await queue.add([job('1')], { marks: [{ key: 'seen:ä', value: Buffer.from('yes'), expiresAt: later }] });
      expect(Buffer.from((await queue.getMark('seen:ä')) ?? []).toString()).toBe('yes');
      await queue.setMark('short', Buffer.from('x'), Date.now() + 60, { durable: false });
      await until('the mark is forgotten', async () => (await queue.getMark('short')) === undefined);
      expect(await queue.getMark('never')).toBeUndefined();
    });

    test('a mark that need not be durable is read at once, goes to disk with the next jobs, and is never written over what was set after it', async () => {
      const later = Date.now() + 60_000;
      const read = async (key: string) => Buffer.from((await queue.getMark(key)) ?? []).toString();
      await queue.setMark('a', Buffer.from('late'), later, { durable: false });
      await queue.setMark('b', Buffer.from('late'), later, { durable: false });
      expect([await read('a'), await read('b')]).toEqual(['late', 'late']);
      const mark = { key: 'a', value: Buffer.from('with the job'), expiresAt: later };
      await Promise.all([queue.add([job('1')], { marks: [mark] }), queue.add([job('2')])]);
      await queue.setMark('b', Buffer.from('durable'), later);
      await queue.add([job('3')]);
      expect([await read('a'), await read('b')]).toEqual(['with the job', 'durable']);
    });

    const refused: [why: string, job: () => NewJob, code: string][] = [
      [
        'a body beyond what the queue keeps',
        () => job('1', { body: Buffer.alloc(queue.maxBodyBytes + 1) }),
        'job-too-large',
      ],
      ['an empty id', () => job(''), 'job-invalid'],
      ['an id beyond the index key', () => job('x'.repeat(401)), 'job-invalid'],
      ['a lane with a control character', () => job('1', { lane: 'a\nb' }), 'job-invalid'],
      ['a content-sized about', () => job('1', { about: { all: 'x'.repeat(17_000) } }), 'job-invalid'],
      ['a due time that is none', () => job('1', { dueAt: Number.NaN }), 'job-invalid'],
    ];
    test.each(refused)('%s is refused before anything is written', async (_, bad, code) => {
      await expect(queue.add([job('good'), bad()])).rejects.toMatchObject({ code });
      expect(await queue.get('good')).toBeUndefined();
    });

    test('the largest body is kept whole', async () => {
      const body = Buffer.alloc(queue.maxBodyBytes, 'ü');
      await queue.add([job('big', { body })]);
      const found = await queue.get('big');
      expect(Buffer.compare(Buffer.from(found?.body ?? []), body)).toBe(0);
      expect(await queue.drop('big')).toBe(true);
      expect((await queue.get('big'))?.body.byteLength).toBe(0);
    });
  });

  describe('attempts', () => {
    test('later comes back at its time with its progress, and the history says why', async () => {
      const progress: string[] = [];
      await queue.add([job('1')]);
      queue.work(all, async (given) => {
        progress.push(Buffer.from(given.progress ?? []).toString());
        if (given.attemptCount === 0) {
          return { kind: 'later', at: Date.now() + 30, why: 'host said 451', progress: Buffer.from('half') };
        }
        if (given.attemptCount === 1) return { kind: 'later', at: 0, why: 'again' };
        return done;
      });
      await settles('1', 'done');
      expect(progress).toEqual(['', 'half', 'half']);
      const { attempts, attemptCount, firstFailureAt, body } = (await queue.get('1'))!;
      expect(attempts.map(({ outcome, why }) => [outcome, why])).toEqual([
        ['later', 'host said 451'],
        ['later', 'again'],
        ['done', 'ok'],
      ]);
      expect(attemptCount).toBe(3);
      expect(firstFailureAt).toBeGreaterThan(Date.now() - 60_000);
      expect(body.byteLength).toBe(0);
    });

    test('a due time in the future is waited for, and does not hold up others', async () => {
      const worked: string[] = [];
      await queue.add([job('late', { dueAt: Date.now() + 250 }), job('now')]);
      queue.work(all, async (given) => {
        worked.push(given.id);
        return done;
      });
      await settles('now', 'done');
      expect(await state('late')).toBe('due');
      await settles('late', 'done');
      expect(worked).toEqual(['now', 'late']);
    });

    test('never sets the job aside, body kept; retry gives it a fresh start', async () => {
      await queue.add([job('1')]);
      let answer: Attempt = { kind: 'never', why: 'nobody there' };
      queue.work(all, async () => answer);
      await settles('1', 'failed');
      expect(Buffer.from((await queue.get('1'))!.body).toString()).toBe('body of 1');
      answer = done;
      expect(await queue.retry('1')).toBe(true);
      await settles('1', 'done');
      expect((await queue.get('1'))!.attemptCount).toBe(2);
      expect(await queue.retry('1')).toBe(false);
    });

    test('a job that makes its worker throw is set aside after five times and blocks nobody', async () => {
      await queue.add([job('bad'), job('good')]);
      queue.work(all, async (given) => {
        if (given.id === 'bad') throw new Error('cannot read this');
        return done;
      });
      await settles('good', 'done');
      await settles('bad', 'failed');
      const bad = (await queue.get('bad'))!;
      expect(bad.attempts.map(({ outcome, why }) => `${outcome}: ${why}`)).toEqual(
        Array.from({ length: 5 }, () => 'crashed: cannot read this'),
      );
    });

    test('throws with answers in between are not a poisoned job', async () => {
      await queue.add([job('1')]);
      queue.work(all, async ({ attemptCount }) => {
        if (attemptCount === 12) return done;
        if (attemptCount % 4 === 3) return { kind: 'later', at: 0, why: 'progress' };
        throw new Error('now and then');
      });
      await settles('1', 'done');
    });
  });

  describe('lanes', () => {
    test('no more attempts at once than allowed, in all and in one lane', async () => {
      const running = new Map<string, number>();
      let most = 0;
      let mostInLane = 0;
      const jobs = Array.from({ length: 30 }, (_, i) => job(`${i}`, { lane: `lane${i % 3}` }));
      await queue.add(jobs);
      queue.work({ match: () => true, concurrency: 4, perLane: 2 }, async ({ lane }) => {
        running.set(lane, (running.get(lane) ?? 0) + 1);
        mostInLane = Math.max(mostInLane, running.get(lane)!);
        most = Math.max(
          most,
          [...running.values()].reduce((a, b) => a + b),
        );
        await sleep(5);
        running.set(lane, running.get(lane)! - 1);
        return done;
      });
      await until('all are done', async () => (await queue.counts()).done === 30);
      expect([most, mostInLane]).toEqual([4, 2]);
    });

    test('a deep lane does not starve a shallow one', async () => {
      const worked: string[] = [];
      await queue.add(Array.from({ length: 120 }, (_, i) => job(`deep${i}`, { lane: 'deep' })));
      queue.work({ match: () => true, concurrency: 2, perLane: 1 }, async ({ lane }) => {
        worked.push(lane);
        await sleep(5);
        return done;
      });
      await queue.add([job('shallow', { lane: 'shallow' })]);
      await settles('shallow', 'done');
      expect(worked.length).toBeLessThan(100);
      await until('all are done', async () => (await queue.counts()).done === 121);
    });

    test('a worker gets the lanes it asked for, and the others wait for theirs', async () => {
      const seen: string[] = [];
      const record =
        (name: string): Worker =>
        async ({ lane }) => {
          seen.push(`${name} ${lane}`);
          return done;
        };
      await queue.add([job('1', { lane: 'in' }), job('2', { lane: 'out:x' }), job('3', { lane: 'other' })]);
      queue.work({ ...all, match: (lane) => lane === 'in' }, record('in'));
      queue.work({ ...all, match: (lane) => lane.startsWith('out:') }, record('out'));
      await settles('1', 'done');
      await settles('2', 'done');
      expect(seen.sort()).toEqual(['in in', 'out out:x']);
      expect(await state('3')).toBe('due');
      queue.work({ ...all, match: (lane) => lane === 'other' }, record('other'));
      await settles('3', 'done');
    });
  });

  describe('steering', () => {
    test('a held job is not worked until it is released', async () => {
      const worked: string[] = [];
      await queue.add([job('1', { hold: { reason: 'look at it' } }), job('2', { dueAt: Date.now() + 200 })]);
      expect(await queue.hold('2', 'wait')).toBe(true);
      queue.work(all, async ({ id }) => {
        worked.push(id);
        return done;
      });
      await sleep(400);
      expect(worked).toEqual([]);
      expect(await queue.counts()).toEqual({ due: 0, running: 0, held: 2, failed: 0, done: 0 });
      expect(await queue.get('1')).toMatchObject({ state: 'held', holdReason: 'look at it' });
      expect(await queue.release('1')).toBe(true);
      expect(await queue.release('2')).toBe(true);
      await settles('1', 'done');
      await settles('2', 'done');
      expect([await queue.release('1'), await queue.hold('1', 'x'), await queue.hold('none', 'x')]).toEqual([
        false,
        false,
        false,
      ]);
    });

    test('holding a running job lets the attempt end first', async () => {
      const go = Promise.withResolvers<void>();
      const began = Promise.withResolvers<void>();
      await queue.add([job('1')]);
      queue.work(all, async () => {
        began.resolve();
        await go.promise;
        return { kind: 'later', at: 0, why: 'not yet' };
      });
      await began.promise;
      expect([await queue.hold('1', 'stop it'), await queue.drop('1')]).toEqual([true, false]);
      expect(await state('1')).toBe('running');
      go.resolve();
      await settles('1', 'held');
      expect(await queue.get('1')).toMatchObject({ holdReason: 'stop it', attemptCount: 1 });
    });

    test('retry makes a job due now; drop ends it, and it stays known', async () => {
      const far = Date.now() + 3_600_000;
      await queue.add([job('1', { dueAt: far }), job('2', { dueAt: far }), job('3', { hold: { reason: 'x' } })]);
      expect([await queue.drop('2'), await queue.drop('3'), await queue.drop('4')]).toEqual([true, true, false]);
      const worked: string[] = [];
      queue.work(all, async ({ id }) => {
        worked.push(id);
        return done;
      });
      expect(await queue.retry('1')).toBe(true);
      await settles('1', 'done');
      expect(worked).toEqual(['1']);
      expect([await state('2'), await state('3')]).toEqual(['done', 'done']);
      expect(await queue.add([job('2')])).toEqual([{ id: '2', added: false }]);
    });

    test('another process sees the jobs and steers them, and the owner notices', async () => {
      const far = Date.now() + 3_600_000;
      const guest = await home.openGuest();
      others.push(guest);
      queue.work(all, async () => done);
      await queue.add([job('1', { dueAt: far }), job('2', { hold: { reason: 'x' } }), job('3', { dueAt: far })]);
      expect((await guest.list({ limit: 10 })).map(({ id }) => id).sort()).toEqual(['1', '2', '3']);
      expect([await guest.retry('1'), await guest.release('2'), await guest.drop('3')]).toEqual([true, true, true]);
      await settles('1', 'done');
      await settles('2', 'done');
      expect((await guest.counts()).done).toBe(3);
      expect((await guest.get('1'))?.attempts.length).toBe(1);
    });

    test('lists by state, lane and facts, without bodies', async () => {
      await queue.add([
        job('1', { about: { to: ['x@a.example', 'y@a.example'], trace: 't1' } }),
        job('2', { about: { to: ['y@a.example'], trace: 't2', size: 5 }, lane: 'b' }),
        job('3', { about: { trace: 't2' }, hold: { reason: 'h' } }),
      ]);
      const ids = async (filter: Parameters<Queue['list']>[0]) => (await queue.list(filter)).map(({ id }) => id).sort();
      expect(await ids({ limit: 10, about: { to: 'y@a.example' } })).toEqual(['1', '2']);
      expect(await ids({ limit: 10, about: { trace: 't2', size: '5' } })).toEqual(['2']);
      expect(await ids({ limit: 10, lane: 'a' })).toEqual(['1', '3']);
      expect(await ids({ limit: 10, state: 'held' })).toEqual(['3']);
      expect(await ids({ limit: 10, state: 'due', lane: 'b' })).toEqual(['2']);
      expect(await ids({ limit: 10, about: { toString: 'x' } })).toEqual([]);
      expect(await queue.list({ limit: 1 })).toHaveLength(1);
      expect((await queue.list({ limit: 10 })).every(({ body }) => body.byteLength === 0)).toBe(true);
    });
  });

  describe('stopping', () => {
    test('a stopped worker’s job is due again, uncounted, and its late answer is ignored', async () => {
      const began = Promise.withResolvers<void>();
      const deaf = Promise.withResolvers<Attempt>();
      await queue.add([job('polite'), job('deaf')]);
      const handle = queue.work(all, async ({ id }, signal) => {
        if (id === 'deaf') {
          began.resolve();
          return deaf.promise;
        }
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new Error('stopped')));
        });
      });
      await began.promise;
      await until('both run', async () => (await queue.counts()).running === 2);
      await handle.stop(50);
      expect(await queue.counts()).toMatchObject({ running: 0, due: 2 });
      deaf.resolve(done);
      await sleep(50);
      expect(await queue.get('deaf')).toMatchObject({ state: 'due', attemptCount: 0 });
      queue.work(all, async () => done);
      await settles('deaf', 'done');
      await settles('polite', 'done');
    });

    test('stop waits for an attempt that ends in time', async () => {
      const began = Promise.withResolvers<void>();
      await queue.add([job('1')]);
      const handle = queue.work(all, async () => {
        began.resolve();
        await sleep(30);
        return done;
      });
      await began.promise;
      await handle.stop(5_000);
      expect(await state('1')).toBe('done');
    });

    test('everything is still there after closing and opening', async () => {
      await queue.add([job('1'), job('2', { hold: { reason: 'h' } })], {
        marks: [{ key: 'm', value: Buffer.from('v'), expiresAt: Date.now() + 60_000 }],
      });
      await queue.close();
      expect((await queue.health()).ok).toBe(false);
      await expect(queue.add([job('3')])).rejects.toMatchObject({ code: 'queue-closed' });
      queue = await home.open();
      expect(await queue.get('2')).toMatchObject({ state: 'held', holdReason: 'h' });
      expect(await queue.getMark('m')).toBeDefined();
      queue.work(all, async () => done);
      await settles('1', 'done');
      expect(await queue.health()).toEqual({ ok: true });
    });
  });
}
