import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Framed, Framer } from '../../../../node/access/imap/wire/framer.ts';

const limits = { maxTextBytes: 200, maxLiterals: 3 };

/** Everything that comes out when the octets arrive in these portions and every literal up to 50 octets is taken. */
function framed(portions: readonly Buffer[], maxText = limits.maxTextBytes): string[] {
  const framer = new Framer(() => ({ ...limits, maxTextBytes: maxText }));
  const out: string[] = [];
  const drain = (): void => {
    for (;;) {
      const next = framer.next();
      if (next.kind === 'more') return;
      out.push(shown(next));
      if (next.kind === 'too-long') return;
      if (next.kind !== 'literal') continue;
      if (next.announcement.size <= 50) framer.takeLiteral();
      else framer.dropCommand();
    }
  };
  for (const portion of portions) {
    framer.push(portion);
    drain();
    if (out.at(-1)?.startsWith('too-long') === true) break;
  }
  return out;
}

function shown(next: Framed): string {
  if (next.kind === 'command')
    return next.segments.map(({ kind, bytes }) => `${kind}:${bytes.toString('latin1')}`).join('|');
  if (next.kind === 'literal')
    return `literal ${next.announcement.size}${next.announcement.waits ? '' : '+'} after ${next.announcement.text}`;
  return next.kind;
}

describe('the framer', () => {
  it.each([
    ['a line is a command', 'a NOOP\r\n', ['text:a NOOP']],
    ['a bare LF ends a line too', 'a NOOP\nb NOOP\r\n', ['text:a NOOP', 'text:b NOOP']],
    ['what has not ended is no command yet', 'a NOOP', []],
    [
      'a literal holds anything, line ends and announcements included',
      'a LOGIN {5}\r\n\r\n{3} {2+}\r\nxy\r\n',
      [
        'literal 5 after a LOGIN ',
        'literal 2+ after a LOGIN ',
        'text:a LOGIN |literal:\r\n{3}|text: |literal:xy|text:',
      ],
    ],
    ['an empty literal is one', 'a X {0}\r\n\r\n', ['literal 0 after a X ', 'text:a X |literal:|text:']],
    [
      'RFC 3516 §4.2: a literal8 is announced by a tilde',
      'a X ~{1+}\r\n\0\r\n',
      ['literal 1+ after a X ', 'text:a X |literal:\0|text:'],
    ],
    ['a refused literal ends its command', 'a X {51}\r\nb NOOP\r\n', ['literal 51 after a X ', 'text:b NOOP']],
    ['braces elsewhere announce nothing', 'a X {5} y\r\n', ['text:a X {5} y']],
    ['a quoted announcement is none', 'a X "{5}"\r\n', ['text:a X "{5}"']],
    ['a line that never ends is too long', 'x'.repeat(300), ['too-long']],
    [
      'text around literals counts together',
      `${'x'.repeat(150)}{1+}\r\ny${'z'.repeat(60)}\r\n`,
      [`literal 1+ after ${'x'.repeat(150)}`, 'too-long'],
    ],
    [
      'a fourth literal is one too many',
      'a {0+}\r\n{0+}\r\n{0+}\r\n{0+}\r\n',
      ['literal 0+ after a ', 'literal 0+ after a ', 'literal 0+ after a ', 'too-long'],
    ],
  ])('%s', (_, octets, expected) => {
    const bytes = Buffer.from(octets, 'latin1');
    expect(framed([bytes])).toEqual(expected);
    for (let at = 1; at < bytes.length; at += 1) {
      expect(framed([bytes.subarray(0, at), bytes.subarray(at)]), `split at ${at}`).toEqual(expected);
    }
    expect(framed(Array.from(bytes, (octet) => Buffer.from([octet]))), 'octet by octet').toEqual(expected);
  });

  it('what is framed does not hang on how the octets were cut', () => {
    const piece = fc.oneof(
      fc.constantFrom('\r\n', '\n', '{3}\r\n', '{2+}\r\n', '{60}\r\n', ' ', '"'),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece), fc.array(fc.integer({ min: 1, max: 9 })), (pieces, sizes) => {
        const bytes = Buffer.from(pieces.join(''), 'latin1');
        const portions: Buffer[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % Math.max(1, sizes.length)] ?? 1;
          portions.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(framed(portions)).toEqual(framed([bytes]));
      }),
    );
  });

  it('keeps nothing of what came before TLS', () => {
    const framer = new Framer(() => limits);
    framer.push(Buffer.from('a X {3}\r\n'));
    framer.next();
    framer.push(Buffer.from('b NOOP\r\n'));
    framer.clear();
    framer.push(Buffer.from('c NOOP\r\n'));
    expect(shown(framer.next())).toBe('text:c NOOP');
  });

  it('a megabyte in single octets takes no quadratic time', () => {
    const framer = new Framer(() => ({ maxTextBytes: 2_000_000, maxLiterals: 1 }));
    const octet = Buffer.from('x');
    for (let count = 0; count < 1_000_000; count += 1) {
      framer.push(octet);
      if (count % 10 === 0) framer.next();
    }
    framer.push(Buffer.from('\n'));
    expect(framer.next().kind).toBe('command');
  });
});
