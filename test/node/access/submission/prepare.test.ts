import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { submissionLimits } from '../../../../node/access/submission/limits.ts';
import { prepare } from '../../../../node/access/submission/prepare.ts';
import { headerEnd, headerProblem, wireProblem } from '../../../../node/access/submission/wire-check.ts';
import type { Ownership } from '../../../../node/mail/ring-names.ts';
import type { Domain } from '../../../../policy/address.ts';

const now = Date.UTC(2026, 0, 2, 12);
const circumstances = {
  sender: 'alice@example.org',
  hostname: 'node.example.org',
  domain: 'example.org' as Domain,
  protocol: 'ESMTPSA' as const,
  now,
  ownership: async (address: string): Promise<Ownership> =>
    address.toLowerCase() === 'alice@example.org' ? 'own' : 'foreign',
};

async function prepared(text: string, at = now): Promise<string> {
  const message = Buffer.from(text.replaceAll('\n', '\r\n'));
  const result = await prepare(message, headerEnd(message), { ...circumstances, now: at });
  return result.kind === 'message'
    ? result.bytes.toString().replaceAll('\r\n', '\n')
    : `${result.reply.code} ${result.reply.enhanced} ${result.reply.text}`;
}

const whole =
  'From: Alice <alice@example.org>\nDate: Fri, 2 Jan 2026 10:00:00 +0000\nMessage-ID: <1@example.org>\nTo: bob@example.org\n\nhi\n';

describe('a submitted message', () => {
  it('keeps every octet below one Received field that does not name the user’s machine', async () => {
    const out = await prepared(whole);
    expect(out.endsWith(whole)).toBe(true);
    expect(out.slice(0, -whole.length)).toMatch(
      /^Received: by node\.example\.org \(ePOST\) with ESMTPSA id [0-9a-f]{32};\n\tFri, 02 Jan 2026 10:00:00 \+0000\n$/,
    );
  });

  it('is the same octet by octet when it is submitted again later', async () => {
    expect(await prepared(whole, now + 3_600_000)).toBe(await prepared(whole));
  });

  it('an incredible Date is not repeated in Received', async () => {
    expect(await prepared(whole.replace('2026', '1999'))).toContain('\tFri, 02 Jan 2026 12:00:00 +0000\n');
  });

  it('loses its Bcc, folded or not, and gets a Date and a Message-ID where it has none', async () => {
    const out = await prepared(
      'From: alice@example.org\nBcc: carol@example.net,\n dave@example.net\nbcc: erin@example.net\nX: 1\n\nhi\n',
    );
    expect(out).not.toMatch(/bcc|carol|dave|erin/i);
    expect(out).toMatch(
      /\nDate: Fri, 02 Jan 2026 12:00:00 \+0000\nMessage-ID: <[0-9a-f]{32}@example\.org>\nFrom: alice@example\.org\nX: 1\n\nhi\n$/,
    );
  });

  it('a header without a body gets the empty line', async () => {
    expect(await prepared('From: alice@example.org\n')).toMatch(/\nFrom: alice@example\.org\n\n$/);
  });

  it.each([
    ['no author', 'Subject: x\n\n', 'a message has exactly one From field'],
    ['two From fields', 'From: alice@example.org\nFrom: alice@example.org\n\n', 'a message has exactly one From field'],
    ['somebody else', 'From: bob@example.org\n\n', 'you may not write as bob@example.org, which the From field names'],
    [
      'oneself and somebody else',
      'From: alice@example.org, bob@example.org\n\n',
      'you may not write as bob@example.org, which the From field names',
    ],
    ['a group', 'From: us: alice@example.org;\n\n', 'the From field cannot be read for certain'],
    [
      'another in Sender',
      'From: alice@example.org\nSender: bob@example.org\n\n',
      'you may not write as bob@example.org, which the Sender field names',
    ],
    [
      'two Senders',
      'From: alice@example.org\nSender: alice@example.org\nSender: alice@example.org\n\n',
      'a message has at most one Sender field',
    ],
  ])('is refused that names %s', async (_, text, reason) => expect(await prepared(text)).toBe(`550 5.7.1 ${reason}`));
});

describe('the wire', () => {
  const checked = async (octets: string): Promise<string | undefined> => {
    const message = Buffer.from(octets, 'latin1');
    const problem =
      (await wireProblem(message, submissionLimits)) ?? headerProblem(message, headerEnd(message), submissionLimits);
    return problem && `${problem.code} ${problem.enhanced}`;
  };
  it.each<[string, string, string | undefined]>([
    ['lines that end in CRLF pass', 'A: b\r\n\r\nc\r\n', undefined],
    ['a bare LF', 'A: b\r\n\r\nc\nd\r\n', '554 5.6.0'],
    ['a bare LF at the very beginning', '\nA: b\r\n\r\n', '554 5.6.0'],
    ['a bare CR', 'A: b\r\n\r\nc\rd\r\n', '554 5.6.0'],
    ['two CR before the LF', 'A: b\r\n\r\nc\r\r\n', '554 5.6.0'],
    ['a bare CR at the end', 'A: b\r\n\r\nc\r', '554 5.6.0'],
    ['NUL', 'A: b\r\n\r\n\0\r\n', '554 5.6.0'],
    ['a line of 998 octets passes', `A: b\r\n\r\n${'x'.repeat(998)}\r\n`, undefined],
    ['a line of 999 octets', `A: b\r\n\r\n${'x'.repeat(999)}\r\n`, '554 5.6.0'],
    ['1,001 fields', `${'A: b\r\n'.repeat(1_001)}\r\n`, '552 5.3.4'],
    ['a header of 300 KB', `A: b\r\n${` ${'x'.repeat(900)}\r\n`.repeat(330)}\r\n`, '552 5.3.4'],
    ['a line in the header that is no field', 'A: b\r\nhello\r\n\r\n', '554 5.6.0'],
    ['a continuation of nothing', ' b\r\nA: b\r\n\r\n', '554 5.6.0'],
  ])('%s', async (_, octets, expected) => expect(await checked(octets)).toBe(expected));

  it('passes exactly what has no CR or LF outside CRLF', async () => {
    const piece = fc.constantFrom('\r', '\n', '\r\n', 'a', ': ', '.');
    await fc.assert(
      fc.asyncProperty(fc.array(piece), async (pieces) => {
        const octets = pieces.join('');
        const clean = !/\r(?!\n)|(?<!\r)\n/.test(octets);
        expect((await wireProblem(Buffer.from(octets), submissionLimits)) === undefined).toBe(clean);
      }),
    );
  });
});
