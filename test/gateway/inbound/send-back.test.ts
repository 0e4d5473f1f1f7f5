import { decode } from '@ipld/dag-cbor';
import { beforeEach, describe, expect, it } from 'vitest';
import type { InboundJob } from '../../../gateway/inbound/job.ts';
import { type SentBack, sendBack, sentBackJob } from '../../../gateway/inbound/send-back.ts';
import type { Domain } from '../../../policy/address.ts';

const report = [
  'From: mailer-daemon@far.example',
  'Date: Tue, 24 Nov 2026 12:00:00 +0000',
  'Message-ID: <1@far.example>',
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
  '--b--',
  '',
].join('\r\n');

let sent: SentBack[];
let told: object[];
beforeEach(() => {
  [sent, told] = [[], []];
});

async function comesBack(text: string, dsn?: InboundJob['dsn']): Promise<string> {
  const parts = {
    hostname: 'mx.example.org',
    fetch: async () => new Uint8Array(),
    sendBack: async (back: SentBack) => void sent.push(back),
    trace: (trace: string, event: object) => void told.push({ trace, ...event }),
  };
  const job = { message: Buffer.from(text), trace: 't1', receivedAt: 1_000, dsn } as unknown as InboundJob;
  const { kind } = await sendBack(parts, job, { size: 0, hash: new Uint8Array() }, 'friend@sender.example');
  return kind;
}

interface Body {
  readonly envelopeFrom: string;
  readonly recipients: string[];
  readonly tls?: string;
  readonly message: { readonly bytes: Uint8Array };
}
const jobOf = (back: SentBack | undefined) => {
  if (back === undefined) throw new Error('nothing went back');
  const job = sentBackJob(back, 'example.org' as Domain);
  return { ...job, read: decode<Body>(job.body) };
};

describe('what comes back for something that was forwarded', () => {
  it('goes to its sender as a report, with the null sender, counted as automatic, and once', async () => {
    expect(await comesBack(report)).toBe('sent-back');
    const { id, lane, about, read } = jobOf(sent[0]);
    expect({ lane, automatic: about['automatic'] }).toEqual({
      lane: 'out:sender.example',
      automatic: 'friend@sender.example',
    });
    expect(read).toMatchObject({ envelopeFrom: '', recipients: ['friend@sender.example'] });
    expect(read.tls).toBeUndefined();
    expect(Buffer.from(read.message.bytes).toString()).toMatch(
      /^Received: .* by mx\.example\.org\r\n[^]*Status: 5\.1\.1/,
    );
    await comesBack(report);
    expect(jobOf(sent[1]).id).toBe(id);
  });

  it('requires TLS where it came so (RFC 8689 §5)', async () => {
    await comesBack(report, { requireTls: true, recipients: {} });
    expect(jobOf(sent[0]).read.tls).toBe('required');
  });

  it.each([
    ['is no report', 'Subject: buy\r\n\r\nthis\r\n'],
    ['is larger than a report', `${report}${'x'.repeat(300_000)}`],
    ['has been here again and again', `${'Received: from a by mx.example.org id x; y\r\n'.repeat(6)}${report}`],
  ])('and %s goes nowhere', async (_why, text) => {
    expect(await comesBack(text)).toBe('dropped');
    expect(sent).toEqual([]);
    expect(told).toEqual([{ trace: 't1', what: 'dropped', to: 'friend@sender.example' }]);
  });
});
