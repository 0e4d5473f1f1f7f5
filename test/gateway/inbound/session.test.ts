import { createConnection } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { dnsLists } from '../../../gateway/evidence/dns-lists.ts';
import { openGate } from '../storage/open-gate.ts';
import { paths, plainMessage, policyOf, RawClient, startUnderTest, type UnderTest } from './listener-under-test.ts';

let gateway: UnderTest;
const clients: RawClient[] = [];

async function connect(port = gateway.port): Promise<RawClient> {
  const client = await RawClient.connect(port);
  clients.push(client);
  return client;
}

beforeAll(async () => {
  gateway = await startUnderTest();
});
afterEach(() => clients.splice(0).forEach((client) => client.close()));
afterAll(() => gateway.stop());

describe('the greeting of a session', () => {
  it('EHLO announces what is kept to, and nothing else', async () => {
    const client = await connect();
    const lines = (await client.say('EHLO client.example')).split('\r\n').map((line) => line.slice(4));
    expect(lines).toEqual([
      'mx.example.org',
      'PIPELINING',
      '8BITMIME',
      'SMTPUTF8',
      'ENHANCEDSTATUSCODES',
      'DSN',
      'CHUNKING',
      'HELP',
      'SIZE 36634624',
      'LIMITS RCPTMAX=100 MAILMAX=100',
    ]);
  });

  it('commands that a stranger has no use for are unknown', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    for (const command of ['AUTH PLAIN', 'XCLIENT ADDR=192.0.2.1', 'WIZ', 'ETRN x']) {
      expect(await client.say(command)).toMatch(/^500 5\.5\.2 /);
    }
  });

  it('five bad commands are enough', async () => {
    const client = await connect();
    for (let i = 0; i < 4; i += 1) expect(await client.say('NONSENSE')).toMatch(/^500 /);
    expect(await client.say('NONSENSE')).toMatch(/^500 /);
    expect(await client.reply()).toMatch(/^421 4\.7\.0 /);
    expect(await client.reply()).toBe('closed');
  });
});

describe('RCPT: every answer of the ring has its own reply', () => {
  const rows: readonly [why: string, recipient: string, reply: RegExp][] = [
    ['a user is there', '<alice@example.org>', /^250 /],
    ['case does not matter', '<Alice@EXAMPLE.ORG>', /^250 /],
    ['a subaddress is its user', '<alice+news@example.org>', /^250 /],
    ['a list takes mail', '<list@example.org>', /^250 /],
    ['postmaster is somebody', '<postmaster@example.org>', /^250 /],
    ['postmaster without a domain is somebody', '<Postmaster>', /^250 /],
    ['a source route is ignored, as RFC 5321 appendix C wants', '<@relay.example:alice@example.org>', /^250 /],
    ['a return path of ours is who it was given out for', `<${paths.sign('alice@example.org', Date.now())}>`, /^250 /],
    ['a return path of ours with a subaddress too', `<${paths.sign('alice+shop@example.org', Date.now())}>`, /^250 /],
    ['a return path of a user who is gone', `<${paths.sign('gone@example.org', Date.now())}>`, /^550 5\.2\.1 /],
    [
      'a return path of a month ago has expired',
      `<${paths.sign('alice@example.org', Date.now() - 30 * 86_400_000)}>`,
      /^550 5\.7\.1 .*expired/,
    ],
    [
      'a return path that we did not give out',
      `<${paths.sign('alice@example.org', Date.now()).replace('alice', 'bob')}>`,
      /^550 5\.7\.1 .*not one that we gave out/,
    ],
    [
      'a return path does not lead elsewhere',
      `<${paths.sign('x@elsewhere.example', Date.now())}>`,
      /^550 5\.7\.1 .*relaying/,
    ],
    ['nobody is nobody', '<nobody@example.org>', /^550 5\.1\.1 /],
    ['a user of one domain is not one of the other', '<alice@example.com>', /^550 5\.1\.1 /],
    ['a revoked user is gone', '<gone@example.org>', /^550 5\.2\.1 /],
    ['not to know is not no', '<lost@example.org>', /^451 4\.4\.3 /],
    ['a node that is away is not no', '<broken@example.org>', /^451 4\.4\.3 /],
    ['an identity without a mailbox takes no mail', '<mailer-daemon@example.org>', /^550 5\.1\.1 /],
    ['another domain is not ours', '<x@elsewhere.example>', /^550 5\.7\.1 /],
    ['a percent sign leads nowhere', '<x%elsewhere.example@example.org>', /^550 5\.1\.1 /],
    ['a bang path leads nowhere', '<elsewhere.example!x@example.org>', /^550 5\.1\.1 /],
    ['a bang path alone leads nowhere', '<elsewhere.example!x>', /^5\d\d /],
    ['a quoted address leads nowhere', '<"x@elsewhere.example"@example.org>', /^5\d\d /],
    ['a quoted percent sign leads nowhere', '<"x%elsewhere.example">', /^5\d\d /],
    ['a source route to elsewhere leads nowhere', '<@example.org:x@elsewhere.example>', /^550 5\.7\.1 /],
    ['an address literal is not ours', '<x%elsewhere.example@[127.0.0.1]>', /^5\d\d /],
    ['a final dot is not ours', '<alice@example.org.>', /^5\d\d /],
    ['NUL is no address', '<x@elsewhere.example\0@example.org>', /^5\d\d /],
    ['brackets in brackets are no address', '< <x@elsewhere.example> >', /^5\d\d /],
    ['an unknown parameter is refused', '<alice@example.org> FOO=BAR', /^555 5\.5\.4 /],
    ['DSN is understood', '<alice@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;al+2Bice@example.org', /^250 /],
    ['NEVER stands alone', '<alice@example.org> NOTIFY=NEVER,DELAY', /^501 5\.5\.4 /],
    ['xtext that is none', '<alice@example.org> ORCPT=rfc822;al+2bice@example.org', /^501 5\.5\.4 /],
  ];
  it.each(rows)('%s', async (_why, recipient, expected) => {
    const client = await connect();
    await client.say('EHLO client.example');
    await client.say('MAIL FROM:<friend@sender.example>');
    expect(await client.say(`RCPT TO:${recipient}`)).toMatch(expected);
  });

  it('a refusal names the trace that explains it', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    await client.say('MAIL FROM:<friend@sender.example>');
    const trace = /\((t\d+)\)$/.exec(await client.say('RCPT TO:<nobody@example.org>'))?.[1];
    expect(gateway.events.filter((event) => event.trace === trace).map((event) => event.what)).toEqual([
      'connect',
      'mail',
      'rcpt',
    ]);
  });

  it('guessing addresses ends after ten', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    await client.say('MAIL FROM:<friend@sender.example>');
    for (let i = 1; i < 10; i += 1)
      expect(await client.say(`RCPT TO:<guess${i}@example.org>`)).toMatch(/^550 5\.1\.1 /);
    expect(await client.say('RCPT TO:<guess10@example.org>')).toMatch(/^421 4\.7\.0 /);
  });
});

// As the wire has it: UTF-8, written octet for octet.
const longAsALabels = `<${'a'.repeat(180)}@${Buffer.from('ü.'.repeat(30)).toString('latin1')}example> SMTPUTF8`;

describe('MAIL', () => {
  const rows: readonly [why: string, argument: string, reply: RegExp][] = [
    ['an address', '<a@sender.example>', /^250 /],
    ['nobody, as bounces have', '<>', /^250 /],
    ['a size that fits', '<a@sender.example> SIZE=1000', /^250 /],
    ['8BITMIME and SMTPUTF8', '<a@sender.example> BODY=8BITMIME SMTPUTF8', /^250 /],
    ['an address literal is a place mail can come from', '<a@[192.0.2.1]>', /^250 /],
    ['a size that does not fit is refused at once', '<a@sender.example> SIZE=99999999999', /^552 5\.3\.4 /],
    ['an unknown parameter is refused', '<a@sender.example> FOO=BAR', /^555 5\.5\.4 /],
    ['AUTH is not announced, so its parameter is unknown', '<a@sender.example> AUTH=<>', /^555 5\.5\.4 /],
    ['a quoted text with results in it is no address', '<"x; dmarc=pass"@sender.example>', /^501 /],
    ['a domain that is none', '<a@-.example>', /^501 /],
    ['a sender that is longer as A-labels than a notification carries', longAsALabels, /^501 5\.1\.7 not an address/],
  ];
  it.each(rows)('%s', async (_why, argument, expected) => {
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say(`MAIL FROM:${argument}`)).toMatch(expected);
  });

  it('a disk with too little room takes no mail: 421 in place of the greeting', async () => {
    const sick = await startUnderTest({ minFreeBytes: Number.MAX_SAFE_INTEGER });
    const client = new RawClient(createConnection(sick.port, '127.0.0.1'));
    clients.push(client);
    expect(await client.reply()).toMatch(/^421 4\.3\.1 cannot store mail/);
    expect(await client.reply()).toBe('closed');
    await sick.stop();
  });

  it('a disk that breaks during a session is told at MAIL and at the final dot, and mail goes on when it is well', async () => {
    let shut: { why: string; since: number } | undefined;
    const storage = { ...openGate, shut: () => shut };
    const sick = await startUnderTest({ parts: { storage } });
    const client = await connect(sick.port);
    await client.envelope();
    expect(await client.say('DATA')).toMatch(/^354 /);
    shut = { why: 'full', since: 0 };
    client.write(`${plainMessage}.\r\n`);
    expect(await client.reply()).toMatch(/^451 4\.3\.1 cannot store mail/);
    expect(await client.say('MAIL FROM:<a@sender.example>')).toMatch(/^451 4\.3\.1 /);
    expect(await sick.jobs()).toEqual([]);
    shut = undefined;
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    await sick.stop();
  });
});

describe('DNS lists before the message', () => {
  const zone = {
    '2.0.0.127.block.example': { A: ['127.0.0.2'] },
    '77.0.0.127.block.example': { A: ['127.0.0.3'] },
  };
  const withLists = (text: string) =>
    startUnderTest({
      zone,
      policy: policyOf(text),
      parts: { lists: dnsLists({ block: ['block.example'], allow: [], domains: [] }, Date.now) },
    });

  it('are asked in place of the greeting where a rule at connect asks, and who is listed gets 554', async () => {
    const asking = await withLists(
      'version: 1\nrules:\n  - {id: a, stages: connect, when: "dnslist.block == \\"listed\\"", do: reject}\ndefault: accept\n',
    );
    const listed = new RawClient(
      createConnection({ port: asking.port, host: '127.0.0.1', localAddress: '127.0.0.77' }),
    );
    clients.push(listed);
    expect(await listed.reply()).toMatch(/^554 5\.7\.1 /);
    const other = await connect(asking.port);
    expect(await other.say('NOOP')).toMatch(/^250 /);
    await asking.stop();
  });

  it('are not asked before the data where no rule does', async () => {
    const quiet = await withLists(
      'version: 1\nrules:\n  - {id: a, stages: connect, when: "client.ip == \\"192.0.2.1\\"", do: reject}\n  - {id: b, when: "dnslist.block == \\"listed\\"", do: junk}\ndefault: accept\n',
    );
    const client = await connect(quiet.port);
    await client.envelope();
    expect(quiet.dns.asked.filter((question) => question.includes('block.example'))).toEqual([]);
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    expect(quiet.dns.asked).toContain('A 1.0.0.127.block.example');
    await quiet.stop();
  });
});

describe('recipients of one transaction', () => {
  const policy = (rule: string): string => `version: 1\nrules:\n  - {id: a, ${rule}}\ndefault: accept\n`;
  const rows: [why: string, text: string, second: RegExp][] = [
    ['that no rule looks at share it', policy('when: "spf.result == \\"fail\\"", do: junk'), /^250 /],
    [
      'that a rule at the data looks at are decided on one by one',
      policy('when: "\\"bob@example.org\\" in envelope.recipients", do: reject'),
      /^452 4\.5\.3 each recipient is decided on by itself/,
    ],
    [
      'so are those whose acquaintance with the author counts',
      policy('when: "history.firstTimeRecipients > 0", do: junk'),
      /^452 /,
    ],
    [
      'a rule that only watches changes nothing',
      policy('when: "\\"bob@example.org\\" in envelope.recipients", do: reject, mode: shadow'),
      /^250 /,
    ],
    [
      'nor does how many there are, which is the same for all',
      policy('when: "envelope.recipientCount > 50", do: reject'),
      /^250 /,
    ],
  ];
  it.each(rows)('%s', async (_why, text, second) => {
    const choosy = await startUnderTest({ policy: policyOf(text) });
    const client = await connect(choosy.port);
    await client.envelope();
    expect(await client.say('RCPT TO:<alice@example.org>')).toMatch(/^250 /);
    expect(await client.say('RCPT TO:<bob@example.org>')).toMatch(second);
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    await choosy.stop();
  });
});

describe('limits', () => {
  it('connections beyond the limit are told to come again', async () => {
    const small = await startUnderTest({ limits: { connections: [2, 2, 2], exemptNetworks: [] } });
    const first = await connect(small.port);
    await connect(small.port);
    const third = new RawClient(createConnection(small.port, '127.0.0.1'));
    expect(await third.reply()).toMatch(/^421 4\.7\.0 /);
    first.close();
    await expect.poll(() => small.listener.sessions()).toBe(1);
    expect(await (await connect(small.port)).say('NOOP')).toMatch(/^250 /);
    await small.stop();
  });

  it('after so many messages a new connection is wanted', async () => {
    const small = await startUnderTest({ limits: { messagesPerConnection: 1 } });
    const client = await connect(small.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    expect(await client.say('MAIL FROM:<a@sender.example>')).toMatch(/^421 4\.7\.0 /);
    await small.stop();
  });

  it('transactions that are begun and never ended count too, as RFC 9422 says of MAILMAX', async () => {
    const small = await startUnderTest({ limits: { messagesPerConnection: 3 } });
    const client = await connect(small.port);
    await client.say('EHLO client.example');
    for (let i = 0; i < 3; i += 1) {
      expect(await client.say('MAIL FROM:<a@sender.example>')).toMatch(/^250 /);
      expect(await client.say('RSET')).toMatch(/^250 /);
    }
    expect(await client.say('MAIL FROM:<a@sender.example>')).toMatch(/^421 4\.7\.0 /);
    await small.stop();
  });

  it('recipients that are refused count too, and are not written down for ever', async () => {
    const small = await startUnderTest({ limits: { recipients: 2 } });
    const client = await connect(small.port);
    await client.say('EHLO client.example');
    await client.say('MAIL FROM:<a@sender.example>');
    for (let i = 0; i < 2; i += 1) expect(await client.say('RCPT TO:<lost@example.org>')).toMatch(/^451 /);
    const before = small.events.length;
    expect(await client.say('RCPT TO:<lost@example.org>')).toMatch(/^452 4\.5\.3 /);
    expect(small.events).toHaveLength(before);
    await small.stop();
  });

  it('looking for an open relay ends after ten', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    await client.say('MAIL FROM:<friend@sender.example>');
    for (let i = 1; i < 10; i += 1)
      expect(await client.say(`RCPT TO:<x@elsewhere${i}.example>`)).toMatch(/^550 5\.7\.1 /);
    expect(await client.say('RCPT TO:<x@elsewhere10.example>')).toMatch(/^421 4\.7\.0 /);
  });

  it('a command line that does not end is not kept', async () => {
    const client = await connect();
    client.write('x'.repeat(100_000));
    expect(await client.reply()).toMatch(/^421 /);
    expect(await client.reply()).toBe('closed');
  });
});
