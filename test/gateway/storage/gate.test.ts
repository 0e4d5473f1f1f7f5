import { afterEach, describe, expect, it } from 'vitest';
import { type GateParts, type StorageGate, startStorageGate } from '../../../gateway/storage/gate.ts';
import { afterProbe, type GateState, open, type Probe } from '../../../gateway/storage/gate-state.ts';
import { type Job, QueueFault, type QueueHealth } from '../../../queue/queue.ts';

describe('the state after a probe', () => {
  const good: Probe = { ok: true };
  const bad: Probe = { ok: false, why: 'full' };
  const shut = (goodProbes: number): GateState => ({ at: 'shut', why: 'full', since: 5, goodProbes });
  const rows: [why: string, before: GateState, probe: Probe, after: GateState][] = [
    ['what is well stays open', open, good, open],
    ['one bad probe shuts', open, bad, { at: 'shut', why: 'full', since: 9, goodProbes: 0 }],
    ['one good probe does not open: a disk at its limit is well for a moment', shut(0), good, shut(1)],
    ['nor do two', shut(1), good, shut(2)],
    ['three in a row do', shut(2), good, open],
    ['a bad one in between counts from the start, and keeps when it began', shut(2), bad, shut(0)],
  ];
  it.each(rows)('%s', (_why, before, probe, after) => expect(afterProbe(before, probe, 9)).toEqual(after));
});

describe('the gate', () => {
  let gate: StorageGate | undefined;
  let write: () => Promise<void>;
  let well: () => Promise<void>;
  let health: QueueHealth;
  let writes: number;
  let broken = 0;
  const log: string[] = [];
  const disk: GateParts['queue'] = {
    health: async () => health,
    setMark: async () => {
      writes += 1;
      await write();
    },
  };
  const begin = async (slowMs = 10_000): Promise<StorageGate> => {
    [write, health, writes, log.length, broken] = [async () => undefined, { ok: true }, 0, 0, 0];
    well = async () => undefined;
    const told = (_facts: object, text: string): void => void log.push(text);
    gate = await startStorageGate({
      queue: disk,
      tryDisk: () => well(),
      now: Date.now,
      log: { error: told, info: told },
      onBroken: () => {
        broken += 1;
      },
      everyMs: 2,
      slowMs,
    });
    return gate;
  };
  afterEach(async () => {
    await gate?.stop();
    gate = undefined;
  });
  const fault = new QueueFault('queue-io', 'the disk is on fire');

  it('is shut at its start where the disk is not well then', async () => {
    const unwell: GateParts['queue'] = { ...disk, health: async () => ({ ok: false, why: 'full' }) };
    const sick = await startStorageGate({
      queue: unwell,
      tryDisk: async () => undefined,
      now: Date.now,
      log: { error() {}, info() {} },
      onBroken() {},
      everyMs: 2,
    });
    expect(sick.shut()?.why).toBe('full');
    await sick.stop();
  });

  it('writes nothing while all is well', async () => {
    await begin();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(writes).toBe(0);
  });

  it('shuts when an accepted message cannot be written, tells it once, and opens when its own writes succeed', async () => {
    const { shut, watched } = await begin();
    write = () => Promise.reject(fault);
    await expect(watched(Promise.reject(fault))).rejects.toBe(fault);
    expect(shut()?.why).toBe('the disk is on fire');
    await expect.poll(() => writes).toBeGreaterThan(3);
    expect(shut()).toBeDefined();
    write = async () => undefined;
    await expect.poll(() => shut()).toBeUndefined();
    expect(log).toEqual([
      'no mail is taken, and deliveries pause, until the disk is well again',
      'the disk is well again; mail is taken',
    ]);
  });

  it('says once when only a new process can use the queue again', async () => {
    const { shut, watched } = await begin();
    const panic = new QueueFault('queue-io', 'no', new Error('MDB_PANIC: Update of meta page failed'));
    write = () => Promise.reject(panic);
    await watched(Promise.reject(panic)).catch(() => undefined);
    await expect.poll(() => writes).toBeGreaterThan(2);
    expect(broken).toBe(1);
    expect(shut()).toBeDefined();
  });

  it('does not shut for a job that the queue will not have', async () => {
    const { shut, watched } = await begin();
    await watched(Promise.reject(new QueueFault('job-too-large', 'too large'))).catch(() => undefined);
    expect(shut()).toBeUndefined();
  });

  it('shuts while the disk hangs, tries no second time behind that, and opens when it ends', async () => {
    const { shut, watched } = await begin(10);
    const hanging = Promise.withResolvers<void>();
    let tries = 0;
    well = () => {
      tries += 1;
      return hanging.promise;
    };
    const accepted = watched(hanging.promise);
    await expect.poll(() => shut()?.why).toMatch(/has not answered/);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([tries, writes, broken]).toEqual([1, 0, 0]);
    hanging.resolve();
    await accepted;
    await expect.poll(() => shut()).toBeUndefined();
  });

  it('says that a new process is wanted where the disk takes writes and the queue never ends one', async () => {
    const { watched } = await begin(10);
    write = () => new Promise(() => undefined);
    watched(write()).catch(() => undefined);
    await expect.poll(() => broken).toBe(1);
  });

  it('asks for no new process before the disk takes writes again', async () => {
    const { watched } = await begin(10);
    const panic = new QueueFault('queue-io', 'no', new Error('MDB_PANIC: Update of meta page failed'));
    well = () => Promise.reject(new Error('no space'));
    write = () => Promise.reject(panic);
    await watched(Promise.reject(fault)).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(broken).toBe(0);
    well = async () => undefined;
    await expect.poll(() => broken).toBe(1);
  });

  it('holds attempts back while it is shut, and begins them when it opens', async () => {
    const { shut, whenOpen } = await begin();
    health = { ok: false, why: 'full' };
    await expect.poll(() => shut()).toBeDefined();
    let begun = 0;
    const worker = whenOpen(async () => {
      begun += 1;
      return { kind: 'done', why: '' };
    });
    const attempt = worker({} as Job, new AbortController().signal);
    const stopping = new AbortController();
    const given = worker({} as Job, stopping.signal);
    stopping.abort();
    await expect(given).rejects.toThrow(/stopped while the disk was not well/);
    expect(begun).toBe(0);
    health = { ok: true };
    expect(await attempt).toEqual({ kind: 'done', why: '' });
    expect(begun).toBe(1);
  });
});
