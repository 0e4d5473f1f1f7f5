import { beforeEach, describe, expect, test } from 'vitest';
import { learnOfBounce } from '../../../gateway/relay/bounced-address.ts';
import { Suppression } from '../../../gateway/relay/suppression.ts';
import { readReport } from '../../../gateway/returns/report.ts';
import { zoneResolver } from '../evidence/zone.ts';

const resolver = zoneResolver({
  'dest.example': { MX: [{ exchange: 'mx.hoster.example', priority: 10 }] },
  'mx.hoster.example': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] },
  'quiet.example': 'silent',
});
let marks: Map<string, Uint8Array>;
let suppression: Suppression;
const now = () => 1_000_000;

beforeEach(() => {
  marks = new Map();
  const kept = {
    getMark: async (key: string) => marks.get(key),
    setMark: async (key: string, value: Uint8Array) => void marks.set(key, value),
  };
  suppression = new Suppression(kept, now);
});

const own = { ip: '192.0.2.1', name: '' };
function reportOf(address: string, status = '5.1.1', said = `550 ${status} no such user`, action = 'failed') {
  const text = [
    'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.dest.example',
    '',
    `Final-Recipient: rfc822; ${address}`,
    `Action: ${action}`,
    `Status: ${status}`,
    `Diagnostic-Code: smtp; ${said}`,
    '--b--',
    '',
  ].join('\r\n');
  const report = readReport(Buffer.from(text));
  const [recipient] = report.kind === 'delivery' ? report.recipients : [];
  if (recipient === undefined) throw new Error('no report');
  return recipient;
}
const learn = (recipient: ReturnType<typeof reportOf>, reporter: { ip: string; name: string }, trace: string) =>
  learnOfBounce({ suppression, resolver, now }, recipient, reporter, trace);
const isSuppressed = async (address: string) => (await suppression.look(address)).suppressed !== undefined;

describe('a bounce that comes later', () => {
  test('counts as one message that the address refused: two suppress it', async () => {
    const dead = reportOf('Bob@Dest.example');
    expect(await learn(dead, own, 'one')).toBeUndefined();
    expect(await learn(dead, own, 'one')).toBeUndefined();
    expect(await learn(dead, own, 'two')).toBe('bob@dest.example');
    expect((await suppression.look('bob@dest.example')).suppressed?.proofs).toMatchObject([
      { trace: 'one', said: '550 5.1.1 no such user' },
      { trace: 'two' },
    ]);
  });

  test('counts together with a refusal at RCPT', async () => {
    await suppression.refused('bob@dest.example', { at: 0, trace: 'one', status: '5.1.1', said: '550' });
    expect(await learn(reportOf('bob@dest.example'), own, 'two')).toBe('bob@dest.example');
  });

  test.each([
    ['a host under the domain', { ip: '198.51.100.9', name: 'out.dest.example' }, true],
    ['the domain itself', { ip: '198.51.100.9', name: 'dest.example' }, true],
    ['one of its mail servers by name', { ip: '198.51.100.9', name: 'mx.hoster.example' }, true],
    ['or by address', { ip: '2001:db8::1', name: '' }, true],
    ['nobody else', { ip: '198.51.100.9', name: 'mail.attacker.example' }, false],
    ['nor who only has such a name’s end', { ip: '198.51.100.9', name: 'notdest.example' }, false],
    ['nor who has no name', { ip: '198.51.100.9', name: '' }, false],
  ])('is believed of %s', async (_why, reporter, believed) => {
    for (const trace of ['one', 'two']) await learn(reportOf('bob@dest.example'), reporter, trace);
    expect(await isSuppressed('bob@dest.example')).toBe(believed);
  });

  test.each([
    ['policy', reportOf('bob@dest.example', '5.7.1', '550 5.7.1 not wanted')],
    [
      'policy under a code of addresses',
      reportOf('bob@dest.example', '5.1.1', '550 5.1.1 rejected, listed at spamhaus'),
    ],
    ['a full mailbox', reportOf('bob@dest.example', '5.2.2', '552 5.2.2 over quota')],
    ['a delay', reportOf('bob@dest.example', '4.4.7', '451 4.4.7 try later', 'delayed')],
    ['nothing in particular', reportOf('bob@dest.example', '5.0.0', '550 5.0.0 no')],
    ['a domain that cannot be looked up', reportOf('bob@quiet.example')],
    ['what is no address', reportOf('bob')],
  ])('that speaks of %s proves nothing', async (_why, recipient) => {
    for (const trace of ['one', 'two', 'three']) expect(await learn(recipient, own, trace)).toBeUndefined();
    expect(await suppression.list()).toEqual([]);
  });
});
