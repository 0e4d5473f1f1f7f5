import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultRetry, nextTryAt } from '../../../gateway/relay/backoff.ts';
import { Ledger } from '../../../gateway/relay/ledger.ts';
import { noticeFacts } from '../../../gateway/relay/notice.ts';
import { isPermanent, type Outcome, shortReply, statusOf } from '../../../gateway/relay/outcome.ts';
import { inOrder, rfc5322Date, wireFault } from '../../../gateway/relay/relay-headers.ts';
import { decodeProgress, encodeProgress } from '../../../gateway/relay/relay-job.ts';

describe('the ledger', () => {
  test('remembers over a restart, for a week, and survives a cut line', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'epost-ledger-'));
    let now = Date.now();
    const first = new Ledger(dir, () => now);
    first.write('job 1', ['a@x', 'b@x']);
    // No close: as after a kill. The next line was cut.
    const [file = ''] = await readdir(dir);
    await appendFile(join(dir, file), 'cut-off');
    const second = new Ledger(dir, () => now);
    const known = async () =>
      Promise.all(['a@x', 'b@x', 'c@x'].map(async (recipient) => second.has('job 1', recipient)));
    expect([...(await known()), await second.has('job 2', 'a@x')]).toEqual([true, true, false, false]);
    second.write('job 3', ['c@x']);
    // What came after the cut line is not part of it.
    const third = new Ledger(dir, () => now);
    expect(await third.has('job 3', 'c@x')).toBe(true);
    third.close();
    now += 6 * 86_400_000;
    second.write('job 4', ['d@x']);
    expect(await known()).toEqual([true, true, false]);
    now += 2 * 86_400_000;
    second.write('job 5', ['e@x']);
    expect([...(await known()), await second.has('job 4', 'd@x')]).toEqual([false, false, false, true]);
    expect(await readdir(dir)).toHaveLength(2);
    first.close();
    second.close();
    await rm(dir, { recursive: true });
  });
});

describe('a ledger that gateways share', () => {
  const atHome = async (use: (dirs: [string, string]) => Promise<void>): Promise<void> => {
    const dirs = await Promise.all([1, 2].map(async () => mkdtemp(join(tmpdir(), 'epost-ledger-'))));
    await use(dirs as [string, string]);
    await Promise.all(dirs.map(async (dir) => rm(dir, { recursive: true })));
  };

  test('tells another gateway, whose disk is another, what was taken', async () => {
    await atHome(async ([one, two]) => {
      const kept = new Map<string, Uint8Array>();
      const marks = {
        getMark: async (key: string) => kept.get(key),
        setMark: async (key: string, value: Uint8Array) => void kept.set(key, value),
      };
      const [first, second] = [new Ledger(one, Date.now, marks), new Ledger(two, Date.now, marks)];
      first.write('job 1', ['a@x']);
      await first.shared('job 1');
      expect([await second.has('job 1', 'a@x'), await second.has('job 1', 'b@x')]).toEqual([true, false]);
      first.close();
      second.close();
    });
  });

  test('says so where the others could not be told or asked, and knows its own all the same', async () => {
    await atHome(async ([one]) => {
      const away = async () => Promise.reject(new Error('Redis is away'));
      const ledger = new Ledger(one, Date.now, { getMark: away, setMark: away });
      ledger.write('job 1', ['a@x']);
      await expect(ledger.shared('job 1')).rejects.toThrow('away');
      expect(await ledger.has('job 1', 'a@x')).toBe(true);
      await expect(ledger.has('job 1', 'b@x')).rejects.toThrow('away');
      ledger.close();
    });
  });
});

describe('back-off', () => {
  test('grows to its end, never beyond, and is spread by a fifth', () => {
    const at = (failures: number, chance: number) => nextTryAt(defaultRetry, failures, 0, () => chance);
    expect([1, 2, 3, 4].map((n) => at(n, 0.5))).toEqual([60_000, 120_000, 240_000, 480_000]);
    expect([at(1, 0), at(1, 1), at(1_000, 0.5)]).toEqual([48_000, 72_000, 4 * 3_600_000]);
    fc.assert(
      fc.property(fc.nat(10_000), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
        expect(at(failures, chance)).toBeGreaterThanOrEqual(48_000);
        expect(at(failures, chance)).toBeLessThanOrEqual(1.2 * 4 * 3_600_000);
      }),
    );
  });
});

describe('replies of mail servers', () => {
  test.each([
    ['an enhanced code is used', '550 5.1.1 no such user', true, '5.1.1'],
    ['one of several lines too', '550-5.7.1 first\n550 5.7.1 second', true, '5.7.1'],
    ['one of another class is not', '550 2.1.1 confused', true, '5.0.0'],
    ['without one it is the generic one', '451 later', false, '4.0.0'],
    ['a number in the text is none', '451 see 5.1.1', false, '4.0.0'],
  ])('%s', (_, reply, permanent, status) => {
    expect(statusOf(reply, permanent)).toBe(status);
  });

  test.each([
    [550, 'RCPT', true],
    [552, 'RCPT', false],
    [552, 'other', true],
    [503, 'other', false],
    [450, 'RCPT', false],
    [250, 'other', false],
  ] as const)('%i to %s: permanent %s', (code, command, expected) => {
    expect(isPermanent(code, command)).toBe(expected);
  });

  test('what is shown has no control characters and an end', () => {
    expect(shortReply('550-a\r\n550 b\u0007\u001b[31m')).toBe('550-a / 550 b??[31m');
    expect(shortReply('x'.repeat(100_000)).length).toBeLessThan(2_000);
  });
});

describe('a message before it goes out', () => {
  const facts = { hostname: 'gw', ring: 'r', trace: 't', now: 0, uniquePart: 'u' };

  test('is changed in nothing but what must be', async () => {
    const given =
      'Return-Path: <x>\r\nBcc: a,\r\n b\r\nX-ePOST-Class: me\r\nDate: d\r\nMessage-ID: <i>\r\nFrom: f\r\n\r\nBcc: no\r\n';
    const { message, received } = await inOrder(Buffer.from(given), facts);
    expect(Buffer.from(message).toString()).toBe('Date: d\r\nMessage-ID: <i>\r\nFrom: f\r\n\r\nBcc: no\r\n');
    expect(Buffer.from(received).toString()).toBe(
      'Received: from r (ePOST ring) by gw\r\n\tid t; Thu, 1 Jan 1970 00:00:00 +0000\r\n',
    );
    expect(rfc5322Date(Date.UTC(2026, 10, 23, 4, 5, 6))).toBe('Mon, 23 Nov 2026 04:05:06 +0000');
  });

  test('gets no field from what a user chose as its trace', async () => {
    const trace = 't\r\nFrom: bob@example.org\r\nX: y';
    const { received } = await inOrder(Buffer.from('From: f\r\n\r\n'), { ...facts, trace });
    expect(
      Buffer.from(received)
        .toString()
        .match(/^[A-Z][a-z]*:/gm),
    ).toEqual(['Received:']);
  });

  test('any body goes through as it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (body) => {
        const head = Buffer.from('From: f\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n');
        const given = Buffer.concat([head, body]);
        expect(Buffer.compare(Buffer.from((await inOrder(given, facts)).message), given)).toBe(0);
      }),
    );
  });

  test('with bare line ends anywhere does not go', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.constantFrom('a', '\r', '\n', '\r\n', '.'), maxLength: 30 }),
        async (text) => {
          const bare = /\r(?!\n)|(?<!\r)\n/.test(text);
          expect(await wireFault(Buffer.from(`a: b\r\n\r\n${text}`))).toBe(bare ? 'bare-newline' : undefined);
        },
      ),
    );
  });
});

describe('what a job remembers', () => {
  test('comes back as it was', () => {
    const outcomes = new Map<string, Outcome>([
      ['a@x', { kind: 'delivered', at: 1, host: 'h', reply: '250 ok', takesDsn: true }],
      ['b@x', { kind: 'never', at: 2, status: '5.4.4', reply: 'no way' }],
      ['c@x', { kind: 'later', at: 3, host: 'h', status: '4.2.1', reply: '450 busy' }],
    ]);
    const progress = { outcomes, told: ['b@x'], delayedAt: 4 };
    expect(decodeProgress(encodeProgress(progress))).toEqual(progress);
    expect(decodeProgress(undefined)).toEqual({ outcomes: new Map(), told: [] });
  });
});

describe('a notice', () => {
  test('quotes the host where one spoke, and says what happens next', () => {
    const facts = noticeFacts({
      action: 'delayed',
      hostname: 'gw',
      sender: 's@x',
      recipients: [
        { address: 'a@x', outcome: { kind: 'later', at: 1, host: 'mx', status: '4.2.1', reply: '450 4.2.1 busy' } },
        { address: 'b@x', outcome: { kind: 'later', at: 1, status: '4.4.1', reply: 'nobody answers' } },
      ],
      originalHeader: new Uint8Array(),
      arrivedAt: 0,
      at: 1,
      giveUpAt: Date.UTC(2026, 0, 1),
      trace: 't',
    });
    expect(facts.recipients.map(({ diagnostic, remoteMta }) => [diagnostic, remoteMta])).toEqual([
      ['smtp; 450 4.2.1 busy', 'mx'],
      [undefined, undefined],
    ]);
    expect(facts.recipients[0]?.text).toContain('until Thu, 01 Jan 2026');
  });
});
