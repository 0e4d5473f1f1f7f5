import { readFileSync } from 'node:fs';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from '@ipld/dag-cbor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bounceJob } from '../../../gateway/bounce.ts';
import { AwaitedFile } from '../../../gateway/inbound/awaited-file.ts';
import {
  type DeliveryParts,
  deliveryDelay,
  type FailedRecipient,
  type Handed,
  saltFor,
  startDelivery,
} from '../../../gateway/inbound/deliver.ts';
import {
  encodeInboundJob,
  type InboundJob,
  inboundLane,
  inboundLaneFor,
  type StoredMessage,
} from '../../../gateway/inbound/job.ts';
import type { TraceEvent } from '../../../gateway/inbound/parts.ts';
import { awaitedReceipts, type ReceiptSeen } from '../../../gateway/inbound/receipts.ts';
import type { Wishes } from '../../../gateway/inbound/wishes.ts';
import type { NoticeFacts } from '../../../gateway/relay/notice.ts';
import type { Domain } from '../../../policy/address.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import type { Queue } from '../../../queue/queue.ts';
import { openGate } from '../storage/open-gate.ts';
import { address } from './listener-under-test.ts';

const alice = address('alice@example.org');
const bob = address('bob@example.org');
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const message = Buffer.from('From: a@sender.example\r\nSubject: s\r\n\r\nbody\r\n');

let dir: string;
let queue: Queue;
let now: number;
let events: (TraceEvent & { trace: string })[];
let told: FailedRecipient[];
let handedOver: { id: string; recipient: string; salt?: string }[];
let stored: string[];
let notices: { facts: NoticeFacts; to: string }[];
let required: string[];
let learned: { address: string; reporter: object; of: string }[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-deliver-'));
  now = Date.now();
  queue = await openEmbeddedQueue({ dir, role: 'owner', now: () => now, log: silent, minFreeBytes: 1 });
  [events, told, handedOver, stored, notices, learned, required] = [[], [], [], [], [], [], []];
});
afterEach(async () => {
  await queue.close();
  await rm(dir, { recursive: true, force: true });
});

interface Ring {
  readonly store?: () => Promise<void>;
  readonly deliver?: (recipient: string, attempt: number) => Handed;
  readonly notice?: (attempt: number) => Handed;
}

function parts({ store, deliver, notice }: Ring = {}): DeliveryParts {
  return {
    queue,
    storage: openGate,
    store: async (bytes, salt): Promise<StoredMessage> => {
      await store?.();
      stored.push(Buffer.from(salt).toString('hex'));
      return { size: bytes.length, hash: new Uint8Array(32), manifest: { key: new Uint8Array(32) } };
    },
    deliver: async ({ id, recipient, requireTls }) => {
      if (requireTls === true) required.push(recipient);
      const attempt = handedOver.filter((one) => one.recipient === recipient).length;
      handedOver.push({ id, recipient });
      return deliver?.(recipient, attempt) ?? { kind: 'sent', id: new Uint8Array(32), copies: 1 };
    },
    sendNotice: async (facts, to) => {
      notices.push({ facts, to });
      return notice?.(notices.length) ?? { kind: 'sent', id: new Uint8Array(32), copies: 1 };
    },
    learnOfBounce: async (reported, reporter, of) => {
      learned.push({ address: reported.address, reporter, of });
      if (of === 'FAULT') throw new Error('no marks');
      return reported.address;
    },
    hostname: 'mx.example.org',
    senderOf: () => undefined,
    sendBack: async () => undefined,
    isFinal: (fault) => fault instanceof TypeError,
    fetch: async () => message,
    notifySender: async (failed) => {
      told.push(failed);
      return 'told';
    },
    secret: new Uint8Array(32),
    awaitReceipt: async () => undefined,
    trace: (trace, event) => events.push({ trace, ...event }),
    log: silent,
    now: () => now,
  };
}

async function add(job: Partial<InboundJob> = {}): Promise<void> {
  const { message: carried = message, ...facts } = job;
  const body = await encodeInboundJob(
    {
      version: 1,
      trace: 't1',
      envelopeFrom: 'a@sender.example',
      recipients: [alice, bob],
      returned: [],
      folder: 'inbox',
      provenance: new Uint8Array(),
      receivedAt: now,
      senderProven: true,
      ...facts,
    },
    carried instanceof Uint8Array ? [carried] : carried,
  );
  await queue.add([{ id: 'in:t1', lane: inboundLaneFor(body.length), body, about: {} }]);
}

/** Works until the job is in this state, letting time pass. */
async function work(ring: Ring, state: 'done' | 'failed' = 'done'): Promise<void> {
  const worker = startDelivery(parts(ring));
  await expect
    .poll(async () => {
      now += 400_000;
      const job = await queue.get('in:t1');
      if (job?.state === 'due') await queue.retry('in:t1');
      return job?.state;
    })
    .toBe(state);
  await worker.stop(1_000);
}

describe('into the ring', () => {
  it('a message that required TLS goes on as such, for who forwards it (RFC 8689)', async () => {
    await add({ dsn: { requireTls: true, recipients: {} }, recipients: [bob] });
    await work({});
    expect(required).toEqual([bob]);
  });

  it('each recipient is notified once, of one stored message', async () => {
    await add();
    await work({});
    expect(handedOver.map((one) => one.recipient)).toEqual([alice, bob]);
    expect(stored).toEqual([Buffer.from(saltFor(new Uint8Array(32), 't1')).toString('hex')]);
    expect(events.map((event) => event.what)).toEqual(['stored', 'notified', 'notified']);
  });

  it('a large message has a lane of its own, and is delivered as well', async () => {
    await add({ message: Buffer.alloc(1024 * 1024, 'x') });
    expect((await queue.get('in:t1'))?.lane).not.toBe(inboundLane);
    await work({});
    expect(handedOver.map((one) => one.recipient)).toEqual([alice, bob]);
  });

  it('who was notified is not notified again when another has to wait', async () => {
    await add();
    const later: Handed = { kind: 'later', reason: 'too few copies' };
    await work({
      deliver: (who, attempt) =>
        who === bob && attempt < 2 ? later : { kind: 'sent', id: new Uint8Array(32), copies: 2 },
    });
    expect(handedOver.map((one) => one.recipient)).toEqual([alice, bob, bob, bob]);
    expect(stored).toHaveLength(1);
    expect(new Set(handedOver.map((one) => one.id))).toEqual(new Set(['in:t1']));
  });

  it('a ring that is away is waited for', async () => {
    await add();
    let tries = 0;
    await work({
      store: async () => {
        tries += 1;
        if (tries < 3) throw new Error('the node is away');
      },
    });
    expect(tries).toBe(3);
    expect((await queue.get('in:t1'))?.attempts.map((attempt) => attempt.outcome)).toEqual(['later', 'later', 'done']);
  });

  it('a job that is none is set aside', async () => {
    await queue.add([{ id: 'in:t1', lane: inboundLane, body: Buffer.from('nonsense'), about: {} }]);
    await work({}, 'failed');
  });

  it.each([
    [0, 1_000],
    [1, 2_000],
    [5, 32_000],
    [9, 300_000],
    [1_000_000, 300_000],
  ])('after %i attempts the wait is %i ms', (attempts, ms) => {
    expect(deliveryDelay(attempts)).toBe(ms);
  });
});

describe('nothing is tried for ever', () => {
  /** As `work`, with a postmaster who looks only at the end. */
  async function waitFor(ring: Ring, state: 'done' | 'failed'): Promise<void> {
    const worker = startDelivery(parts(ring));
    await expect
      .poll(
        async () => {
          now += 400_000;
          return (await queue.get('in:t1'))?.state;
        },
        { timeout: 10_000 },
      )
      .toBe(state);
    await worker.stop(1_000);
  }
  const sent: Handed = { kind: 'sent', id: new Uint8Array(32), copies: 1 };
  const noRoom: Ring = {
    store: async () => {
      throw new TypeError('a message of 36700405 octets');
    },
  };

  it('a message that the ring can never take is set aside at once, and its proven sender told for each recipient', async () => {
    await add();
    await work(noRoom, 'failed');
    expect(told.map(({ recipient, status }) => [recipient, status])).toEqual([
      [alice, '5.3.0'],
      [bob, '5.3.0'],
    ]);
    expect((await queue.get('in:t1'))?.attempts).toHaveLength(1);
    expect(events.filter((event) => event.what === 'undeliverable')).toHaveLength(2);
  });

  it('an unproven sender is not told of that either', async () => {
    await add({ senderProven: false });
    await work(noRoom, 'failed');
    expect(told).toEqual([]);
  });

  it('a letter that can never be sent harms its own recipient only', async () => {
    await add();
    await work(
      { deliver: (who) => (who === alice ? { kind: 'never', reason: 'a letter of 5000 octets' } : sent) },
      'failed',
    );
    expect(handedOver.map((one) => one.recipient)).toEqual([alice, bob]);
    expect(told.map(({ recipient }) => recipient)).toEqual([alice]);
    expect((await queue.get('in:t1'))?.attempts.at(-1)?.why).toContain(`given up for ${alice}`);
  });

  it('after five days of trouble the others keep what they have, and the sender is told', async () => {
    await add();
    now = Date.now() + 6 * 24 * 3_600_000;
    await queue.retry('in:t1');
    const later: Handed = { kind: 'later', reason: 'too few copies' };
    const ring: Ring = { deliver: (who) => (who === bob ? later : sent) };
    const worker = startDelivery(parts(ring));
    // Its time is counted from the first failure: a job that was held for a week is tried as long as any other.
    await expect.poll(async () => (await queue.get('in:t1'))?.attemptCount).toBe(1);
    expect((await queue.get('in:t1'))?.state).toBe('due');
    await worker.stop(1_000);
    now += 5 * 24 * 3_600_000;
    await queue.retry('in:t1');
    await waitFor(ring, 'failed');
    expect(handedOver.filter((one) => one.recipient === alice)).toHaveLength(1);
    expect(told.map(({ recipient, status }) => [recipient, status])).toEqual([[bob, '5.4.7']]);
  });

  it('what was given up is tried again when the postmaster asks for it', async () => {
    await add();
    let room = false;
    const ring: Ring = {
      deliver: (who) => (who === alice || room ? sent : { kind: 'never', reason: 'too large' }),
    };
    await work(ring, 'failed');
    room = true;
    await queue.retry('in:t1');
    await waitFor(ring, 'done');
    expect(handedOver.at(-1)?.recipient).toBe(bob);
  });
});

describe('a user who is gone after the message was taken', () => {
  const gone: Ring = {
    deliver: (who) => (who === bob ? { kind: 'no-such-user' } : { kind: 'sent', id: new Uint8Array(32), copies: 1 }),
  };
  const rows: readonly [why: string, job: Partial<InboundJob>, tellings: number][] = [
    ['a proven sender is told', {}, 1],
    ['an unproven sender is not: that would be backscatter', { senderProven: false }, 0],
    ['the null sender is not', { envelopeFrom: '' }, 0],
  ];
  it.each(rows)('%s', async (_why, job, tellings) => {
    await add(job);
    await work(gone);
    expect(told).toHaveLength(tellings);
    expect(events.find((event) => event.what === 'undeliverable')).toMatchObject({ recipient: bob });
    expect(handedOver.map((one) => one.recipient)).toEqual([alice, bob]);
  });

  it('the notice goes out by the queue, from nobody, once', async () => {
    await add();
    await work(gone);
    const [failed] = told;
    if (failed === undefined) throw new Error('nobody was told');
    const options = { hostname: 'mx.example.org', domain: 'example.org' as Domain, dkim: [] };
    const job = await bounceJob(failed, options);
    expect(job).toEqual(await bounceJob(failed, options));
    expect(job?.lane).toBe('out:sender.example');
    const body = decode<{ envelopeFrom: string; recipients: string[]; message: { bytes: Uint8Array } }>(
      job?.body ?? new Uint8Array(),
    );
    expect(body).toMatchObject({ envelopeFrom: '', recipients: ['a@sender.example'] });
    const text = Buffer.from(body.message.bytes).toString();
    expect(text).toContain('Final-Recipient: rfc822; bob@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n');
    expect(text).toContain('Subject: s\r\n');
    expect(text).not.toContain('body');
  });
});

describe('receipts', () => {
  const stored: StoredMessage = { size: message.length, hash: new Uint8Array(32) };
  const awaiting = (trace: string, recipient: string, sender = 'a@sender.example') => ({
    trace,
    recipient: address(recipient),
    sender,
    receivedAt: now,
    message: stored,
  });

  function receiving() {
    const post = { tell: (_receipt: ReceiptSeen): void => undefined };
    const errors: string[] = [];
    const watched: { id: Uint8Array; recipient: string }[] = [];
    const awaited = awaitedReceipts({
      ...parts(),
      post: {
        onReceipt: (listener) => {
          post.tell = listener;
          return () => undefined;
        },
        watch: async (awaited) => {
          watched.push(...awaited);
        },
      },
      ledgerDir: dir,
      log: { error: (_facts, text) => errors.push(text) },
    });
    return { awaited, errors, watched, tell: (receipt: ReceiptSeen) => post.tell(receipt) };
  }
  const [first, second] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];

  it('are written into the trace of their message, whichever comes first', async () => {
    const { awaited, tell } = receiving();
    await awaited.expect(first, awaiting('t1', alice));
    tell({ id: first, verdict: 'accepted' });
    tell({ id: second, verdict: 'refused', rule: 'blocked' });
    await awaited.expect(second, awaiting('t2', bob));
    tell({ id: first, verdict: 'accepted' });
    expect(events).toEqual([
      { trace: 't1', what: 'receipt', recipient: alice, verdict: 'accepted' },
      { trace: 't2', what: 'receipt', recipient: bob, verdict: 'refused', rule: 'blocked' },
    ]);
  });

  it.each([
    ['refused', '5.7.1'],
    ['undeliverable', '5.4.7'],
  ])('that say %s are told to the postmaster and to the proven sender', async (verdict, status) => {
    const { awaited, errors, tell } = receiving();
    await awaited.expect(first, awaiting('t1', alice));
    tell({ id: first, verdict });
    await expect.poll(() => told.length).toBe(1);
    expect(told[0]).toMatchObject({ sender: 'a@sender.example', recipient: alice, status, trace: 't1' });
    expect(Buffer.from(told[0]?.originalHeader ?? []).toString()).toContain('Subject: s');
    expect(errors).toHaveLength(1);
  });

  it('are still awaited after the death of the process, and asked for: a refusal that comes then is told, once', async () => {
    const before = receiving();
    await before.awaited.expect(first, awaiting('t1', alice));
    await before.awaited.expect(second, awaiting('t2', bob));
    before.tell({ id: second, verdict: 'accepted' });
    // No stop: what a kill leaves is what is on disk, whatever else was being written.
    await appendFile(join(dir, 'awaited.log'), 'cut off in the mid');
    const after = receiving();
    expect(after.watched).toEqual([{ id: first, recipient: alice }]);
    after.tell({ id: first, verdict: 'undeliverable' });
    await expect.poll(() => told.length).toBe(1);
    expect(told[0]).toMatchObject({ sender: 'a@sender.example', recipient: alice, status: '5.4.7', trace: 't1' });
    await expect.poll(() => receiving().watched).toEqual([]);
  });

  it('are awaited when that is synced, and not before: a power cut forgets none', async () => {
    const syncs: (() => void)[] = [];
    const lines: number[] = [];
    const file = new AwaitedFile(dir, now, () => {
      lines.push(readFileSync(join(dir, 'awaited.log'), 'utf8').split('\n').length - 1);
      return new Promise<void>((resolve) => syncs.push(resolve));
    });
    const done: string[] = [];
    const expecting = ['01', '02', '03'].map(async (id) => {
      await file.expect(id, awaiting(id, alice));
      done.push(id);
    });
    await expect.poll(() => syncs.length).toBe(1);
    const late = file.expect('04', awaiting('04', alice)).then(() => done.push('04'));
    expect([done, lines]).toEqual([[], [3]]);
    syncs[0]?.();
    await Promise.all(expecting);
    // Written while the first sync ran, which may not have seen it: it has one of its own.
    await expect.poll(() => syncs.length).toBe(2);
    expect([done, lines]).toEqual([
      ['01', '02', '03'],
      [3, 4],
    ]);
    syncs[1]?.();
    await late;
    file.close();
  });

  it('that nobody can give any more are not awaited for ever', async () => {
    const before = receiving();
    await before.awaited.expect(first, awaiting('t1', alice));
    before.awaited.stop();
    now += 16 * 86_400_000;
    expect(receiving().watched).toEqual([]);
  });

  it.for([
    ['asked for successes', ['SUCCESS'], 'accepted', 'delivered'],
    ['asked for successes, and it failed', ['SUCCESS'], 'refused', undefined],
    ['asked for nothing', [], 'accepted', undefined],
    ['asked never to be told', ['NEVER'], 'refused', undefined],
  ] as const)('are told to the sender as he wished: %s', async ([, notify, verdict, action]) => {
    const dsn = { recipients: { [alice]: { notify: [...notify] } } };
    const before = receiving();
    await before.awaited.expect(first, { ...awaiting('t1', alice), dsn });
    // What he wished is on disk with what is awaited.
    const { watched, tell } = receiving();
    expect(watched).toHaveLength(1);
    tell({ id: first, verdict });
    const wanted = action === undefined ? [] : [action];
    await expect.poll(() => told.map((one) => one.action)).toEqual(wanted);
    await expect.poll(() => receiving().watched).toEqual([]);
  });

  it('of mail whose sender is not proven are told to the postmaster alone', async () => {
    const { awaited, errors, tell } = receiving();
    await awaited.expect(first, awaiting('t1', alice, ''));
    tell({ id: first, verdict: 'refused' });
    expect([told.length, errors.length]).toEqual([0, 1]);
  });
});

describe('what a sender asked to be told (RFC 3461)', () => {
  const asked = (notify: Wishes['recipients'][string]['notify'], rest: Partial<Wishes> = {}): Wishes => ({
    recipients: { [bob]: { notify, orcpt: 'rfc822;robert+2Bx@old.example' } },
    ...rest,
  });
  const gone: Ring = {
    deliver: (who) => (who === bob ? { kind: 'no-such-user' } : { kind: 'sent', id: new Uint8Array(32), copies: 1 }),
  };

  it.for([
    ['nothing: he hears of failures', undefined, 1],
    ['failures', asked(['FAILURE', 'DELAY']), 1],
    ['never', asked(['NEVER']), 0],
    ['successes only', asked(['SUCCESS']), 0],
    ['an original recipient only: he hears of failures', asked([]), 1],
  ] as const)('%s', async ([, dsn, tellings]) => {
    await add(dsn === undefined ? {} : { dsn });
    await work(gone);
    expect(told).toHaveLength(tellings);
  });

  const options = { hostname: 'mx.example.org', domain: 'example.org' as Domain, dkim: [] };
  async function reportOf(failed: FailedRecipient | undefined): Promise<{ id: string; text: string }> {
    if (failed === undefined) throw new Error('nobody was told');
    const job = await bounceJob(failed, options);
    const body = decode<{ message: { bytes: Uint8Array } }>(job?.body ?? new Uint8Array());
    return { id: job?.id ?? '', text: Buffer.from(body.message.bytes).toString() };
  }

  it('stands in the report as he gave it, and the message comes back whole where he asked for that', async () => {
    await add({ dsn: asked([], { ret: 'FULL', envid: 'QQ=1' }) });
    await work(gone);
    const { text } = await reportOf(told[0]);
    expect(text).toContain('Original-Envelope-Id: QQ=1\r\nReporting-MTA: dns; mx.example.org\r\n');
    expect(text).toContain(
      'Original-Recipient: rfc822; robert+2Bx@old.example\r\nFinal-Recipient: rfc822; bob@example.org\r\nAction: failed\r\n',
    );
    expect(text).toContain(`Content-Type: message/rfc822\r\n\r\n${message.toString()}\r\n--=_`);
  });

  it.for([
    ['to who asked for it', { dsn: asked(['DELAY']) }, [bob]],
    ['not to who did not', { dsn: asked(['FAILURE']) }, []],
    ['not to who did not prove to be the sender', { dsn: asked(['DELAY']), senderProven: false }, []],
  ] as const)('delays are told once, after four hours, %s', async ([, job, tellings]) => {
    await add(job);
    const worker = startDelivery(parts({ deliver: () => ({ kind: 'later', reason: 'too few copies' }) }));
    const attempts = async (): Promise<number | undefined> => (await queue.get('in:t1'))?.attemptCount;
    await expect.poll(attempts).toBe(1);
    for (const [nth, hours] of [1, 5, 1, 5].entries()) {
      now += hours * 3_600_000;
      await queue.retry('in:t1');
      await expect.poll(attempts).toBe(nth + 2);
      if (nth === 0) expect(told).toEqual([]);
    }
    await worker.stop(1_000);
    expect(told.map(({ recipient }) => recipient)).toEqual(tellings);
  });

  it('a delay and a failure are two reports', async () => {
    const common = { sender: 'a@sender.example', recipient: bob, text: 'x', originalHeader: message, dsn: asked([]) };
    const of = (action: FailedRecipient['action'], status: string): FailedRecipient => ({
      ...common,
      action,
      status,
      receivedAt: now,
      trace: 't1',
    });
    const [delayed, failed] = [await reportOf(of('delayed', '4.4.7')), await reportOf(of('failed', '5.4.7'))];
    expect(delayed.id).not.toBe(failed.id);
    expect(delayed.text).toContain('Action: delayed\r\nStatus: 4.4.7\r\n');
    expect(delayed.text).toContain('Subject: Your message is delayed\r\n');
  });

  it('the report of a message that required TLS requires it, too (RFC 8689 §5)', async () => {
    const told = { sender: 'a@sender.example', recipient: bob, text: 'x', originalHeader: message, receivedAt: now };
    const failed = { ...told, action: 'failed', status: '5.1.1', trace: 't1' } as const;
    const tlsOf = async (dsn: FailedRecipient['dsn']): Promise<unknown> => {
      const job = await bounceJob(
        { ...failed, dsn },
        { hostname: 'mx.example.org', domain: 'example.org' as Domain, dkim: [] },
      );
      return decode<{ tls?: string }>(job?.body ?? new Uint8Array()).tls;
    };
    expect([await tlsOf({ requireTls: true, recipients: {} }), await tlsOf(undefined)]).toEqual([
      'required',
      undefined,
    ]);
  });
});

describe('a bounce that came back to a return path of ours', () => {
  const report = Buffer.from(
    [
      'From: mailer-daemon@far.example',
      'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
      '',
      '--b',
      'Content-Type: message/delivery-status',
      '',
      'Reporting-MTA: dns; mx.far.example',
      '',
      'Final-Recipient: rfc822; carol@far.example',
      'Action: failed',
      'Status: 5.1.1',
      'Diagnostic-Code: smtp; 550 5.1.1 no such user',
      '--b',
      'Content-Type: text/rfc822-headers',
      '',
      'Received: from example.org (ePOST ring) by mx.example.org',
      '\tid SENT-1; Tue, 24 Nov 2026 12:00:00 +0000',
      'Subject: hello',
      '',
      '--b--',
      '',
    ].join('\r\n'),
  );
  const returned: Partial<InboundJob> = {
    envelopeFrom: '',
    recipients: [alice],
    returned: [alice],
    senderProven: false,
  };

  it('is told as what happened and what to do, with the report attached, and found under both ids', async () => {
    await add({ ...returned, message: report });
    await work({});
    expect(handedOver).toEqual([]);
    expect(notices).toMatchObject([
      {
        to: alice,
        facts: { sender: alice, recipients: [{ address: 'carol@far.example', action: 'failed', status: '5.1.1' }] },
      },
    ]);
    expect(notices[0]?.facts.recipients[0]?.text).toMatch(/does not exist there/);
    expect(Buffer.from(notices[0]?.facts.originalHeader ?? []).toString()).toContain('Subject: hello');
    expect(Buffer.compare(notices[0]?.facts.report ?? Buffer.alloc(0), report)).toBe(0);
    const facts = { recipient: 'carol@far.example', status: '5.1.1', cause: 'no-such-address' };
    expect(events).toContainEqual(expect.objectContaining({ trace: 't1', what: 'bounce', of: 'SENT-1', ...facts }));
    expect(events).toContainEqual(expect.objectContaining({ trace: 'SENT-1', what: 'bounced', by: 't1', ...facts }));
  });

  it('counts against the address once it was told, by who brought it and for which message', async () => {
    const reporter = { ip: '192.0.2.1', name: 'mx.far.example' };
    await add({ ...returned, reporter, message: report });
    await work({
      notice: (attempt) =>
        attempt < 2 ? { kind: 'later', reason: 'away' } : { kind: 'sent', id: new Uint8Array(32), copies: 1 },
    });
    expect(learned).toEqual([{ address: 'carol@far.example', reporter, of: 'SENT-1' }]);
    expect(events).toContainEqual({ trace: 't1', what: 'suppression', recipient: 'carol@far.example' });
  });

  it('that cannot be remembered is told all the same', async () => {
    const reporter = { ip: '192.0.2.1', name: '' };
    await add({ ...returned, reporter, message: Buffer.from(report.toString().replace('id SENT-1', 'id FAULT')) });
    await work({});
    expect(notices).toHaveLength(1);
  });

  it('waits while the ring cannot take the notice', async () => {
    await add({ ...returned, message: report });
    await work({
      notice: (attempt) =>
        attempt < 3 ? { kind: 'later', reason: 'away' } : { kind: 'sent', id: new Uint8Array(32), copies: 1 },
    });
    expect(notices).toHaveLength(3);
    expect(handedOver).toEqual([]);
  });

  it.for([
    ['is not understood', { message }, {}],
    [
      'makes too large a notice',
      { message: report },
      { notice: (): Handed => ({ kind: 'never', reason: 'too large' }) },
    ],
    ['came to an address that anybody knows', { message: report, returned: [] }, {}],
  ] as const)('is delivered as it is where it %s', async ([, job, ring]) => {
    await add({ ...returned, ...job, returned: 'returned' in job ? [] : [alice] });
    await work(ring);
    expect(handedOver).toMatchObject([{ recipient: alice }]);
  });
});
