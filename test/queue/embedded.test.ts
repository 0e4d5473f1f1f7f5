import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { describe, expect, test } from 'vitest';
import { BodyFiles } from '../../queue/body-files.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import { type Change, EmbeddedStore } from '../../queue/embedded-store.ts';
import { WorkerLoop } from '../../queue/embedded-worker.ts';
import { type Keeping, type Queue, QueueFault } from '../../queue/queue.ts';
import { newRecord, type Transition } from '../../queue/transitions.ts';
import { job, queueContract, until } from './contract.ts';
import { laneContract } from './contract-lanes.ts';
import { troubleContract } from './contract-trouble.ts';
import { quick, recordingLog } from './quick.ts';

async function tempDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'epost-queue-'));
}

/** A disk that takes the next `faults` changes not. */
class FullDisk extends EmbeddedStore {
  faults = 0;

  override async change(id: string, transition: Transition): Promise<Change | undefined> {
    if (this.faults === 0) return super.change(id, transition);
    this.faults -= 1;
    throw new QueueFault('queue-io', 'no space left on device');
  }
}

function openOwner(dir: string, now: () => number = Date.now, keeping: Partial<Keeping> = {}): Promise<Queue> {
  const log = recordingLog([]);
  return openEmbeddedQueue({ dir, role: 'owner', now, log, setbackDelays: quick, minFreeBytes: 1, keeping });
}

describe('the embedded queue', () => {
  const newHome = async () => {
    const dir = await tempDir();
    return {
      open: ({ now = Date.now, keeping = {} } = {}) => openOwner(dir, now, keeping),
      openGuest: () => openEmbeddedQueue({ dir, role: 'guest', now: Date.now, log: recordingLog([]) }),
      async damage(id: string) {
        const root = open({ path: join(dir, 'queue.lmdb'), encoding: 'binary', overlappingSync: false, maxDbs: 16 });
        await root.openDB<Buffer, string>('jobs', { encoding: 'binary' }).put(id, Buffer.from('rubbish'));
        await root.close();
      },
      remove: () => rm(dir, { recursive: true }),
    };
  };
  queueContract(newHome);
  laneContract(newHome);
  troubleContract(newHome, { deepLane: 100_000 });
});

describe('the embedded queue’s disk', () => {
  async function inDir(use: (dir: string) => Promise<void>): Promise<void> {
    const dir = await tempDir();
    try {
      await use(dir);
    } finally {
      await rm(dir, { recursive: true });
    }
  }

  test('a mark that need not be durable outlives a queue that is closed', async () => {
    await inDir(async (dir) => {
      const queue = await openOwner(dir);
      await queue.setMark('late', Buffer.from('x'), Date.now() + 60_000, { durable: false });
      await queue.close();
      const again = await openOwner(dir);
      expect(Buffer.from((await again.getMark('late')) ?? []).toString()).toBe('x');
      await again.close();
    });
  });

  test('a large body shared by several jobs is one file, deleted with the last of them', async () => {
    await inDir(async (dir) => {
      const queue = await openOwner(dir);
      const body = Buffer.alloc(300_000, 7);
      await queue.add([job('1', { body }), job('2', { body })]);
      await queue.add([job('1', { body: Buffer.alloc(300_000, 8) })]);
      expect(await readdir(join(dir, 'bodies'))).toHaveLength(1);
      await queue.drop('1');
      expect(Buffer.from((await queue.get('2'))!.body).equals(body)).toBe(true);
      await queue.drop('2');
      expect(await readdir(join(dir, 'bodies'))).toEqual([]);
      await queue.close();
    });
  });

  test('a body that cannot be written whole leaves nothing behind', async () => {
    await inDir(async (dir) => {
      const bodies = new BodyFiles(join(dir, 'bodies'));
      await bodies.prepare();
      // Node takes no data of this type, and says so only when the file is open: as a full disk does.
      await expect(bodies.write(7 as unknown as Uint8Array)).rejects.toThrow();
      expect(await readdir(join(dir, 'bodies'))).toEqual([]);
    });
  });

  test('an orphaned body is swept at start, a needed one is not', async () => {
    await inDir(async (dir) => {
      const first = await openOwner(dir);
      await first.add([job('1', { body: Buffer.alloc(300_000) })]);
      await first.close();
      await writeFile(join(dir, 'bodies', 'left-behind.body.tmp'), 'x');
      const queue = await openOwner(dir);
      expect(await readdir(join(dir, 'bodies'))).toHaveLength(1);
      expect((await queue.get('1'))?.body.byteLength).toBe(300_000);
      await queue.close();
    });
  });

  test('a damaged record is set aside, reported and blocks nobody; a damaged body too', async () => {
    await inDir(async (dir) => {
      const first = await openOwner(dir);
      await first.add([job('bad-record'), job('bad-body'), job('good')]);
      await first.close();
      const root = open({ path: join(dir, 'queue.lmdb'), encoding: 'binary', overlappingSync: false, maxDbs: 16 });
      await root.openDB<Buffer, string>('jobs', { encoding: 'binary' }).put('bad-record', Buffer.from('rubbish'));
      await root.openDB<Buffer, string>('bodies', { encoding: 'binary' }).put('bad-body', Buffer.from('rubbish'));
      await root.close();
      const reported: string[] = [];
      const log = recordingLog(reported);
      const queue = await openEmbeddedQueue({ dir, role: 'owner', now: Date.now, log });
      queue.work({ match: () => true, concurrency: 1, perLane: 1 }, async () => ({ kind: 'done', why: 'ok' }));
      await until('all ended', async () => (await queue.counts()).due + (await queue.counts()).running === 0);
      expect(await queue.counts()).toMatchObject({ done: 1, failed: 2 });
      expect((await queue.list({ state: 'failed', limit: 9 })).map(({ id }) => id).sort()).toEqual([
        'bad-body',
        'bad-record',
      ]);
      expect(reported.some((line) => line.includes('damaged'))).toBe(true);
      expect(await queue.retry('bad-record')).toBe(true);
      await until('the body is tried again', async () => (await queue.get('bad-record'))?.state === 'done');
      await queue.close();
    });
  });

  test('finished jobs are forgotten after a week, and not before', async () => {
    await inDir(async (dir) => {
      let now = Date.now();
      const first = await openOwner(dir, () => now);
      await first.add([job('1'), job('2', { hold: { reason: 'h' } })]);
      await first.drop('1');
      await first.close();
      now += 6 * 24 * 3_600_000;
      const second = await openOwner(dir, () => now);
      expect(await second.add([job('1')])).toEqual([{ id: '1', added: false }]);
      await second.close();
      now += 2 * 24 * 3_600_000;
      const third = await openOwner(dir, () => now);
      await until('it is forgotten', async () => (await third.get('1')) === undefined);
      expect((await third.get('2'))?.state).toBe('held');
      await third.close();
    });
  });

  test('an end that the disk does not take is written down when it does: no job stays running for ever', async () => {
    await inDir(async (dir) => {
      const store = new FullDisk(dir);
      await store.add([{ record: newRecord(job('1'), { bytes: 1, crc: 0 }, 1), body: Buffer.from('x') }], []);
      let attempts = 0;
      const lines: string[] = [];
      const loop = new WorkerLoop(
        {
          store,
          readBody: async () => Buffer.from('x'),
          removeBodies: async () => undefined,
          now: Date.now,
          delays: quick,
          log: recordingLog(lines),
        },
        { match: () => true, concurrency: 1, perLane: 1 },
        async () => {
          attempts += 1;
          store.faults = 1;
          return { kind: 'done', why: 'ok' };
        },
      );
      await until('it is done', () => {
        const found = store.find('1');
        return found.kind === 'record' && found.record.state === 'done';
      });
      expect(attempts).toBe(1);
      expect(lines.join()).toContain('could not be written down');
      await loop.stop(1_000);
      await store.close();
    });
  });

  test('a job that may begin at once is written down as begun by the commit that adds it, and its attempt waits for that', async () => {
    await inDir(async (dir) => {
      const store = new EmbeddedStore(dir);
      const seen: string[] = [];
      const parts = { store, now: Date.now, delays: quick, log: recordingLog([]), removeBodies: async () => undefined };
      const loop = new WorkerLoop(
        { ...parts, readBody: async () => Buffer.from('from disk') },
        { match: (lane) => lane === 'a', concurrency: 2, perLane: 2 },
        async ({ id, body }) => {
          seen.push(`${id} ${Buffer.from(body).toString()}`);
          return { kind: 'done', why: 'ok' };
        },
      );
      const record = (id: string, fields = {}) => newRecord(job(id, fields), { bytes: 1, crc: 0 }, Date.now());
      const [first, second] = [loop.reserve(record('1'))!, loop.reserve(record('2'))!];
      expect(first.record.state).toBe('running');
      // No third place, no place for what is due later, none in a lane that is another's.
      expect(loop.reserve(record('3'))).toBeUndefined();
      second.cancel();
      await store.add([{ record: first.record, body: Buffer.from('x') }], []);
      expect(seen).toEqual([]);
      first.begin(Buffer.from('at hand'));
      await until('it is done', () => {
        const found = store.find('1');
        return found.kind === 'record' && found.record.state === 'done';
      });
      expect(seen).toEqual(['1 at hand']);
      expect(loop.reserve(record('4', { dueAt: Date.now() + 60_000 }))).toBeUndefined();
      expect(loop.reserve(record('5', { lane: 'b' }))).toBeUndefined();
      expect(loop.reserve(record('6', { hold: { reason: 'h' } }))).toBeUndefined();
      loop.reserve(record('7'))!.cancel();
      await loop.stop(1_000);
      await store.close();
    });
  });

  test('a guest may neither add nor work', async () => {
    await inDir(async (dir) => {
      const guest = await openEmbeddedQueue({ dir, role: 'guest', now: Date.now, log: recordingLog([]) });
      await expect(guest.add([job('1')])).rejects.toMatchObject({ code: 'queue-guest' });
      await guest.close();
    });
  });

  test('too little space is not healthy', async () => {
    await inDir(async (dir) => {
      const options = { dir, role: 'owner', now: Date.now, log: recordingLog([]), minFreeBytes: 2 ** 60 } as const;
      const queue = await openEmbeddedQueue(options);
      expect(await queue.health()).toMatchObject({ ok: false });
      await queue.close();
    });
  });
});
