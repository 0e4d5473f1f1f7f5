/** The life of one message in the relay, from the queue to its end, against one host: time passes by itself to the next attempt, so that five days take a moment. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Answer, Resolver, TlsaRecord } from '../../../../gateway/dns/answer.ts';
import type { SmtpTimes } from '../../../../gateway/relay/connection.ts';
import type { Told } from '../../../../gateway/relay/deliver-parts.ts';
import type { NoticeFacts } from '../../../../gateway/relay/notice.ts';
import { type RelaySettings, startRelay } from '../../../../gateway/relay/relay.ts';
import { encodeRelayBody, type RelayBody } from '../../../../gateway/relay/relay-job.ts';
import { returnPaths } from '../../../../gateway/returns/return-path.ts';
import type { Attempt, Job, Mark, NewJob, Queue, Worker } from '../../../../queue/queue.ts';
import { openGate } from '../../storage/open-gate.ts';

type Said = (fields: object, message: string) => void;

export const shortMessage = Buffer.from(
  'From: Alice <alice@example.org>\r\nTo: x@dest.example\r\nSubject: hi\r\nMessage-ID: <1@example.org>\r\n\r\nHello\r\n.dot\r\n',
);

/** A host that answers at all answers within this, however busy the machine is. */
const patient: SmtpTimes = { connectMs: 20_000, greetingMs: 20_000, silenceMs: 20_000, totalMs: 30_000 };

export interface LifeOptions {
  readonly port: number;
  readonly recipients?: readonly string[];
  readonly message?: Uint8Array;
  readonly body?: Partial<RelayBody>;
  readonly times?: Partial<SmtpTimes>;
  /** The destination's names are validated, and its host has these TLSA records. */
  readonly tlsa?: readonly TlsaRecord[];
  readonly settings?: RelaySettings;
  readonly tell?: (facts: NoticeFacts) => Told;
  readonly marks?: Map<string, Uint8Array>;
  /** Hears of every line of the log. */
  readonly log?: (level: string, fields: object, message: string) => void;
  /** No more attempts than these. */
  readonly attempts?: number;
}

export interface Life {
  readonly end: Attempt['kind'];
  /** Attempts that went out to the host, not those that told the sender. */
  readonly tries: number;
  readonly whys: readonly string[];
  readonly notices: readonly NoticeFacts[];
  /** `address action status` of all that the sender was told, in order. */
  readonly told: readonly string[];
  /** From its acceptance to its end. */
  readonly tookMs: number;
  readonly events: readonly { readonly what: string; readonly [fact: string]: unknown }[];
}

const records = <Rec>(some: readonly Rec[]): Answer<Rec> => ({
  kind: 'records',
  records: some,
  ttlMs: 60_000,
  authenticated: true,
});

function resolverOf(tlsa: readonly TlsaRecord[] | undefined): Resolver {
  const answers: Record<string, Answer> = {
    'dest.example MX': records([{ exchange: 'mx.dest.example', priority: 10 }]),
    'mx.dest.example A': records(['127.0.0.1']),
    ...(tlsa === undefined ? {} : { _TLSA: records(tlsa) }),
  };
  return {
    resolve: async (name, type) =>
      (answers[`${type === 'TLSA' ? '_' : `${name} `}${type}`] ?? { kind: 'nodata' }) as never,
  };
}

/** As much of a queue as one worker sees; its clock is `time`. */
function handQueue(marks: Map<string, Uint8Array>) {
  let worker: Worker | undefined;
  const added: NewJob[] = [];
  const queue: Partial<Queue> = {
    maxBodyBytes: 30_000_000,
    addsMarksAtomically: true,
    add: async (jobs, options) => {
      added.push(...jobs);
      for (const mark of options?.marks ?? ([] as Mark[])) marks.set(mark.key, mark.value);
      return jobs.map(({ id }) => ({ id, added: true }));
    },
    work: (_rule, given) => {
      worker = given;
      return { stop: async () => undefined };
    },
    getMark: async (key) => marks.get(key),
    setMark: async (key, value) => void marks.set(key, value),
    health: async () => ({ ok: true }),
  };
  return { queue: queue as Queue, added, attempt: async (job: Job) => worker!(job, new AbortController().signal) };
}

function logTo(
  hear: NonNullable<LifeOptions['log']> = () => undefined,
): Record<'debug' | 'info' | 'warn' | 'error', Said> {
  const at = (level: string) => (fields: object, message: string) => hear(level, fields, message);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export async function lifeOf(options: LifeOptions): Promise<Life> {
  const dir = await mkdtemp(join(tmpdir(), 'epost-hostile-'));
  const startedAt = Date.now();
  let time = startedAt;
  const notices: NoticeFacts[] = [];
  const events: Life['events'][number][] = [];
  const { queue, attempt } = handQueue(options.marks ?? new Map<string, Uint8Array>());
  const relay = startRelay({
    queue,
    storage: openGate,
    post: {
      onRelayRequest: () => () => undefined,
      sendNotice: async (facts) => {
        const told = options.tell?.(facts) ?? { kind: 'sent' };
        if (told.kind === 'sent') notices.push(facts);
        return told;
      },
      fetch: async () => new Uint8Array(),
      store: async () => ({}),
    },
    resolver: resolverOf(options.tlsa),
    settings: {
      mxPort: options.port,
      allowPrivate: true,
      validating: options.tlsa !== undefined,
      times: { ...patient, ...options.times },
      ...options.settings,
    },
    ledgerDir: join(dir, 'ledger'),
    tlsReportDir: join(dir, 'tls-reports'),
    hostname: 'gw.example.org',
    returnPaths: returnPaths(Buffer.alloc(32, 1)),
    ring: { name: 'example.org', domains: ['example.org'] },
    dkim: () => [],
    decide: () => {
      throw new Error('nothing is decided here');
    },
    maxMessageBytes: 30_000_000,
    now: () => time,
    random: () => 0.5,
    log: logTo(options.log),
    trace: (_id, event) => events.push(event),
  });
  const recipients = [...(options.recipients ?? ['a@dest.example'])];
  const body = encodeRelayBody({
    version: 1,
    trace: 'trace-1',
    identity: 'alice@example.org',
    envelopeFrom: 'alice@example.org',
    recipients,
    arrivedAt: startedAt,
    message: { kind: 'inline', bytes: options.message ?? shortMessage },
    ...options.body,
  });
  let job: Job = {
    id: 'relay 1 dest.example',
    lane: 'out:dest.example',
    state: 'running',
    body,
    about: {},
    createdAt: startedAt,
    dueAt: startedAt,
    attempts: [],
    attemptCount: 0,
  };
  const whys: string[] = [];
  let tries = 0;
  try {
    for (let left = options.attempts ?? 200; ; left -= 1) {
      const toldBefore = notices.length;
      const result = await attempt(job);
      whys.push(result.why);
      if (!result.why.startsWith('the sender ')) tries += 1;
      const isOver = result.kind === 'done' || result.kind === 'never' || left <= 1;
      if (isOver) {
        const told = notices.flatMap((notice) =>
          notice.recipients.map(({ address, action, status }) => `${address} ${action} ${status}`),
        );
        return { end: result.kind, tries, whys, notices, told, tookMs: time - startedAt, events };
      }
      if (notices.length > toldBefore + 1) throw new Error('an attempt tells of one thing');
      if (result.kind === 'put-off') throw new Error(`put off: ${result.why}`);
      time = Math.max(time + 1, result.at);
      const { progress = job.progress } = result;
      job = { ...job, attemptCount: job.attemptCount + 1, ...(progress === undefined ? {} : { progress }) };
    }
  } finally {
    await relay.stop(0);
    await rm(dir, { recursive: true, force: true });
  }
}
