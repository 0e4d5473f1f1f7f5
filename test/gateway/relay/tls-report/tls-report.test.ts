import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DayTally, dayOf } from '../../../../gateway/relay/tls-report/day-tally.ts';
import { tlsReport } from '../../../../gateway/relay/tls-report/report.ts';
import {
  type AppliedPolicy,
  certificateFailure,
  noPolicy,
  sessionFailure,
} from '../../../../gateway/relay/tls-report/session-result.ts';
import { readDay, TlsBook } from '../../../../gateway/relay/tls-report/tls-book.ts';

const day = '2026-11-26';
const noon = Date.parse(`${day}T12:00:00Z`);
const sts: AppliedPolicy = { type: 'sts', strings: ['version: STSv1', 'mode: testing'], mx: ['*.dest.test'] };
const server = { name: 'mx.dest.test', address: '192.0.2.1' };
const reporter = { organization: 'example.org', contact: 'postmaster@example.org', domain: 'mx.example.org' };

describe('what a session proved', () => {
  const rows: readonly [string, AppliedPolicy, 'plain' | 'encrypted' | 'verified', string, string | undefined][] = [
    ['mail without TLS is a failure of STARTTLS, whatever the policy', noPolicy, 'plain', '', 'starttls-not-supported'],
    ['without a policy any TLS will do', noPolicy, 'encrypted', 'DEPTH_ZERO_SELF_SIGNED_CERT', undefined],
    ['under a policy in testing the certificate counts', sts, 'encrypted', 'CERT_HAS_EXPIRED', 'certificate-expired'],
    ['another name', sts, 'encrypted', 'ERR_TLS_CERT_ALTNAME_INVALID', 'certificate-host-mismatch'],
    ['nobody vouches for it', sts, 'encrypted', 'SELF_SIGNED_CERT_IN_CHAIN', 'certificate-not-trusted'],
    ['what is verified is fine', sts, 'verified', '', undefined],
  ];
  it.each(rows)('%s', (_why, policy, level, certificateTrouble, wanted) => {
    expect(sessionFailure(policy, { level, certificateTrouble })?.type).toBe(wanted);
  });

  it('an unknown reason is a certificate that is not trusted', () => {
    expect(certificateFailure('')).toBe('certificate-not-trusted');
  });
});

describe('a day', () => {
  it('is counted by domain and policy, equal failures together, and reported in the words of RFC 8460', () => {
    const tally = new DayTally(day);
    tally.add({ domain: 'dest.test', policy: sts, server });
    for (const reason of ['CERT_HAS_EXPIRED', 'CERT_HAS_EXPIRED'])
      tally.add({ domain: 'dest.test', policy: sts, server, failure: { type: 'certificate-expired', reason } });
    tally.add({ domain: 'other.test', policy: noPolicy, server });
    expect(tlsReport(tally.counts(), 'dest.test', reporter)).toEqual({
      'organization-name': 'example.org',
      'date-range': { 'start-datetime': `${day}T00:00:00Z`, 'end-datetime': `${day}T23:59:59Z` },
      'contact-info': 'postmaster@example.org',
      'report-id': `${day}_dest.test@mx.example.org`,
      policies: [
        {
          policy: {
            'policy-type': 'sts',
            'policy-string': ['version: STSv1', 'mode: testing'],
            'policy-domain': 'dest.test',
            'mx-host': ['*.dest.test'],
          },
          summary: { 'total-successful-session-count': 1, 'total-failure-session-count': 2 },
          'failure-details': [
            {
              'result-type': 'certificate-expired',
              'receiving-mx-hostname': 'mx.dest.test',
              'receiving-ip': '192.0.2.1',
              'failed-session-count': 2,
              'failure-reason-code': 'CERT_HAS_EXPIRED',
            },
          ],
        },
      ],
    });
    expect(tlsReport(tally.counts(), 'absent.test', reporter)).toBeUndefined();
  });

  it('a domain that fails in ever new ways fills a bounded part of memory, and is still counted', () => {
    const tally = new DayTally(day);
    for (let n = 0; n < 500; n += 1)
      tally.add({
        domain: 'dest.test',
        policy: noPolicy,
        server: { name: `mx${n}.dest.test`, address: '192.0.2.1' },
        failure: { type: 'validation-failure', reason: 'x'.repeat(10_000) },
      });
    const [policy] = tally.counts().policies;
    expect(policy?.failed).toBe(500);
    expect(policy?.failures.length).toBeLessThanOrEqual(50);
    expect(JSON.stringify(policy).length).toBeLessThan(50_000);
  });

  it('more domains than are kept are counted together', () => {
    const tally = new DayTally(day);
    for (let n = 0; n < 10_050; n += 1) tally.add({ domain: `d${n}.test`, policy: noPolicy });
    expect(tally.counts().policies).toHaveLength(10_000);
    expect(tally.counts().uncounted).toBe(50);
  });
});

describe('days on disk', () => {
  let folder = '';
  beforeEach(async () => {
    folder = path.join(await mkdtemp(path.join(tmpdir(), 'epost-tls-')), 'reports');
  });
  afterEach(() => rm(path.dirname(folder), { recursive: true }));

  const book = (now: () => number) =>
    new TlsBook({
      folder,
      now,
      onFault: (fault) => {
        throw fault;
      },
    });

  it('a restart goes on counting the same day, and another day begins anew', () => {
    let now = noon;
    for (let run = 0; run < 2; run += 1) {
      const open = book(() => now);
      open.add({ domain: 'dest.test', policy: noPolicy, server });
      open.stop();
    }
    expect(readDay(folder, day)?.policies).toMatchObject([{ successful: 2 }]);
    const open = book(() => now);
    now += 86_400_000;
    open.add({ domain: 'dest.test', policy: noPolicy, server });
    open.stop();
    expect(readDay(folder, dayOf(now))?.policies).toMatchObject([{ successful: 1 }]);
    expect(readDay(folder, day)?.policies).toMatchObject([{ successful: 2 }]);
  });

  it('days older than a month go', async () => {
    let now = noon;
    const open = book(() => now);
    open.add({ domain: 'dest.test', policy: noPolicy });
    now += 40 * 86_400_000;
    open.add({ domain: 'dest.test', policy: noPolicy });
    open.stop();
    expect(await readdir(folder)).toEqual([`${dayOf(now)}.json`]);
  });

  it('a damaged file is a day of which nothing is known, and no reason not to start', async () => {
    const open = book(() => noon);
    open.add({ domain: 'dest.test', policy: noPolicy });
    open.stop();
    await writeFile(path.join(folder, `${day}.json`), '{"version":1');
    expect(readDay(folder, day)).toBeUndefined();
    book(() => noon).stop();
  });
});
