/** Hosts whose words are no SMTP, or not quite, and hosts whose TLS is taken away or wrong. */
import { createHash, X509Certificate } from 'node:crypto';
import selfsigned from 'selfsigned';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { TlsaRecord } from '../../../../gateway/dns/answer.ts';
import { type Certificate, type HostileHost, type HostOptions, hostileHost, type Manners } from './hostile-host.ts';
import { type Life, type LifeOptions, lifeOf } from './life-of-mail.ts';

let host: HostileHost;
afterEach(() => host.close());

async function meets(
  manners: readonly (Manners | undefined)[],
  { extensions, certificate, ...rest }: Omit<LifeOptions, 'port'> & HostOptions = {},
): Promise<Life> {
  host = await hostileHost(manners, {
    ...(extensions === undefined ? {} : { extensions }),
    ...(certificate === undefined ? {} : { certificate }),
  });
  return lifeOf({ port: host.port, ...rest });
}

const threeRecipients = ['a@dest.example', 'b@dest.example', 'c@dest.example'];

describe('a banner that is none', () => {
  const rows: readonly (readonly [what: string, banner: string | Buffer])[] = [
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
    ['TLS', Buffer.from([0x15, 3, 1, 0, 2, 2, 40, 10])],
    ['NUL', '\0\0\0\0\r\n'],
    ['an empty line', '\r\n'],
    ['a code that changes in the middle', '220-mx.example\r\n554 go away\r\n'],
    ['the answer to a question not yet asked', '220 hello\r\n250 hello\r\n'],
    ['a reply that asks for more', '354 go on\r\n'],
    ['octets of no character set', Buffer.from('220 \xff\xfe\r\n', 'latin1').fill(0x80, 0, 3)],
  ];
  test.each(rows)('%s: tried again later, and nothing of the message goes there', async (_what, banner) => {
    const odd: Manners = async (conversation) => void conversation.raw(banner);
    const life = await meets([odd, undefined]);
    expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
    expect(host.copies).toHaveLength(1);
  });

  test('554 for ever (RFC 5321 §3.1: no mail here): another host might take it, so it fails in the end and says why', async () => {
    const life = await meets([async (conversation) => conversation.say('554 5.3.2 no service for you')]);
    expect(life.told.at(-1)).toBe('a@dest.example failed 5.4.7');
    expect(life.notices.at(-1)?.recipients[0]?.text).toContain('554 5.3.2 no service for you');
  });
});

describe('words that are not quite right', () => {
  test('line ends of LF alone are understood', async () => {
    const unix: Manners = async (conversation) => {
      const said: Record<string, string> = { EHLO: '250-x\n250 8BITMIME\n', DATA: '354 go\n' };
      conversation.raw('220 x\n');
      for (let line = await conversation.line(); line !== undefined; line = await conversation.line()) {
        conversation.raw(said[line.slice(0, 4)] ?? '250 ok\n');
        if (line === '.') conversation.took();
      }
    };
    expect(await meets([unix])).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host.copies).toHaveLength(1);
  });

  test('a message that says what a host would say ends nothing: its dots are doubled, whatever the line ends', async () => {
    const message = Buffer.from(
      'From: alice@example.org\r\n\r\na\r\n.\r\nMAIL FROM:<x@example.org>\r\n..\r\n.\rDATA\r\n\n.\n',
    );
    await meets([undefined], { message });
    expect(host.copies).toHaveLength(1);
    expect(host.copies[0]?.text).toMatch(/\r\n\.\.\r\nMAIL FROM/);
    expect(host.copies[0]?.text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(host.commands.filter((line) => line.startsWith('MAIL'))).toHaveLength(1);
  });

  test('NUL and control characters in a reply are shown as such and nothing else', async () => {
    const odd: Manners = async (conversation) => {
      await conversation.serveUntil('RCPT');
      conversation.say('550-5.1.1 no\0 such \u001b[31muser\u0007\r\n550 5.1.1 and\rnever was');
      await conversation.serveUntil('nothing');
    };
    const life = await meets([odd]);
    expect(life.told).toEqual(['a@dest.example failed 5.1.1']);
    const [recipient] = life.notices[0]!.recipients;
    expect(`${recipient?.diagnostic}${recipient?.text}`).not.toMatch(/[^\P{Cc}]/u);
    expect(recipient?.diagnostic).toContain('no? such ?[31muser?');
  });

  test('a refusal of 60,000 octets is kept in part', async () => {
    const wordy: Manners = async (conversation) => {
      await conversation.serveUntil('RCPT');
      conversation.raw('550-5.1.1 no such user, and here is my life\r\n'.repeat(1_300));
      conversation.say('550 5.1.1 the end');
      await conversation.serveUntil('nothing');
    };
    const life = await meets([wordy]);
    expect(life.told).toEqual(['a@dest.example failed 5.1.1']);
    expect(life.notices[0]?.recipients[0]?.diagnostic?.length).toBeLessThan(2_000);
  });

  const twice: readonly (readonly [step: string, extensions: readonly string[], tries: number])[] = [
    ['MAIL', [], 2],
    ['RCPT', [], 2],
    ['MAIL', ['PIPELINING'], 2],
    ['RCPT', ['PIPELINING'], 2],
    ['dot', [], 1],
    ['dot', ['PIPELINING'], 1],
    ['dot', ['PIPELINING', 'CHUNKING'], 1],
  ];
  test.each(twice)('250 twice at %s (%s): one copy in the end', async (step, extensions, tries) => {
    const stutters: Manners = async (conversation) => {
      const line = await conversation.serveUntil(step);
      if (step === 'dot') conversation.took();
      else conversation.answer(line ?? '');
      if (step === 'dot') conversation.say('250 ok');
      conversation.say('250 ok');
      await conversation.serveUntil('nothing');
    };
    const life = await meets([stutters, undefined], { extensions });
    expect(life).toMatchObject({ end: 'done', tries, told: [] });
    expect(host.copies).toHaveLength(1);
  });

  test('a refusal in a session out of step counts for nobody: it was meant for another', async () => {
    const shifted: Manners = async (conversation) => {
      await conversation.serveUntil('MAIL');
      // One too many: the refusal of a now stands where the answer for b is read.
      conversation.raw('250 ok\r\n250 ok\r\n550 5.1.1 no such user\r\n250 ok\r\n250 ok\r\n');
      await conversation.serveUntil('nothing');
    };
    const refusesA: Manners = async (conversation) => {
      await conversation.serveUntil('RCPT');
      conversation.say('550 5.1.1 no such user');
      await conversation.serveUntil('nothing');
    };
    const life = await meets([shifted, refusesA], { extensions: ['PIPELINING'], recipients: threeRecipients });
    expect(life.told).toEqual(['a@dest.example failed 5.1.1']);
    expect(host.copies.map(({ recipients }) => recipients)).toEqual([['b@dest.example', 'c@dest.example']]);
  });

  test('a host that breaks off at QUIT, or never answers it, costs nothing', async () => {
    for (const act of ['hangUp', 'reset', 'silence'] as const) {
      const quits: Manners = async (conversation) => {
        await conversation.serveUntil('QUIT');
        if (act !== 'silence') conversation[act]();
      };
      // oxlint-disable-next-line no-await-in-loop -- one host after the other
      expect(await meets([quits])).toMatchObject({ end: 'done', tries: 1, told: [] });
      // oxlint-disable-next-line no-await-in-loop -- one host after the other
      if (act !== 'silence') await host.close();
    }
  });
});

describe('TLS', () => {
  let own: Certificate;
  let other: Certificate;
  beforeAll(async () => {
    const make = async (name: string): Promise<Certificate> => {
      const pems = await selfsigned.generate([{ name: 'commonName', value: name }]);
      return { key: pems.private, cert: pems.cert };
    };
    own = await make('mx.dest.example');
    other = await make('somebody.else.example');
  });
  const names = ({ cert }: Certificate): TlsaRecord => ({
    certUsage: 3,
    selector: 1,
    match: 1,
    data: createHash('sha256')
      .update(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' }))
      .digest(),
  });

  /** Says that there is TLS, and then something else. */
  const breaksTls =
    (how: 'refuses' | 'garbage' | 'resets' | 'injects'): Manners =>
    async (conversation) => {
      await conversation.serveUntil('STAR');
      if (how === 'refuses') conversation.say('454 4.7.0 TLS is not available');
      else if (how === 'resets') conversation.reset();
      else if (how === 'garbage') conversation.raw(`220 go ahead\r\n`);
      else conversation.raw('220 go ahead\r\n250 injected by somebody on the way\r\n');
      if (how === 'garbage') {
        await conversation.octets(10);
        conversation.raw('this is no TLS at all\r\n'.repeat(10));
      }
      await conversation.serveUntil('nothing');
    };
  const stripped: Manners = async (conversation) => {
    await conversation.serveUntil('EHLO');
    conversation.say('250-hostile.example');
    conversation.say('250 XXXXXXXA');
    await conversation.serveUntil('nothing');
  };

  const open: readonly (readonly [why: string, manners: () => readonly (Manners | undefined)[], secure: boolean])[] = [
    ['a certificate of somebody else still keeps listeners out (RFC 7435)', () => [undefined], true],
    ['STARTTLS stripped on the way', () => [stripped], false],
    ['STARTTLS refused', () => [breaksTls('refuses')], false],
    [
      'a handshake that is none: in clear over a new connection (RFC 7435 §3)',
      () => [breaksTls('garbage'), stripped],
      false,
    ],
  ];
  test.each(open)('where nothing is demanded, mail goes: %s', async (_why, manners, secure) => {
    const life = await meets(manners(), { certificate: other });
    expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host.copies.map((copy) => copy.secure)).toEqual([secure]);
  });

  test('what was put behind the 220 before TLS is not taken for an answer (RFC 3207 §5)', async () => {
    const life = await meets([breaksTls('injects'), undefined], { certificate: own });
    expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
    expect(host.copies.map((copy) => copy.secure)).toEqual([true]);
  });

  test('where TLSA records name the certificate, mail goes to that one', async () => {
    const life = await meets([undefined], { certificate: own, tlsa: [names(own)] });
    expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host.copies.map((copy) => copy.secure)).toEqual([true]);
  });

  const closed: readonly (readonly [why: string, manners: () => readonly (Manners | undefined)[], said: string])[] = [
    ['another certificate is shown', () => [undefined], 'its certificate is not the one'],
    ['STARTTLS is stripped', () => [stripped], 'offers no TLS'],
    ['STARTTLS is refused', () => [breaksTls('refuses')], 'refused STARTTLS'],
    ['the handshake is none', () => [breaksTls('garbage')], 'TLS failed'],
    ['the connection is reset at STARTTLS', () => [breaksTls('resets')], ''],
  ];
  test.each(closed)(
    'where TLSA records demand it, no mail goes in clear or elsewhere: %s',
    async (_why, manners, said) => {
      const life = await meets(manners(), { certificate: other, tlsa: [names(own)] });
      expect(life.told.at(-1)).toBe('a@dest.example failed 5.4.7');
      expect(life.notices.at(-1)?.recipients[0]?.text).toContain(said);
      expect(host.copies).toEqual([]);
      expect(host.commands.filter((line) => /^(?:MAIL|DATA)/.test(line))).toEqual([]);
    },
  );
});
