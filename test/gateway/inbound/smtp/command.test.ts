import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Command, parseCommand } from '../../../../gateway/inbound/smtp/command.ts';
import { fromXtext } from '../../../../gateway/inbound/smtp/parameters.ts';

const parsed = (line: string): Command => parseCommand(Buffer.from(line, 'utf8'));
const shown = (line: string): unknown => {
  const command = parsed(line);
  switch (command.verb) {
    case 'wrong':
      return command.reply.code;
    case 'MAIL':
      return command.mail;
    case 'RCPT':
      return command.rcpt;
    default:
      return command;
  }
};
const plain = { size: 0, utf8: false, requireTls: false };

describe('MAIL', () => {
  const rows: readonly [why: string, line: string, wanted: unknown][] = [
    ['a path', 'MAIL FROM:<a@b.example>', { ...plain, path: 'a@b.example' }],
    ['verbs in any case', 'mail from:<a@b.example>', { ...plain, path: 'a@b.example' }],
    ['the null path', 'MAIL FROM:<>', { ...plain, path: '' }],
    ['a blank after the colon, as many write', 'MAIL FROM: <a@b.example>', { ...plain, path: 'a@b.example' }],
    ['a source route is dropped', 'MAIL FROM:<@x.example,@y.example:a@b.example>', { ...plain, path: 'a@b.example' }],
    ['a bracket in a quoted local part', 'MAIL FROM:<"a>b"@c.example>', { ...plain, path: '"a>b"@c.example' }],
    ['an escaped quote in one', 'MAIL FROM:<"a\\"> SIZE=1"@c.example>', { ...plain, path: '"a\\"> SIZE=1"@c.example' }],
    [
      'parameters',
      'MAIL FROM:<a@b.example> SIZE=12 BODY=8BITMIME SMTPUTF8',
      { ...plain, path: 'a@b.example', size: 12, utf8: true },
    ],
    [
      'parameters in any case',
      'MAIL FROM:<a@b.example> size=12 body=7bit',
      { ...plain, path: 'a@b.example', size: 12 },
    ],
    [
      'what a report is to say',
      'MAIL FROM:<a@b.example> RET=HDRS ENVID=a+2Bb',
      { ...plain, path: 'a@b.example', ret: 'HDRS', envid: 'a+b' },
    ],
    ['no colon', 'MAIL FROM <a@b.example>', 501],
    ['no brackets', 'MAIL FROM:a@b.example', 501],
    ['brackets that do not end', 'MAIL FROM:<a@b.example', 501],
    ['a quote that does not end', 'MAIL FROM:<"a@b.example>', 501],
    ['a blank within', 'MAIL FROM:<a @b.example>', 501],
    ['two paths', 'MAIL FROM:<a@b.example><c@d.example>', 501],
    ['text behind the path', 'MAIL FROM:<a@b.example>SIZE=1', 501],
    ['a parameter twice', 'MAIL FROM:<a@b.example> SIZE=1 SIZE=2', 501],
    ['a parameter with nothing', 'MAIL FROM:<a@b.example> SIZE=', 501],
    ['a size that is none', 'MAIL FROM:<a@b.example> SIZE=-1', 501],
    ['a body that is none', 'MAIL FROM:<a@b.example> BODY=9BIT', 501],
    ['SMTPUTF8 has no value', 'MAIL FROM:<a@b.example> SMTPUTF8=1', 501],
    ['REQUIRETLS has no value', 'MAIL FROM:<a@b.example> REQUIRETLS=1', 501],
    ['RET knows two words', 'MAIL FROM:<a@b.example> RET=ALL', 501],
    ['xtext with a lower-case digit', 'MAIL FROM:<a@b.example> ENVID=a+2b', 501],
    ['xtext that hides a line end', 'MAIL FROM:<a@b.example> ENVID=a+0D+0A', 501],
    ['ENVID of more than 100', `MAIL FROM:<a@b.example> ENVID=${'a'.repeat(101)}`, 501],
    ['a parameter nobody knows', 'MAIL FROM:<a@b.example> FOO', 555],
    ['AUTH, which is not offered', 'MAIL FROM:<a@b.example> AUTH=<>', 555],
    ['NOTIFY belongs to RCPT', 'MAIL FROM:<a@b.example> NOTIFY=NEVER', 555],
  ];
  it.for(rows)('%s', ([, line, wanted]) => expect(shown(line)).toEqual(wanted));
});

describe('RCPT', () => {
  const rows: readonly [why: string, line: string, wanted: unknown][] = [
    ['a path', 'RCPT TO:<a@b.example>', { path: 'a@b.example', notify: [] }],
    ['NEVER alone', 'RCPT TO:<a@b.example> NOTIFY=never', { path: 'a@b.example', notify: ['NEVER'] }],
    ['a list', 'RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE', { path: 'a@b.example', notify: ['SUCCESS', 'FAILURE'] }],
    [
      'an original recipient',
      'RCPT TO:<a@b.example> ORCPT=rfc822;x+2By@c.example',
      { path: 'a@b.example', notify: [], orcpt: 'rfc822;x+2By@c.example' },
    ],
    [
      'one in UTF-8',
      'RCPT TO:<a@b.example> ORCPT=utf-8;ä@c.example',
      { path: 'a@b.example', notify: [], orcpt: 'utf-8;ä@c.example' },
    ],
    ['nobody', 'RCPT TO:<>', 501],
    ['NEVER with others', 'RCPT TO:<a@b.example> NOTIFY=NEVER,SUCCESS', 501],
    ['a word twice', 'RCPT TO:<a@b.example> NOTIFY=DELAY,DELAY', 501],
    ['an empty word', 'RCPT TO:<a@b.example> NOTIFY=DELAY,', 501],
    ['an original recipient without a type', 'RCPT TO:<a@b.example> ORCPT=x@c.example', 501],
    ['one that is too long', `RCPT TO:<a@b.example> ORCPT=rfc822;${'a'.repeat(500)}`, 501],
    ['SIZE belongs to MAIL', 'RCPT TO:<a@b.example> SIZE=1', 555],
  ];
  it.for(rows)('%s', ([, line, wanted]) => expect(shown(line)).toEqual(wanted));
});

describe('other lines', () => {
  const rows: readonly [why: string, line: string | Uint8Array, wanted: unknown][] = [
    ['a name', 'EHLO client.example', { verb: 'EHLO', name: 'client.example' }],
    ['a literal', 'EHLO [IPv6:2001:db8::1]', { verb: 'EHLO', name: '[IPv6:2001:db8::1]' }],
    ['no name', 'EHLO', 501],
    ['two names', 'EHLO a b', 501],
    ['a name in UTF-8', 'EHLO ä.example', 501],
    ['a name of 256', `EHLO ${'a'.repeat(256)}`, 501],
    ['a chunk', 'BDAT 12', { verb: 'BDAT', octets: 12, last: false }],
    ['the last one', 'bdat 0 last', { verb: 'BDAT', octets: 0, last: true }],
    ['a negative chunk', 'BDAT -1', 501],
    ['a chunk and more', 'BDAT 1 LAST x', 501],
    ['a chunk that no number holds', 'BDAT 99999999999999999999', 501],
    ['nothing', '', 500],
    ['NUL', 'NOOP\0', 500],
    ['a bare CR', 'NOOP\rQUIT', 500],
    ['a tab', 'NOOP\tx', 500],
    ['octets that are no UTF-8', Buffer.from([0x4e, 0xff]), 500],
  ];
  it.for(rows)('%s', ([, line, wanted]) => {
    const text = typeof line === 'string' ? line : '';
    const command = typeof line === 'string' ? shown(text) : parseCommand(line);
    expect(typeof line === 'string' ? command : (command as { reply: { code: number } }).reply.code).toEqual(wanted);
  });

  it('any octets are some command, and none throws', () => {
    const start = fc.constantFrom('MAIL FROM:<', 'RCPT TO:<', 'EHLO ', 'BDAT ', '');
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (text, octets) => {
        expect(parseCommand(Buffer.concat([Buffer.from(text), octets])).verb).toBeTypeOf('string');
      }),
      { numRuns: 500 },
    );
  });

  it('a path never has a blank, a bracket or a control character outside quotes', () => {
    const unit = fc.constantFrom('a', '@', '<', '>', '"', '\\', ' ', ':', ',', '.', 'é', '\t');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), (text) => {
        const command = parsed(`MAIL FROM:<${text}`);
        if (command.verb !== 'MAIL') return;
        expect(command.mail.path.replaceAll(/"(?:[^"\\]|\\.)*"/g, '')).not.toMatch(/[\s<>"]/);
      }),
      { numRuns: 2_000 },
    );
  });

  it('xtext comes back as it was written', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 50 }), (text) => {
        const written = text.replaceAll(
          /[^!-*,-<>-~]/g,
          (one) => `+${one.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
        );
        expect(fromXtext(written)).toBe(text);
      }),
    );
  });
});
