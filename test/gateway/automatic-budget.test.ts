import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AutomaticBudget, automaticBudget, mayBeReported } from '../../gateway/automatic-budget.ts';
import { bounceJob } from '../../gateway/bounce.ts';
import type { Address, Domain } from '../../policy/address.ts';
import { Limits } from '../../policy/limits.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Job, NewJob, Queue } from '../../queue/queue.ts';

const hour = 3_600_000;
const rate = (amount: number) => ({ amount, perMs: hour, burst: amount });
let now = 0;
let limits: Limits;
let warnings: object[];
let events: object[];

function budgetOf(perAddress: number, total: number): AutomaticBudget {
  return automaticBudget({
    limits,
    rates: { perAddress: rate(perAddress), total: rate(total) },
    now: () => now,
    random: () => 0,
    log: { warn: (fields) => warnings.push(fields) },
    trace: (id, event) => events.push({ id, ...event }),
  });
}

beforeEach(() => {
  now = 1_000_000;
  limits = new Limits();
  [warnings, events] = [[], []];
});

describe('the budget of automatic mail', () => {
  it('is one for each address and one for all, and mail and notices have their own', () => {
    const budget = budgetOf(2, 5);
    const spend = (kind: 'mail' | 'notice', address: string) => budget.spend(kind, address, 't')?.why;
    expect([spend('mail', 'a@x.example'), spend('mail', 'A@X.example')]).toEqual([undefined, undefined]);
    expect(spend('mail', 'a@x.example')).toContain('for a@x.example');
    expect(spend('notice', 'a@x.example')).toBeUndefined();
    for (const other of ['b', 'c', 'd']) expect(spend('mail', `${other}@x.example`)).toBeUndefined();
    expect(spend('mail', 'e@x.example')).toContain('of this ring');
  });

  it('grows back, outlives its process where the limits of policy do, and is said once in an hour', () => {
    const spend = () => budgetOf(1, 10).spend('mail', 'a@x.example', 't');
    expect(spend()).toBeUndefined();
    expect(spend()?.retryAfterMs).toBe(hour);
    now += hour;
    expect(spend()).toBeUndefined();
    const one = budgetOf(1, 10);
    for (let n = 0; n < 5; n += 1) one.spend('mail', 'a@x.example', `t${n}`);
    expect(warnings.slice(1)).toHaveLength(1);
    expect(events.slice(-2)).toMatchObject([{ id: 't3', what: 'automatic-waits', outcome: 'mail' }, { id: 't4' }]);
  });
});

describe('two machines that answer each other', () => {
  let dir: string;
  let queue: Queue;
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'epost-automatic-'));
    queue = await openEmbeddedQueue({ dir, role: 'owner', now: Date.now, log: quiet, minFreeBytes: 1 });
  });
  afterEach(async () => {
    await queue.close();
    await rm(dir, { recursive: true });
  });

  const report = async (nth: number): Promise<NewJob> => {
    const job = await bounceJob(
      {
        action: 'failed',
        sender: 'robot@far.example',
        recipient: 'gone@example.org' as Address,
        status: '5.1.1',
        text: 'x',
        originalHeader: Buffer.from('Subject: x\r\n'),
        dsn: undefined,
        receivedAt: nth,
        trace: `t${nth}`,
      },
      { hostname: 'mx.example.org', domain: 'example.org' as Domain, dkim: [] },
    );
    if (job === undefined) throw new Error('no report was made');
    return job;
  };

  it('are slowed down, while mail of people goes on; what waits stays in the queue, which says why', async () => {
    const sent: string[] = [];
    let answers = 0;
    const answered = async (): Promise<void> => {
      answers += 1;
      await queue.add([await report(answers)]);
    };
    const worker = budgetOf(3, 100).pace(async (job: Job) => {
      sent.push(job.id);
      // The other machine answers at once, and its answer makes us send another report.
      if (job.id.startsWith('bounce')) await answered();
      return { kind: 'done', why: 'sent' };
    });
    const handle = queue.work({ match: () => true, concurrency: 2, perLane: 2 }, worker);
    await answered();
    await expect
      .poll(async () => (await queue.list({ limit: 10 })).some(({ putOff }) => putOff !== undefined))
      .toBe(true);
    const about = { kind: 'relay', trace: 'p', sender: 'alice@example.org' };
    await queue.add([{ id: 'person', lane: 'out:far.example', body: new Uint8Array(), about }]);
    await expect.poll(() => sent.includes('person')).toBe(true);
    expect(sent.filter((id) => id.startsWith('bounce'))).toHaveLength(3);
    const waiting = async () => (await queue.list({ state: 'due', limit: 10 }))[0];
    await expect.poll(waiting).toMatchObject({
      putOff: expect.stringContaining('budget of automatic mail for robot@far.example'),
    });
    await handle.stop(1_000);
  });
});

describe('what may be reported about (RFC 3834)', () => {
  const rows: readonly [why: string, field: string, failed: boolean, other: boolean][] = [
    ['mail of people, in any case', '', true, true],
    ['what says that a person sent it', 'Auto-Submitted: no\r\n', true, true],
    [
      'a machine’s mail when it fails, since nobody else would notice',
      'Auto-Submitted: auto-generated\r\n',
      true,
      false,
    ],
    ['never an automatic answer', 'Auto-Submitted: auto-replied; owner-email="x@y.example"\r\n', false, false],
    ['nor a report', 'Auto-Submitted:\r\n auto-notified\r\n', false, false],
  ];
  it.each(rows)('%s', (_why, field, failed, other) => {
    const header = Buffer.from(`Subject: x\r\n${field}From: x@y.example\r\n`);
    expect([mayBeReported(header, 'failed'), mayBeReported(header, 'delayed')]).toEqual([failed, other]);
  });

  it('so that no report is made about one', async () => {
    const options = { hostname: 'mx.example.org', domain: 'example.org' as Domain, dkim: [] };
    const failed = {
      action: 'failed',
      sender: 'robot@far.example',
      recipient: 'gone@example.org' as Address,
      status: '5.1.1',
      text: 'x',
      originalHeader: Buffer.from('Auto-Submitted: auto-replied\r\n'),
      dsn: undefined,
      receivedAt: 1,
      trace: 't',
    } as const;
    expect(await bounceJob(failed, options)).toBeUndefined();
  });
});
