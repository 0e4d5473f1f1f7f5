import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { generate } from 'selfsigned';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { dataPieces } from '../../../../gateway/relay/smtp/message-lines.ts';
import { testdata } from '../../../testdata.ts';
import { plainMessage, RawClient, startUnderTest, type UnderTest } from '../listener-under-test.ts';

interface Suite {
  readonly sequences: readonly { readonly id: string; readonly bytes_b64: string; readonly ends_data: boolean }[];
}

const folder = testdata('smtp-smuggling');
const suite =
  folder === undefined ? undefined : (JSON.parse(readFileSync(path.join(folder, 'sequences.json'), 'utf8')) as Suite);
const sequences = suite?.sequences ?? [];
const absent = suite === undefined ? ' (skipped: ../shared/testdata/smtp-smuggling is absent)' : '';

let gateway: UnderTest;
const clients: RawClient[] = [];
const others: UnderTest[] = [];

async function connect(port = gateway.port): Promise<RawClient> {
  const client = await RawClient.connect(port);
  clients.push(client);
  return client;
}

/** The message that was taken under the trace that this reply names, as it was queued. */
async function queued(reply: string): Promise<string> {
  const trace = reply.split(' ').at(-1);
  const job = (await gateway.jobs()).find((one) => one.trace === trace);
  return Buffer.from(job?.message as Uint8Array).toString('latin1');
}

beforeAll(async () => {
  const pem = await generate([{ name: 'commonName', value: 'mx.example.org' }]);
  gateway = await startUnderTest({ tls: { key: pem.private, cert: pem.cert } });
});
afterEach(async () => {
  // TLS before the socket below it.
  for (const client of clients.splice(0).reverse()) client.close();
  await Promise.all(others.splice(0).map((other) => other.stop()));
});
afterAll(() => gateway.stop());

const smuggled =
  'MAIL FROM:<smuggled@legitimate.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n';
const opening = 'EHLO client.example\r\nMAIL FROM:<test@attack.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n';

describe.skipIf(suite === undefined)(`what some servers take for the end of a message${absent}`, () => {
  it('there are vectors', () => expect(sequences.length).toBeGreaterThan(10));

  it.for(sequences.filter(({ ends_data }) => !ends_data).map(({ id, bytes_b64 }) => [id, bytes_b64] as const))(
    '%s ends nothing: no command of it runs, and at most one message is taken',
    async ([, bytes]) => {
      const before = new Set((await gateway.jobs()).map((job) => job.trace));
      const client = await connect();
      client.write(opening);
      for (const code of [/^250/, /^250/, /^250/, /^354/]) expect(await client.reply()).toMatch(code);
      const inside = Buffer.concat([
        Buffer.from('Subject: outer\r\n\r\nfirst line'),
        Buffer.from(bytes, 'base64'),
        Buffer.from(smuggled),
      ]);
      client.write(inside);
      expect(await client.reply()).toMatch(/^(?:250|554) /);
      expect(await client.say('NOOP')).toBe('250 2.0.0 OK');
      const taken = (await gateway.jobs()).filter((job) => !before.has(job.trace));
      expect(taken.length).toBeLessThanOrEqual(1);
      expect(taken.flatMap((job) => job.recipients)).not.toContain('bob@example.org');
      for (const { message } of taken)
        expect(Buffer.from(message as Uint8Array).toString('latin1')).toContain('smuggled\r\n');
    },
  );

  it.for(sequences.map(({ id, bytes_b64 }) => [id, bytes_b64] as const))(
    '%s goes out without a bare CR, a bare LF or an end of its own',
    ([, bytes]) => {
      const message = Buffer.concat([
        Buffer.from('a: b\r\n\r\nx'),
        Buffer.from(bytes, 'base64'),
        Buffer.from(smuggled),
      ]);
      for (const step of [1, 2, 3, 1_000]) {
        const sent = Buffer.concat([...dataPieces(message, step)]).toString('latin1');
        expect(sent.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
        expect(`\r\n${sent}`.indexOf('\r\n.\r\n')).toBe(sent.length - 3);
      }
    },
  );

  it('the true end is found in packets of one octet each', async () => {
    const client = await connect();
    client.socket.setNoDelay(true);
    await client.envelope();
    await client.say('DATA');
    for (const octet of `${plainMessage}.\r\n`) {
      client.write(octet);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.reply()).toMatch(/^250 /);
  });
});

describe('commands that are brought in', () => {
  it('behind STARTTLS in the same packet are forgotten (CVE-2011-0411)', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    client.write(
      'STARTTLS\r\nEHLO injected\r\nMAIL FROM:<smuggled@legitimate.example>\r\nRCPT TO:<alice@example.org>\r\n',
    );
    expect(await client.reply()).toMatch(/^220 2\.0\.0 /);
    client.socket.removeAllListeners('data');
    const socket = tlsConnect({ socket: client.socket, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const secure = new RawClient(socket);
    clients.push(secure);
    expect(await secure.say('RCPT TO:<alice@example.org>')).toMatch(/^503 /);
    expect(await secure.say('MAIL FROM:<a@sender.example>')).toMatch(/^503 5\.5\.1 EHLO/);
    expect(await secure.say('EHLO client.example')).toContain('REQUIRETLS');
    expect(await secure.say('STARTTLS')).toMatch(/^503 /);
    await secure.envelope();
    expect(await secure.data(plainMessage)).toMatch(/^250 /);
  });

  it('in a later packet break the handshake, and nothing of them runs', async () => {
    const before = gateway.events.length;
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say('STARTTLS')).toMatch(/^220 /);
    client.write('MAIL FROM:<smuggled@legitimate.example>\r\n');
    await once(client.socket, 'close');
    expect(gateway.events.slice(before)).toEqual([]);
  });

  it('with a bare LF end the conversation, since a host before us may have seen another line', async () => {
    const before = gateway.events.length;
    const client = await connect();
    await client.say('EHLO client.example');
    client.write('NOOP\nMAIL FROM:<smuggled@legitimate.example>\r\n');
    expect(await client.reply()).toMatch(/^500 5\.5\.2 .*CRLF/);
    expect(await client.reply()).toBe('closed');
    expect(gateway.events.slice(before).map(({ what }) => what)).toEqual(['connect', 'refused']);
  });

  it.for([
    ['in the EHLO name', 'EHLO client.example\rMAIL FROM:<x@y.example>'],
    ['in a path', 'MAIL FROM:<a@sender.example\rRCPT TO:<bob@example.org>>'],
    ['in a parameter', 'MAIL FROM:<a@sender.example> ENVID=x\rQUIT'],
    ['behind NUL', 'NOOP\0MAIL FROM:<x@y.example>'],
  ] as const)('%s are one bad command', async ([, line]) => {
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say(line)).toMatch(/^500 5\.5\.2 /);
    expect(await client.say('NOOP')).toMatch(/^250 /);
  });

  it('encoded in parameters stay encoded, or are refused', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say('MAIL FROM:<a@sender.example> ENVID=x+0D+0AQUIT')).toMatch(/^501 /);
    expect(await client.say('MAIL FROM:<a@sender.example>')).toMatch(/^250 /);
    expect(await client.say('RCPT TO:<alice@example.org> ORCPT=rfc822;x+0D+0Ay@z.example')).toMatch(/^501 /);
  });
});

describe('chunks (RFC 3030)', () => {
  async function begun(): Promise<RawClient> {
    const client = await connect();
    await client.envelope();
    return client;
  }
  it('are a message together', async () => {
    const client = await begun();
    const before = (await gateway.jobs()).length;
    const [first, second] = [plainMessage.slice(0, 30), plainMessage.slice(30)];
    client.write(`BDAT ${first.length}\r\n${first}BDAT ${second.length} LAST\r\n${second}NOOP\r\n`);
    expect(await client.reply()).toBe(`250 2.0.0 ${first.length} octets received`);
    const taken = await client.reply();
    expect(taken).toMatch(/^250 2\.0\.0 Ok: queued as /);
    expect(await client.reply()).toBe('250 2.0.0 OK');
    expect(await gateway.jobs()).toHaveLength(before + 1);
    expect((await queued(taken)).endsWith(plainMessage)).toBe(true);
  });

  it('have no dots that mean anything', async () => {
    const client = await begun();
    const message = `${plainMessage}ab\r\n.\r\ncd\r\n`;
    client.write(`BDAT ${message.length}\r\n${message}BDAT 0 LAST\r\n`);
    expect(await client.reply()).toMatch(/^250 /);
    expect((await queued(await client.reply())).endsWith(message)).toBe(true);
  });

  it('end where they say: what follows are commands', async () => {
    const client = await begun();
    client.write(`BDAT 5 LAST\r\na: b\r${'x'.repeat(45)}\r\nNOOP\r\n`);
    expect(await client.reply()).toMatch(/^554 5\.6\.0 /);
    expect(await client.reply()).toMatch(/^500 /);
    expect(await client.reply()).toMatch(/^250 /);
  });

  it('take no DATA after them', async () => {
    const client = await begun();
    client.write('BDAT 3\r\nabcDATA\r\n');
    expect(await client.reply()).toMatch(/^250 /);
    expect(await client.reply()).toMatch(/^503 5\.5\.1 /);
  });

  it('that are refused are octets all the same, never commands', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    client.write(`BDAT ${smuggled.length} LAST\r\n${smuggled}NOOP\r\n`);
    expect(await client.reply()).toMatch(/^503 5\.5\.1 /);
    expect(await client.reply()).toBe('250 2.0.0 OK');
  });

  it('without a number end the conversation, since nobody knows where the next command is', async () => {
    const client = await begun();
    client.write(`BDAT all\r\n${smuggled}`);
    expect(await client.reply()).toMatch(/^501 5\.5\.4 /);
    expect(await client.reply()).toBe('closed');
  });

  it('given up give their memory back', async () => {
    const small = await startUnderTest({ limits: { messagesInMemoryBytes: 400 } });
    others.push(small);
    const client = await connect(small.port);
    for (let i = 0; i < 3; i += 1) {
      await client.envelope();
      client.write(`BDAT 300\r\n${'x'.repeat(300)}`);
      expect(await client.reply()).toMatch(/^250 /);
      expect(await client.say('RSET')).toMatch(/^250 /);
    }
    await client.envelope();
    client.write(`BDAT ${plainMessage.length} LAST\r\n${plainMessage}`);
    expect(await client.reply()).toMatch(/^250 /);
  });

  it('have no bare line ends in them', async () => {
    const client = await begun();
    const message = `${plainMessage}a\n.\r\nb\r\n`;
    client.write(`BDAT ${message.length} LAST\r\n${message}`);
    expect(await client.reply()).toMatch(/^554 5\.6\.0 /);
  });
});

describe('lines that are too long', () => {
  it.for([513, 1_000, 2_040])('a command line of %i octets is within what extensions allow', async (length) => {
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say(`NOOP ${'x'.repeat(length - 7)}`)).toMatch(/^250 /);
  });

  it('one beyond is refused, and the session goes on', async () => {
    const client = await connect();
    expect(await client.say(`NOOP ${'x'.repeat(3_000)}`)).toMatch(/^500 5\.5\.6 /);
    expect(await client.say(`NOOP ${'x'.repeat(30_000)}`)).toMatch(/^500 5\.5\.6 /);
    expect(await client.say('NOOP')).toMatch(/^250 /);
  });

  it('ten megabytes without a line end are neither kept nor waited for', async () => {
    const client = await connect();
    await client.say('EHLO client.example');
    client.write(Buffer.alloc(10 * 1024 * 1024, 'x'));
    expect(await client.reply()).toMatch(/^421 4\.5\.2 /);
  });
});
