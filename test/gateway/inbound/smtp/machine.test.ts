import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../../../gateway/inbound/smtp/command.ts';
import { begun, type Setting, type State, type Step, step } from '../../../../gateway/inbound/smtp/machine.ts';

const setting: Setting = {
  hostname: 'mx.example.org',
  secure: false,
  canSecure: true,
  messageBytes: 1_000,
  recipients: 100,
  messagesPerConnection: 100,
};
const inTls: Setting = { ...setting, secure: true };

/** The machine with everything that it asks answered with yes. */
function run(lines: readonly string[], how: Setting = setting): { state: State; last: Step } {
  let state: State = begun;
  let last: Step = { kind: 'quit' };
  for (const line of lines) {
    last = step(state, parseCommand(Buffer.from(line)), how);
    if ('state' in last) state = last.state;
  }
  return { state, last };
}

function shown(taken: Step): string {
  switch (taken.kind) {
    case 'say':
      return 'code' in taken.reply ? `${taken.reply.code} ${taken.reply.enhanced}` : `250 ${taken.reply.join(', ')}`;
    case 'end':
      return `end ${taken.reply.code} ${taken.reply.enhanced}`;
    case 'chunk': {
      const { octets, last, refusal } = taken;
      return `chunk ${octets}${last ? ' last' : ''}${refusal === undefined ? '' : ` ${refusal.code} ${refusal.enhanced}`}`;
    }
    default:
      return taken.kind;
  }
}

const hello = 'EHLO client.example';
const mail = 'MAIL FROM:<a@sender.example>';
const rcpt = 'RCPT TO:<alice@example.org>';

describe('a conversation, command by command', () => {
  const rows: readonly [why: string, lines: readonly string[], comesTo: string][] = [
    ['nothing is asked before a greeting', [mail], '503 5.5.1'],
    ['HELO offers nothing', ['HELO client.example'], '250 mx.example.org'],
    ['mail is asked for', [hello, mail], 'mail'],
    ['mail is asked for after HELO too', ['HELO client.example', mail], 'mail'],
    ['recipients come after MAIL', [hello, rcpt], '503 5.5.1'],
    ['a recipient is asked for', [hello, mail, rcpt], 'rcpt'],
    ['data come after MAIL', [hello, 'DATA'], '503 5.5.1'],
    ['data need a recipient', [hello, mail, 'DATA'], '554 5.5.1'],
    ['data are read', [hello, mail, rcpt, 'DATA'], 'data'],
    ['one transaction at a time', [hello, mail, mail], '503 5.5.1'],
    ['RSET gives a transaction up', [hello, mail, rcpt, 'RSET', 'DATA'], '503 5.5.1'],
    ['RSET before a greeting is no harm', ['RSET'], '250 2.0.0'],
    ['a second EHLO is a RSET too (RFC 5321 §4.1.4)', [hello, mail, rcpt, hello, 'DATA'], '503 5.5.1'],
    ['after the data a new transaction begins', [hello, mail, rcpt, 'DATA', 'DATA'], '503 5.5.1'],
    ['a bad command changes nothing', [hello, mail, rcpt, 'NONSENSE', 'DATA'], 'data'],
    ['a refused parameter begins nothing', [hello, `${mail} FOO=1`, rcpt], '503 5.5.1'],
    ['a size that does not fit is refused at once', [hello, `${mail} SIZE=1001`], '552 5.3.4'],
    ['a size that fits', [hello, `${mail} SIZE=1000`], 'mail'],
    ['BINARYMIME is not offered', [hello, `${mail} BODY=BINARYMIME`], '555 5.5.4'],
    ['REQUIRETLS in the clear is a contradiction (RFC 8689 §4.1)', [hello, `${mail} REQUIRETLS`], '530 5.7.10'],
    ['an address that is not ASCII has to be declared', [hello, 'MAIL FROM:<ä@sender.example>'], '553 5.6.7'],
    ['and is, with SMTPUTF8', [hello, 'MAIL FROM:<ä@sender.example> SMTPUTF8'], 'mail'],
    ['for recipients too', [hello, mail, 'RCPT TO:<ä@example.org>'], '553 5.6.7'],
    ['chunks come after MAIL, and their octets are read all the same', [hello, 'BDAT 5'], 'chunk 5 503 5.5.1'],
    ['chunks need a recipient', [hello, mail, 'BDAT 5 LAST'], 'chunk 5 last 554 5.5.1'],
    ['a chunk is read', [hello, mail, rcpt, 'BDAT 5'], 'chunk 5'],
    ['the last one ends the message', [hello, mail, rcpt, 'BDAT 5', 'BDAT 0 LAST', 'DATA'], '503 5.5.1'],
    ['no DATA after chunks (RFC 3030 §2)', [hello, mail, rcpt, 'BDAT 5', 'DATA'], '503 5.5.1'],
    ['no recipients after chunks', [hello, mail, rcpt, 'BDAT 5', rcpt], '503 5.5.1'],
    ['no MAIL after chunks', [hello, mail, rcpt, 'BDAT 5', mail], '503 5.5.1'],
    ['RSET gives chunks up', [hello, mail, rcpt, 'BDAT 5', 'RSET', mail], 'mail'],
    ['chunks that are too many in all', [hello, mail, rcpt, 'BDAT 600', 'BDAT 600'], 'chunk 600 552 5.3.4'],
    [
      'after which the message is lost',
      [hello, mail, rcpt, 'BDAT 600', 'BDAT 600', 'BDAT 1 LAST'],
      'chunk 1 last 503 5.5.1',
    ],
    ['until RSET', [hello, mail, rcpt, 'BDAT 600', 'BDAT 600', 'RSET', mail], 'mail'],
    ['octets without end are not waited for', [hello, mail, rcpt, 'BDAT 999999999'], 'end 552 5.3.4'],
    ['a BDAT without a number: nobody knows where the next command is', [hello, mail, rcpt, 'BDAT x'], 'end 501 5.5.4'],
    ['TLS can begin at once', ['STARTTLS'], 'secure'],
    ['and takes no argument (RFC 3207 §4)', ['STARTTLS now'], '501 5.5.4'],
    ['not in a transaction', [hello, mail, 'STARTTLS'], '503 5.5.1'],
    ['what was said before TLS is forgotten', [hello, 'STARTTLS', mail], '503 5.5.1'],
    ['who is here is not told', ['VRFY alice'], '252 2.5.0'],
    ['nor who is on a list', ['EXPN list'], '502 5.5.1'],
    ['VRFY of nobody', ['VRFY'], '501 5.5.4'],
    ['NOOP takes anything', ['NOOP and so on'], '250 2.0.0'],
    ['help', ['help'], '214 2.0.0'],
    ['DATA takes no argument', [hello, mail, rcpt, 'DATA now'], '501 5.5.4'],
    ['QUIT ends', ['QUIT'], 'quit'],
    ['a browser is sent away', ['GET / HTTP/1.1'], 'end 500 5.5.2'],
  ];
  it.for(rows)('%s', ([, lines, comesTo]) => {
    expect(shown(run(lines).last)).toBe(comesTo);
  });

  it('what is offered outside TLS and inside', () => {
    const outside = shown(run([hello]).last);
    const inside = shown(run([hello], inTls).last);
    expect([outside.includes('STARTTLS'), outside.includes('REQUIRETLS')]).toEqual([true, false]);
    expect([inside.includes('STARTTLS'), inside.includes('REQUIRETLS')]).toEqual([false, true]);
    expect(shown(run([hello], { ...setting, canSecure: false }).last)).not.toContain('TLS');
  });

  it('inside TLS there is no second one, and REQUIRETLS holds', () => {
    expect(shown(run(['STARTTLS'], inTls).last)).toBe('503 5.5.1');
    expect(shown(run([hello, `${mail} REQUIRETLS`], inTls).last)).toBe('mail');
    expect(shown(run(['STARTTLS'], { ...setting, canSecure: false }).last)).toBe('500 5.5.2');
  });

  it('no order of commands reads a message without a sender and a recipient, or two at once', () => {
    const words = [
      hello,
      'HELO x',
      mail,
      rcpt,
      'DATA',
      'BDAT 3',
      'BDAT 3 LAST',
      'RSET',
      'NOOP',
      'STARTTLS',
      'x',
      'VRFY a',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 25 }), (lines) => {
        let state: State = begun;
        let open: 'no' | 'mail' | 'rcpt' | 'chunks' = 'no';
        for (const line of lines) {
          const taken = step(state, parseCommand(Buffer.from(line)), setting);
          if (taken.kind === 'mail') {
            expect(open).toBe('no');
            open = 'mail';
          } else if (taken.kind === 'rcpt') {
            expect(['mail', 'rcpt']).toContain(open);
            open = 'rcpt';
          } else if (taken.kind === 'data') {
            expect(open).toBe('rcpt');
            open = 'no';
          } else if (taken.kind === 'chunk' && taken.refusal === undefined) {
            expect(['rcpt', 'chunks']).toContain(open);
            open = taken.last ? 'no' : 'chunks';
          } else if (taken.kind === 'secure') {
            expect(open).toBe('no');
          } else if (taken.kind === 'say' && /^(?:RSET|EHLO|HELO)/.test(line)) open = 'no';
          if ('state' in taken) state = taken.state;
        }
      }),
    );
  });
});
