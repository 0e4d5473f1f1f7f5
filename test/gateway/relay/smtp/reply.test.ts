import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { extensionsOf } from '../../../../gateway/relay/smtp/extensions.ts';
import { type Reply, ReplyFault, ReplyReader } from '../../../../gateway/relay/smtp/reply.ts';

function read(text: string, step: number): Reply[] {
  const reader = new ReplyReader();
  const bytes = Buffer.from(text);
  const replies: Reply[] = [];
  for (let at = 0; at < bytes.length; at += step) replies.push(...reader.feed(bytes.subarray(at, at + step)));
  return replies;
}

describe('replies', () => {
  const rows: readonly [why: string, text: string, replies: readonly (readonly [number, readonly string[]])[]][] = [
    ['one line', '250 OK\r\n', [[250, ['OK']]]],
    ['a code alone is a reply (RFC 5321 §4.2)', '250\r\n', [[250, ['']]]],
    ['several lines are one reply', '250-one\r\n250-two\r\n250 three\r\n', [[250, ['one', 'two', 'three']]]],
    [
      'replies in a row',
      '250 a\r\n550 5.1.1 b\r\n',
      [
        [250, ['a']],
        [550, ['5.1.1 b']],
      ],
    ],
    ['a line that ends in LF alone is read', '250 a\n', [[250, ['a']]]],
    ['text beyond ASCII is kept', '250 gr\u00fc\u00dfe\r\n', [[250, ['gr\u00fc\u00dfe']]]],
    ['a CR inside a line ends nothing', '250 a\rb\r\n', [[250, ['a\rb']]]],
  ];
  it.for(rows)('%s', ([, text, wanted]) => {
    for (const step of [1, 2, 3, 5, 1_000]) {
      const replies = read(text, step);
      expect(replies.map(({ code, lines }) => [code, lines])).toEqual(wanted);
      expect(replies.map((reply) => reply.text).join('')).toBe(text);
    }
  });

  const faults: readonly [why: string, text: string][] = [
    ['no code', 'hello\r\n'],
    ['a code that no reply has', '199 x\r\n'],
    ['another code in the middle', '250-a\r\n550 b\r\n'],
    ['TLS where words are expected', '\u0016\u0003\u0001\n'],
    ['an empty line', '\r\n'],
    ['a line without end', 'x'.repeat(70_000)],
    ['lines without end', '250-x\r\n'.repeat(20_000)],
  ];
  it.for(faults)('%s is refused', ([, text]) => {
    expect(() => read(text, 1_000)).toThrow(ReplyFault);
  });

  it('whatever comes is a reply or a refusal, however it is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 20 }), (bytes, step) => {
        const outcome = (size: number): string => {
          try {
            return JSON.stringify(read(Buffer.from(bytes).toString('latin1'), size));
          } catch (error) {
            expect(error).toBeInstanceOf(ReplyFault);
            return 'refused';
          }
        };
        expect(outcome(step)).toBe(outcome(1_000));
      }),
    );
  });
});

describe('what a server can do', () => {
  it('is read from its answer to EHLO, whatever the case', () => {
    const lines = [
      'mx.example',
      'pipelining',
      'SIZE 1000',
      '8BITMIME',
      'AUTH PLAIN LOGIN',
      'AUTH=LOGIN',
      'LIMITS RCPTMAX=20',
      'X-ODD',
    ];
    expect(extensionsOf(lines)).toMatchObject({
      pipelining: true,
      size: { max: 1000 },
      eightBit: true,
      utf8: false,
      chunking: false,
      maxRecipients: 20,
      auth: new Set(['PLAIN', 'LOGIN']),
    });
  });
  it('SIZE without a number, with zero or with nonsense is no limit', () => {
    for (const line of ['SIZE', 'SIZE 0', 'SIZE many'])
      expect(extensionsOf(['x', line]).size).toEqual({ max: undefined });
    expect(extensionsOf(['x']).size).toBeUndefined();
  });
  it('the first line is the greeting, whatever it says', () => {
    expect(extensionsOf(['STARTTLS']).startTls).toBe(false);
  });
});
