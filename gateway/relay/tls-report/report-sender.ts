/** Sends each domain that wants it the report of a day that is over (RFC 8460 §4.1), once, also over restarts: what was sent is a mark of the queue. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NewJob, Queue } from '../../../queue/queue.ts';
import type { DkimKey } from '../../dkim/keys.ts';
import { dkimSignatures } from '../../dkim/sign.ts';
import type { Resolver } from '../../dns/answer.ts';
import type { RelayLog, Trace } from '../deliver-parts.ts';
import type { HttpsHostOptions } from '../https-host.ts';
import { domainOfRecipient, encodeRelayBody, lanePrefix } from '../relay-job.ts';
import type { DayCounts } from './day-tally.ts';
import { type Reporter, tlsReport } from './report.ts';
import { compressedReport, type ReportFacts, reportMail } from './report-mail.ts';
import { postReport } from './report-post.ts';
import { type Destination, reportDestinations } from './rua.ts';
import { daysIn, readDay } from './tls-book.ts';

export interface ReportSenderParts {
  readonly folder: string;
  readonly queue: Pick<Queue, 'add' | 'getMark' | 'setMark'>;
  readonly resolver: Resolver;
  readonly reporter: Reporter;
  readonly dkim: (domain: string) => readonly DkimKey[];
  readonly https: HttpsHostOptions;
  readonly now: () => number;
  readonly random: () => number;
  readonly newTraceId: () => string;
  readonly log: RelayLog;
  readonly trace: Trace;
}

const dayMs = 86_400_000;
/** RFC 8460 §4.1: not all at midnight; the time for a last try of what could not be sent is long enough, too. */
const spreadMs = 4 * 3_600_000;
/** What a host did not take is brought again at this pace. */
const lookEveryMs = 3_600_000;
/** A gateway that was off over a weekend tells of the days before. */
const lateDays = 3;
/** A little longer than the counts are kept. */
const rememberMs = 40 * dayMs;

export interface ReportSender {
  /** Resolves when what was due at the start is sent, or cannot be now. Never rejects. */
  readonly firstLook: Promise<void>;
  stop(): Promise<void>;
}

export function startReportSender(parts: ReportSenderParts): ReportSender {
  const sender = new Sender(parts);
  const stopped = new AbortController();
  const firstLook = sender.run(stopped.signal);
  const looking = (async () => {
    await firstLook;
    while (!stopped.signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined);
      await sender.run(stopped.signal);
    }
  })();
  return {
    firstLook,
    async stop() {
      stopped.abort();
      await looking;
    },
  };
}

class Sender {
  readonly #parts: ReportSenderParts;
  readonly #offsetMs: number;

  constructor(parts: ReportSenderParts) {
    this.#parts = parts;
    this.#offsetMs = Math.floor(parts.random() * spreadMs);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { folder, now, log } = this.#parts;
    const at = now();
    for (const day of daysIn(folder)) {
      const endedAt = Date.parse(`${day}T00:00:00Z`) + dayMs;
      const counts =
        endedAt + this.#offsetMs <= at && endedAt + lateDays * dayMs > at ? readDay(folder, day) : undefined;
      for (const domain of new Set(counts?.policies.map((policy) => policy.domain))) {
        if (signal.aborted || counts === undefined) return;
        try {
          await this.#send(counts, domain);
        } catch (error) {
          log.warn({ domain, day, error: String(error) }, 'a TLS report could not be made ready; it is tried again');
        }
      }
    }
  }

  async #send(counts: DayCounts, domain: string): Promise<void> {
    const { queue, resolver, reporter } = this.#parts;
    const key = `tls-report ${reporter.domain} ${counts.day} ${domain}`;
    if ((await queue.getMark(key)) !== undefined) return;
    const answer = await resolver.resolve(`_smtp._tls.${domain}`, 'TXT');
    if (answer.kind === 'unknown') return;
    const report = tlsReport(counts, domain, reporter);
    const destinations = answer.kind === 'records' ? reportDestinations(answer.records) : [];
    if (report === undefined) return;
    const facts = { day: counts.day, domain, reporter, report };
    const jobs: NewJob[] = [];
    let isWaiting = false;
    for (const destination of destinations) {
      if (destination.kind === 'mailto') jobs.push(await this.#mail(facts, destination));
      else isWaiting = !(await this.#post(facts, destination, key)) || isWaiting;
    }
    const mark = { key, value: Buffer.from('sent'), expiresAt: this.#parts.now() + rememberMs };
    // The mail is in the queue before the domain counts as told; the same jobs again are the same.
    if (jobs.length > 0) await queue.add(jobs, isWaiting ? {} : { marks: [mark] });
    else if (!isWaiting) await queue.setMark(mark.key, mark.value, mark.expiresAt);
  }

  async #mail(facts: ReportFacts, { address }: Destination & { kind: 'mailto' }): Promise<NewJob> {
    const { dkim, reporter, newTraceId, log } = this.#parts;
    // Of the day, so that what is made again is the same.
    const at = Date.parse(`${facts.day}T00:00:00Z`) + dayMs;
    const message = reportMail(facts, address, at);
    const domain = domainOfRecipient(reporter.contact);
    const keys = dkim(domain);
    if (keys.length === 0) log.warn({ domain }, 'no DKIM key: a TLS report goes out unsigned, which few take');
    const signatures = keys.length === 0 ? Buffer.alloc(0) : await dkimSignatures(message, { domain, keys, now: at });
    const trace = newTraceId();
    const body = encodeRelayBody({
      version: 1,
      trace,
      identity: `mailer-daemon@${domain}`,
      envelopeFrom: reporter.contact,
      recipients: [address],
      // Nobody wants to hear that nobody reads them.
      dsn: [[address, { notify: ['NEVER'] }]],
      tls: 'optional',
      arrivedAt: this.#parts.now(),
      message: { kind: 'inline', bytes: Buffer.concat([signatures, message]) },
    });
    const about = { kind: 'tls-report', trace, sender: reporter.contact, recipients: [address] };
    this.#parts.trace(trace, { what: 'tls-report', about: facts.domain, day: facts.day, to: address });
    return {
      id: `tls-report ${reporter.domain} ${facts.day} ${facts.domain} ${address}`,
      lane: `${lanePrefix}${domainOfRecipient(address)}`,
      body,
      about: { ...about, domain: facts.domain, automatic: address },
    };
  }

  /** Whether it need not be tried again. A crash between the answer and its mark sends it once more, under the same id. */
  async #post(
    { day, domain, report }: ReportFacts,
    { url }: Destination & { kind: 'https' },
    key: string,
  ): Promise<boolean> {
    const { queue, https, log, now } = this.#parts;
    const own = `${key} ${url.href}`.slice(0, 250);
    if ((await queue.getMark(own)) !== undefined) return true;
    const why = await postReport(url, compressedReport(report), https);
    if (why !== undefined) {
      log.info({ domain, day, host: url.host, reason: why }, 'a TLS report was not taken; it is brought again');
      return false;
    }
    log.info({ domain, day, host: url.host }, 'a TLS report was brought');
    await queue.setMark(own, Buffer.from('sent'), now() + rememberMs);
    return true;
  }
}
