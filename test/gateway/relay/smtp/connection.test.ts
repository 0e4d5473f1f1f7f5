import { createHash, X509Certificate } from 'node:crypto';
import selfsigned from 'selfsigned';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Credentials, type Mail, SmtpClient, type SmtpTrouble } from '../../../../gateway/relay/connection.ts';
import type { TlsDemand } from '../../../../gateway/relay/smtp/tls-demand.ts';
import { type Says, type ScriptedHost, scriptedHost } from './scripted-host.ts';

const times = { connectMs: 20_000, greetingMs: 20_000, silenceMs: 20_000, totalMs: 30_000 };
const mail: Mail = {
  from: 'a@example.org',
  recipients: ['b@dest.example'],
  bytes: Buffer.from('Subject: x\r\n\r\n.hello\r\n'),
};
let host: ScriptedHost;
let clients: SmtpClient[] = [];
let authority: Awaited<ReturnType<typeof selfsigned.generate>>;
let issued: typeof authority;

beforeAll(async () => {
  authority = await selfsigned.generate([{ name: 'commonName', value: 'Test CA' }], {
    extensions: [{ name: 'basicConstraints', cA: true, critical: true }],
  });
  issued = await selfsigned.generate([{ name: 'commonName', value: 'mx.dest.example' }], {
    ca: { key: authority.private, cert: authority.cert },
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'mx.dest.example' }] }],
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await host.close();
});

interface Behaviour {
  readonly ehlo?: readonly string[];
  readonly on?: (line: string, says: Says) => boolean;
}

/** Does something at a command that begins like this, instead of what is ordinary. */
const at =
  (command: string, how: (says: Says) => void) =>
  (line: string, says: Says): boolean => {
    if (!line.startsWith(command)) return false;
    how(says);
    return true;
  };

/** An ordinary server, except where `on` answers instead. */
async function ordinary({ ehlo = [], on = () => false }: Behaviour): Promise<void> {
  let data = false;
  let chunk = 0;
  let secure = false;
  host = await scriptedHost((line, says) => {
    if (data) {
      if (line === '.') {
        data = false;
        if (!on('<end>', says)) says.say('250 2.0.0 taken');
      }
      return;
    }
    if (chunk > 0) {
      chunk -= line.length + 2;
      if (chunk === 0) says.say('250 2.0.0 chunk taken');
      return;
    }
    if (on(line, says)) return;
    const verb = line.split(' ')[0]?.toUpperCase();
    if (verb === 'EHLO') {
      const lines = ['host', ...ehlo.filter((keyword) => !(secure && keyword === 'STARTTLS'))];
      for (const [index, text] of lines.entries()) says.say(`250${index === lines.length - 1 ? ' ' : '-'}${text}`);
    } else if (verb === 'STARTTLS') {
      says.say('220 go');
      secure = true;
      says.secure(issued.private, `${issued.cert}\n${authority.cert}`);
    } else if (verb === 'DATA') {
      data = true;
      says.say('354 go');
    } else if (verb === 'BDAT') chunk = Number(line.split(' ')[1]);
    else says.say(verb === 'QUIT' ? '221 bye' : '250 2.0.0 ok');
  });
}

async function open(tls: TlsDemand = { kind: 'opportunistic' }, auth?: Credentials): Promise<SmtpClient | SmtpTrouble> {
  const hop = { name: 'mx.dest.example', address: '127.0.0.1', port: host.port };
  const opened = await SmtpClient.open(hop, { name: 'gw.example.org', times, tls, auth });
  if (!(opened instanceof SmtpClient)) return opened.trouble;
  clients.push(opened);
  return opened;
}

async function connected(tls?: TlsDemand, auth?: Credentials): Promise<SmtpClient> {
  const client = await open(tls, auth);
  if (!(client instanceof SmtpClient)) throw new Error(client.reply);
  return client;
}

const sending = async (fields: Partial<Mail> = {}) => (await connected()).send({ ...mail, ...fields }, () => undefined);

describe('a transaction', () => {
  it('sends MAIL, all RCPT and DATA in one go where the host takes that (RFC 2920)', async () => {
    const waiting: string[] = [];
    await ordinary({
      ehlo: ['PIPELINING'],
      on: (line, says) => {
        if (!/^(?:MAIL|RCPT|DATA)/.test(line)) return false;
        waiting.push(line);
        // Answers come only once all four are there.
        if (waiting.length < 4) return true;
        for (const one of waiting.slice(0, 3)) says.say(one.includes('<no@') ? '550 5.1.1 no' : '250 ok');
        return false;
      },
    });
    const sent = await sending({ recipients: ['b@dest.example', 'no@dest.example'] });
    expect(sent).toMatchObject({
      kind: 'sent',
      accepted: ['b@dest.example'],
      refused: [{ recipient: 'no@dest.example', code: 550 }],
    });
  });

  it.each([
    ['recipients', 'RCPT', { refused: [{ recipient: 'b@dest.example', code: 550 }], trouble: { command: 'RCPT TO' } }],
    ['sender', 'MAIL', { refused: [], trouble: { command: 'MAIL FROM' } }],
  ])(
    'a host that took none of the %s and asks for the message all the same gets none, not even an empty one',
    async (_, command, wanted) => {
      await ordinary({ ehlo: ['PIPELINING'], on: at(command, (says) => says.say('550 5.7.1 no')) });
      expect(await sending()).toMatchObject({ kind: 'failed', began: false, dead: true, ...wanted });
      expect(host.heard()).toMatch(/DATA\r\n$/);
    },
  );

  it('waits for each reply where the host does not', async () => {
    let unanswered = 0;
    let most = 0;
    await ordinary({
      on: (line, says) => {
        if (!/^(?:MAIL|RCPT)/.test(line)) return false;
        unanswered += 1;
        most = Math.max(most, unanswered);
        setTimeout(() => {
          unanswered -= 1;
          says.say('250 ok');
        }, 20);
        return true;
      },
    });
    expect((await sending({ recipients: ['b@dest.example', 'c@dest.example'] })).kind).toBe('sent');
    expect(most).toBe(1);
  });

  it('a refused sender is the trouble, and the replies that follow in the pipeline are not taken for others', async () => {
    await ordinary({
      ehlo: ['PIPELINING'],
      on: (line, says) => {
        if (line.startsWith('MAIL')) says.say('451 4.7.1 later');
        else if (/^(?:RCPT|DATA)/.test(line)) says.say('503 5.5.1 MAIL first');
        return /^(?:MAIL|RCPT|DATA)/.test(line);
      },
    });
    const client = await connected();
    const sent = await client.send(mail, () => undefined);
    expect(sent).toMatchObject({
      kind: 'failed',
      trouble: { code: 451, command: 'MAIL FROM' },
      refused: [],
      dead: false,
      began: false,
    });
    expect(await client.reset()).toBe(true);
  });

  it('goes as one chunk where the host takes that (RFC 3030), dots as they are', async () => {
    await ordinary({ ehlo: ['CHUNKING'] });
    expect(await sending()).toMatchObject({ kind: 'sent', reply: '250 2.0.0 chunk taken' });
    expect(host.heard()).toContain(`BDAT ${mail.bytes.length} LAST\r\nSubject: x\r\n\r\n.hello\r\n`);
    expect(host.heard()).not.toContain('DATA\r\n');
  });

  it('tells its size and its octets where the host wants to know', async () => {
    await ordinary({ ehlo: ['SIZE 1000', '8BITMIME', 'DSN'] });
    await sending({ bytes: Buffer.from('Subject: x\r\n\r\nü\r\n'), ret: 'HDRS', envid: 'a+b c' });
    expect(host.heard()).toMatch(/^MAIL FROM:<a@example.org> SIZE=18 BODY=8BITMIME RET=HDRS ENVID=a\+2Bb\+20c\r$/m);
  });

  it('the last 250 is told in the tick in which it was read', async () => {
    await ordinary({});
    const order: string[] = [];
    const client = await connected();
    const sent = client
      .send(mail, (accepted) => order.push(`delivered ${accepted.join()}`))
      .then(() => order.push('resolved'));
    await sent;
    expect(order).toEqual(['delivered b@dest.example', 'resolved']);
  });

  const cannot: readonly [why: string, behaviour: Behaviour, fields: Partial<Mail>, status: string][] = [
    ['a message above the announced size is not offered', { ehlo: ['SIZE 10'] }, {}, '5.3.4'],
    ['8-bit text is not sent to a host that takes none', {}, { bytes: Buffer.from('x: y\r\n\r\nü\r\n') }, '5.6.3'],
    [
      'an international address is not sent to a host that takes none',
      { ehlo: ['8BITMIME'] },
      { recipients: ['jürgen@dest.example'] },
      '5.6.7',
    ],
    [
      'an address that would be a second command is no address',
      {},
      { recipients: ['b@dest.example>\r\nRCPT TO:<c'] },
      '5.1.3',
    ],
  ];
  it.for(cannot)('%s', async ([, behaviour, fields, status]) => {
    await ordinary(behaviour);
    expect(await sending(fields)).toMatchObject({ kind: 'failed', began: false, trouble: { status } });
    expect(host.heard()).not.toMatch(/^(?:MAIL|RCPT)/m);
  });
});

describe('a host that misbehaves', () => {
  const rows: readonly [why: string, on: Behaviour['on'], wanted: object][] = [
    [
      'talks nonsense instead of a reply',
      at('DATA', (says) => says.say('yes please')),
      { trouble: { name: 'protocol' }, dead: true, began: false },
    ],
    [
      'answers without end',
      at('DATA', (says) => says.raw('354-x\r\n'.repeat(20_000))),
      { trouble: { name: 'protocol' }, dead: true },
    ],
    [
      'hangs up after the final dot',
      at('<end>', (says) => says.hangUp()),
      { trouble: { name: 'connection' }, dead: true, began: true },
    ],
    [
      'closes with 421 in the middle',
      at('DATA', (says) => says.say('421 4.3.2 closing')),
      { trouble: { code: 421 }, began: false },
    ],
  ];
  it.for(rows)('%s', async ([, on, wanted]) => {
    await ordinary(on === undefined ? {} : { on });
    expect(await sending()).toMatchObject({ kind: 'failed', ...wanted });
  });

  it('a 421 that nobody asked for is what the next transaction hears', async () => {
    await ordinary({
      on: at('RSET', (says) => {
        says.say('250 ok');
        says.say('421 4.4.2 idle for too long');
        says.hangUp();
      }),
    });
    const client = await connected();
    await client.reset();
    await expect.poll(() => client.dead, { timeout: 10_000 }).toBe(true);
    expect(await client.send(mail, () => undefined)).toMatchObject({
      kind: 'failed',
      trouble: { code: 421 },
      dead: true,
      began: false,
    });
  });
});

const digest = (): Uint8Array =>
  createHash('sha256')
    .update(new X509Certificate(issued.cert).publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
const tlsa = (data: Uint8Array, certUsage = 3, selector = 1): TlsDemand => ({
  kind: 'dane',
  records: [{ certUsage, selector, match: 1, data }],
});

describe('TLS', () => {
  it('is taken where it is offered, with any certificate, and all is said anew (RFC 3207 §4.2)', async () => {
    await ordinary({ ehlo: ['STARTTLS', 'PIPELINING'] });
    const client = await connected();
    expect(client.encrypted).toBe(true);
    expect((await client.send(mail, () => undefined)).kind).toBe('sent');
    expect(host.heard().match(/^EHLO/gm)).toHaveLength(2);
  });

  const demands: readonly [why: string, ehlo: readonly string[], demand: () => TlsDemand, ok: boolean][] = [
    ['a host that offers none gets no mail that must not go without', [], () => ({ kind: 'encrypted' }), false],
    [
      'any certificate is enough where encryption alone is asked for',
      ['STARTTLS'],
      () => ({ kind: 'encrypted' }),
      true,
    ],
    [
      'a certificate under an unknown authority is not enough for MTA-STS',
      ['STARTTLS'],
      () => ({ kind: 'public-authority' }),
      false,
    ],
    ['the key that DANE names is enough', ['STARTTLS'], () => tlsa(digest()), true],
    ['another key is not', ['STARTTLS'], () => tlsa(new Uint8Array(32)), false],
    [
      'the authority that DANE names is enough',
      ['STARTTLS'],
      () => tlsa(createHash('sha256').update(new X509Certificate(authority.cert).raw).digest(), 2, 0),
      true,
    ],
    ['a host’s own certificate is no authority', ['STARTTLS'], () => tlsa(digest(), 2), false],
  ];
  it.for(demands)('%s', async ([, ehlo, demand, ok]) => {
    await ordinary({ ehlo });
    const opened = await open(demand());
    if (ok) expect(opened).toBeInstanceOf(SmtpClient);
    else expect(opened).toMatchObject({ name: 'tls' });
    expect(host.heard()).not.toContain('MAIL');
  });

  it('a refused STARTTLS is a refusal where TLS is demanded, and nothing where it is not', async () => {
    await ordinary({
      ehlo: ['STARTTLS'],
      on: at('STARTTLS', (says) => says.say('454 4.7.0 not now')),
    });
    expect(await open({ kind: 'encrypted' })).toMatchObject({ name: 'tls' });
    expect(await open()).toBeInstanceOf(SmtpClient);
  });

  it('words put behind the 220 by a listener are not taken for the host’s (CVE-2021-38371 and its kin)', async () => {
    await ordinary({
      ehlo: ['STARTTLS'],
      on: at('STARTTLS', (says) => says.raw('220 go\r\n250 injected\r\n')),
    });
    expect(await open()).toMatchObject({ name: 'protocol' });
  });

  const encoded = (text: string): string => Buffer.from(text).toString('base64');

  it('a host that knows LOGIN alone gets the name and the password one after the other', async () => {
    const asked = ['334 VXNlcm5hbWU6', '334 UGFzc3dvcmQ6', '235 2.7.0 ok'];
    await ordinary({
      ehlo: ['STARTTLS', 'AUTH LOGIN'],
      on: (line, says) => {
        if (!/^(?:AUTH LOGIN|dQ==|c2VjcmV0)$/.test(line)) return false;
        says.say(asked.shift() ?? '503 5.5.1 enough');
        return true;
      },
    });
    expect(await open({ kind: 'opportunistic' }, { user: 'u', password: 'secret' })).toBeInstanceOf(SmtpClient);
    expect(asked).toEqual([]);
  });

  it.each(['AUTH PLAIN', 'AUTH LOGIN'])(
    'a host that refuses %s, and repeats what it heard, tells nobody the password',
    async (mechanism) => {
      let wanted = mechanism === 'AUTH LOGIN' ? 2 : 0;
      await ordinary({
        ehlo: ['STARTTLS', mechanism],
        on: (line, says) => {
          if (!/^(?:AUTH|dQ==|c2VjcmV0)/.test(line)) return false;
          wanted -= 1;
          if (wanted >= 0) says.say('334 ');
          else says.say(`535 5.7.8 no: "${line}" (${encoded('secret')}, secret, ${encoded('\0u\0secret')})`);
          return true;
        },
      });
      const trouble = await open({ kind: 'opportunistic' }, { user: 'u', password: 'secret' });
      expect(trouble).toMatchObject({ command: 'AUTH', code: 535, reply: expect.stringContaining('535 5.7.8 no') });
      expect(JSON.stringify(trouble)).not.toMatch(new RegExp(`secret|${encoded('secret')}|${encoded('\0u\0secret')}`));
    },
  );

  it('a password goes under TLS alone', async () => {
    const auth = { user: 'u', password: 'secret' };
    await ordinary({ ehlo: ['AUTH PLAIN'] });
    expect(await open({ kind: 'opportunistic' }, auth)).toMatchObject({ name: 'tls' });
    expect(host.heard()).not.toContain('AUTH');
    await host.close();
    await ordinary({
      ehlo: ['STARTTLS', 'AUTH PLAIN'],
      on: at('AUTH', (says) => says.say('235 2.7.0 ok')),
    });
    expect(await open({ kind: 'opportunistic' }, auth)).toBeInstanceOf(SmtpClient);
    expect(host.heard()).toContain(`AUTH PLAIN ${Buffer.from('\0u\0secret').toString('base64')}\r\n`);
  });
});
