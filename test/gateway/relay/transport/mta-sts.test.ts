import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { namesServer, readStsPolicy, stsId } from '../../../../gateway/relay/transport/mta-sts.ts';

describe('the record (RFC 8461 §3.1)', () => {
  const rows: readonly [why: string, records: readonly (readonly string[])[], id: string | undefined][] = [
    ['has an id', [['v=STSv1; id=20160831085700Z;']], '20160831085700Z'],
    ['may come in several strings', [['v=STSv1; i', 'd=1']], '1'],
    ['among other records', [['v=spf1 -all'], ['v=STSv1; id=1']], '1'],
    ['with fields of the future', [['v=STSv1; id=1; new=x;']], '1'],
    ['twice is no record', [['v=STSv1; id=1'], ['v=STSv1; id=2']], undefined],
    ['without id is none', [['v=STSv1;']], undefined],
    ['with an id that is none', [['v=STSv1; id=a-b']], undefined],
    ['of another version', [['v=STSv12; id=1']], undefined],
  ];
  it.for(rows)('%s', ([, records, id]) => expect(stsId(records)).toBe(id));
});

describe('the policy (RFC 8461 §3.2)', () => {
  const good = 'version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n';
  it('is read, with CRLF and with LF', () => {
    const policy = { mode: 'enforce', mx: ['mail.example.com', '*.example.net'], maxAgeMs: 604_800_000 };
    expect(readStsPolicy(good)).toEqual({ kind: 'policy', policy });
    expect(readStsPolicy(good.replaceAll('\r', ''))).toEqual({ kind: 'policy', policy });
  });
  it('lasts a year at the most', () => {
    expect(readStsPolicy(good.replace('604800', '9999999999'))).toMatchObject({ policy: { maxAgeMs: 31_557_600_000 } });
  });
  it('may withdraw itself without naming a server', () => {
    expect(readStsPolicy('version: STSv1\nmode: none\nmax_age: 60')).toMatchObject({ kind: 'policy' });
  });
  const bad: readonly [why: string, text: string][] = [
    ['another version', good.replace('STSv1', 'STSv2')],
    ['no mode', good.replace('mode: enforce\r\n', '')],
    ['a mode of the future', good.replace('enforce', 'strict')],
    ['no max_age', good.replace('max_age: 604800', '')],
    ['a max_age that is none', good.replace('604800', '-1')],
    ['no server', good.replaceAll(/mx: .*\r\n/g, '')],
    ['a server that is no name', good.replace('mail.example.com', 'mail.*.com')],
    ['a page of HTML', '<html>not found</html>'],
    ['servers without end', `${good}${'mx: a.example\n'.repeat(300)}`],
  ];
  it.for(bad)('with %s it is invalid', ([, text]) => expect(readStsPolicy(text).kind).toBe('invalid'));
  it('whatever a server sends is a policy or invalid', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(['policy', 'invalid']).toContain(readStsPolicy(text).kind);
      }),
    );
  });
});

describe('a server is one that the policy names (RFC 8461 §4.1)', () => {
  const rows: readonly [pattern: string, server: string, matches: boolean][] = [
    ['mail.example.com', 'MAIL.example.com.', true],
    ['mail.example.com', 'mail.example.org', false],
    ['*.example.com', 'mx1.example.com', true],
    ['*.example.com', 'a.b.example.com', false],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'evil-example.com', false],
  ];
  it.for(rows)('%s names %s: %s', ([pattern, server, matches]) => expect(namesServer([pattern], server)).toBe(matches));
});
