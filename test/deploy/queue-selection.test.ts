import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { heldText, heldWork } from '../../deploy/command/queue-held.ts';
import { selectJobs, selects } from '../../deploy/command/queue-selection.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Queue } from '../../queue/queue.ts';

const hour = 3_600_000;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
let dir: string;
let queue: Queue;
let now = 1_790_000_000_000;

beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'epost-selection-'));
  queue = await openEmbeddedQueue({ dir, role: 'owner', now: () => now, log: silent, minFreeBytes: 1 });
  const job = (id: string, lane: string, sender: string, recipients: readonly string[], reason?: string) => ({
    id,
    lane,
    body: new Uint8Array(),
    about: { sender, recipients },
    ...(reason === undefined ? {} : { hold: { reason } }),
  });
  await queue.add([
    job('old', 'out:far.test', 'alice@example.org', ['a@far.test'], 'policy rule relay-volume'),
    job('old in', 'in', 'x@spam.test', ['bob@example.org'], 'quarantine by rule odd'),
  ]);
  now += 5 * hour;
  await queue.add([
    job('new', 'out:far.test', 'alice@example.org', ['b@far.test', 'c@far.test'], 'policy rule relay-volume'),
    job('other', 'out:near.test', 'bob@example.org', ['d@near.test']),
  ]);
});
afterAll(async () => {
  await queue.close();
  rmSync(dir, { recursive: true });
});

it('what is held is told by reason and sender, most first', async () => {
  expect((await heldWork(queue)).map(heldText)).toEqual([
    'held: 2 from alice@example.org (policy rule relay-volume); look, then `epost queue release` or `drop`',
    'held: 1 from x@spam.test (quarantine by rule odd); look, then `epost queue release` or `drop`',
  ]);
});

describe('the jobs that are meant', () => {
  const rows: readonly [why: string, values: Record<string, string>, ids: readonly string[]][] = [
    ['all, where only their number is bounded', {}, ['new', 'old', 'old in', 'other']],
    ['those of a state', { state: 'held' }, ['new', 'old', 'old in']],
    ['those to a domain', { domain: 'FAR.test' }, ['new', 'old']],
    ['those of a lane', { lane: 'in' }, ['old in']],
    ['those of a sender', { sender: 'alice@example.org' }, ['new', 'old']],
    ['one of whose recipients it is', { recipient: 'c@far.test' }, ['new']],
    ['held for a reason', { reason: 'rule relay-volume' }, ['new', 'old']],
    ['that came long ago', { older: '4h' }, ['old', 'old in']],
    ['all that is said must fit', { older: '4h', reason: 'relay-volume', sender: 'alice@example.org' }, ['old']],
    ['none', { sender: 'nobody@example.org' }, []],
  ];
  it.each(rows)('%s', async (_why, values, ids) => {
    const jobs = await selectJobs(queue, values, now, 100);
    expect(jobs.map(({ id }) => id).sort((a, b) => a.localeCompare(b))).toEqual(ids);
  });

  it('are no more than asked for', async () => {
    expect(await selectJobs(queue, { reason: 'rule' }, now, 2)).toHaveLength(2);
  });

  it('have to be said: a number alone means nothing', () => {
    expect([selects({ limit: '5' }), selects({}), selects({ older: '1h' })]).toEqual([false, false, true]);
  });
});
