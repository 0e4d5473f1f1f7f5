import { once } from 'node:events';
import { createConnection, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { generate } from 'selfsigned';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startListener } from '../../../gateway/inbound/listener.ts';
import type { TlsOptions } from '../../../gateway/inbound/smtp/certificates.ts';
import {
  acceptAll,
  plainMessage,
  RawClient,
  startUnderTest,
  type UnderTest,
  type UnderTestOptions,
} from './listener-under-test.ts';

const stops: (() => Promise<void>)[] = [];
const clients: RawClient[] = [];

async function start(options: UnderTestOptions = {}): Promise<UnderTest> {
  const gateway = await startUnderTest(options);
  stops.push(() => gateway.stop());
  return gateway;
}

/** A further listener of the same gateway. */
async function listenToo(gateway: UnderTest, options: Partial<Parameters<typeof startListener>[1]>): Promise<number> {
  const listener = await startListener(gateway.parts, { host: '127.0.0.1', port: 0, ...options });
  stops.unshift(() => listener.stop(100));
  return listener.port;
}

function open(port: number, host?: string): RawClient {
  const client = RawClient.open(port, host);
  clients.push(client);
  return client;
}

afterEach(async () => {
  // TLS before the socket below it.
  for (const client of clients.splice(0).reverse()) client.close();
  for (const stop of stops.splice(0)) await stop();
});

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => isIPv6(address)));

describe.skipIf(!hasIpv6)('IPv6 (skipped where the machine has none)', () => {
  it('is served as IPv4 is, and its address is the one that counts', async () => {
    const gateway = await start();
    const port = await listenToo(gateway, { host: '::1' });
    const client = open(port, '::1');
    expect(await client.reply()).toMatch(/^220 /);
    await client.envelope();
    const trace = (await client.data(plainMessage)).split(' ').at(-1);
    expect(gateway.events).toContainEqual(expect.objectContaining({ trace, what: 'connect', ip: '::1' }));
    const job = (await gateway.jobs()).find((one) => one.trace === trace);
    expect(Buffer.from(job?.message as Uint8Array).toString('latin1')).toContain('([IPv6:::1])');
  });
});

describe('a proxy', () => {
  const ipOf = (gateway: UnderTest): unknown => gateway.events.find(({ what }) => what === 'connect')?.['ip'];

  it.for([
    ['version 1', Buffer.from('PROXY TCP4 192.0.2.77 192.0.2.1 1000 25\r\n'), '192.0.2.77'],
    ['version 1, IPv6', Buffer.from('PROXY TCP6 2001:db8::77 2001:db8::1 1000 25\r\n'), '2001:db8::77'],
    ['version 2', Buffer.from('0d0a0d0a000d0a515549540a2111000cc000024dc000020103e80019', 'hex'), '192.0.2.77'],
    ['of itself', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
  ] as const)('that is listed says whom it speaks for: %s', async ([, header, ip]) => {
    const gateway = await start();
    const client = open(await listenToo(gateway, { proxies: ['127.0.0.0/8'] }));
    for (const octet of header) {
      client.write(Buffer.from([octet]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.reply()).toMatch(/^220 /);
    await client.envelope();
    expect(ipOf(gateway)).toBe(ip);
  });

  it('that is not listed is a client who talks nonsense', async () => {
    const gateway = await start();
    const client = open(gateway.port);
    expect(await client.reply()).toMatch(/^220 /);
    expect(await client.say('PROXY TCP4 192.0.2.77 192.0.2.1 1000 25')).toMatch(/^500 /);
    await client.envelope();
    expect(ipOf(gateway)).toBe('127.0.0.1');
  });

  it('that is listed and does not say for whom is not served', async () => {
    const gateway = await start();
    const client = open(await listenToo(gateway, { proxies: ['127.0.0.1'] }));
    client.write('EHLO client.example\r\n');
    expect(await client.reply()).toBe('closed');
    expect(gateway.events).toEqual([]);
  });

  it('is counted as the client it speaks for', async () => {
    const gateway = await start({ limits: { connections: [1, 1, 1], exemptNetworks: [] } });
    const port = await listenToo(gateway, { proxies: ['127.0.0.1'] });
    const greeted = async (ip: string): Promise<string> => {
      const client = open(port);
      client.write(`PROXY TCP4 ${ip} 192.0.2.1 1000 25\r\n`);
      return (await client.reply()).slice(0, 3);
    };
    expect([await greeted('192.0.2.77'), await greeted('192.0.2.77'), await greeted('198.51.100.1')]).toEqual([
      '220',
      '421',
      '220',
    ]);
  });
});

describe('certificates', () => {
  let made: { readonly [name: string]: { key: string; cert: string } };
  beforeAll(async () => {
    const pair = async (name: string): Promise<{ key: string; cert: string }> => {
      const pem = await generate([{ name: 'commonName', value: name }], {
        extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
      });
      return { key: pem.private, cert: pem.cert };
    };
    made = {
      first: await pair('mx.example.org'),
      other: await pair('*.example.com'),
      renewed: await pair('new.example.org'),
    };
  });
  const tls = (): TlsOptions => ({ ...made['first'], others: [{ ...made['other'] }] });

  /** The name in the certificate that is shown to who asks for this one. */
  async function shown(port: number, servername?: string): Promise<{ name: unknown; client: RawClient }> {
    const client = open(port);
    await client.reply();
    await client.say('EHLO client.example');
    await client.say('STARTTLS');
    client.socket.removeAllListeners('data');
    const socket: TLSSocket = tlsConnect({
      socket: client.socket,
      rejectUnauthorized: false,
      ...(servername === undefined ? {} : { servername }),
    });
    await once(socket, 'secureConnect');
    const secure = new RawClient(socket);
    clients.push(secure);
    return { name: socket.getPeerCertificate().subject.CN, client: secure };
  }

  it('are shown by the name that is asked for; the first to everybody else', async () => {
    const gateway = await start({ tls: tls() });
    expect((await shown(gateway.port)).name).toBe('mx.example.org');
    expect((await shown(gateway.port, 'mx.example.org')).name).toBe('mx.example.org');
    expect((await shown(gateway.port, 'mail.example.com')).name).toBe('*.example.com');
    expect((await shown(gateway.port, 'MAIL.example.com')).name).toBe('*.example.com');
    expect((await shown(gateway.port, 'elsewhere.example')).name).toBe('mx.example.org');
  });

  it('that are renewed are shown from then on, and sessions under way go on', async () => {
    const gateway = await start({ tls: tls() });
    const before = await shown(gateway.port);
    gateway.listener.useCertificate({ ...made['renewed'] });
    expect((await shown(gateway.port)).name).toBe('new.example.org');
    expect(await before.client.say('NOOP')).toMatch(/^250 /);
  });

  it('that TLS does not take leave those there that it had', async () => {
    const gateway = await start({ tls: tls() });
    expect(() => gateway.listener.useCertificate({ key: 'x', cert: 'y' })).toThrow();
    expect((await shown(gateway.port)).name).toBe('mx.example.org');
  });

  it('older than TLS 1.2 nothing is spoken (RFC 8996)', async () => {
    const gateway = await start({ tls: tls() });
    const client = open(gateway.port);
    await client.reply();
    await client.say('EHLO client.example');
    await client.say('STARTTLS');
    client.socket.removeAllListeners('data');
    const socket = tlsConnect({
      socket: client.socket,
      rejectUnauthorized: false,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    await expect(once(socket, 'secureConnect')).rejects.toThrow();
  });
});

describe('a client that is slow', () => {
  it('with a command is told and closed, however often it sends an octet', async () => {
    const gateway = await start({ limits: { commandTimeoutMs: 300 } });
    const client = open(gateway.port);
    await client.reply();
    const timer = setInterval(() => client.write('x'), 20);
    expect(await client.reply()).toMatch(/^421 4\.4\.2 /);
    clearInterval(timer);
    client.socket.end();
    await expect.poll(() => gateway.listener.sessions()).toBe(0);
  });

  it('with a message is told and closed, and its memory is free', async () => {
    const gateway = await start({ limits: { dataTimeoutMs: 300, messagesInMemoryBytes: 1_000 } });
    const client = open(gateway.port);
    await client.reply();
    await client.envelope();
    await client.say('DATA');
    client.write(`${'x'.repeat(900)}\r\n`);
    expect(await client.reply()).toMatch(/^421 4\.4\.2 /);
    const next = open(gateway.port);
    await next.reply();
    await next.envelope();
    expect(await next.data(plainMessage)).toMatch(/^250 /);
  });

  it('in all has its time, and not more', async () => {
    const gateway = await start({ limits: { sessionMs: 300, commandsWithoutMail: 1_000_000 } });
    const client = open(gateway.port);
    await client.reply();
    let said = '';
    while (!said.startsWith('421')) said = await client.say('RSET');
    expect(said).toMatch(/^421 4\.4\.2 session/);
  });

  it('to read is not answered for ever: what it would have to read is bounded, and it is closed', async () => {
    const gateway = await start({ limits: { commandTimeoutMs: 500, commandsWithoutMail: 1_000_000 } });
    const socket = createConnection(gateway.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    const help = Buffer.from('HELP\r\n'.repeat(10_000));
    const push = (): void => {
      if (!socket.destroyed) socket.write(help, () => setImmediate(push));
    };
    push();
    await expect.poll(() => gateway.listener.sessions(), { timeout: 20_000 }).toBe(1);
    await expect.poll(() => gateway.listener.sessions(), { timeout: 20_000 }).toBe(0);
    socket.destroy();
  });
});

describe('a client that sends without end', () => {
  /** Ends when it was cut off. */
  async function pushed(gateway: UnderTest, first: string, piece: Buffer): Promise<void> {
    const socket = createConnection(gateway.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.write(first);
    const push = (): void => {
      if (!socket.destroyed) socket.write(piece, () => setImmediate(push));
    };
    push();
    await once(socket, 'close');
    await expect.poll(() => gateway.listener.sessions()).toBe(0);
  }

  it('after it was told to go is cut off', async () => {
    const gateway = await start();
    await pushed(gateway, 'QUIT\r\n', Buffer.alloc(64 * 1024, 'x'));
  });

  it('a message of many times the size is cut off', async () => {
    const gateway = await start({ limits: { messageBytes: 10_000 } });
    const envelope = 'HELO c.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n';
    await pushed(gateway, envelope, Buffer.from(`${'x'.repeat(70)}\r\n`.repeat(900)));
    expect(await gateway.jobs()).toEqual([]);
  });
});

describe('a network that connects without end', () => {
  it('is told some times, and then not answered', async () => {
    const at = Date.now();
    const limits = { connections: [1, 1, 1], exemptNetworks: [] } as const;
    const gateway = await start({ limits, parts: { now: () => at } });
    const first = open(gateway.port);
    expect(await first.reply()).toMatch(/^220 /);
    const said = await Promise.all(Array.from({ length: 70 }, async () => await open(gateway.port).reply()));
    const told = said.filter((one) => one.startsWith('421 4.7.0 '));
    expect(told).toHaveLength(60);
    // Each by an id that says later who was turned away and why.
    for (const reply of told) {
      const [, trace] = /\((t\d+)\)$/.exec(reply) ?? [];
      const whats = gateway.events.filter((event) => event.trace === trace).map(({ what }) => what);
      expect(whats).toEqual(['connect', 'refused']);
    }
    expect(said.filter((one) => one === 'closed')).toHaveLength(10);
    expect(await first.say('NOOP')).toMatch(/^250 /);
  });
});

describe('many clients at once', () => {
  /** How often `note` was called in each turn of the event loop. */
  function countedByTurn(): { readonly note: () => void; readonly most: () => number; readonly stop: () => void } {
    let now = 0;
    let most = 0;
    let isCounting = true;
    const turn = (): void => {
      now = 0;
      if (isCounting) setImmediate(turn);
    };
    turn();
    return {
      note: () => {
        now += 1;
        most = Math.max(most, now);
      },
      most: () => most,
      stop: () => {
        isCounting = false;
      },
    };
  }

  it('are greeted a few in a turn of the event loop, so that others are served in between', async () => {
    const counted = countedByTurn();
    const gateway = await start({
      parts: {
        policy: () => {
          counted.note();
          return acceptAll;
        },
      },
    });
    const said = await Promise.all(Array.from({ length: 80 }, async () => await open(gateway.port).reply()));
    counted.stop();
    expect(said.every((reply) => reply.startsWith('220 '))).toBe(true);
    expect(counted.most()).toBeGreaterThan(0);
    expect(counted.most()).toBeLessThanOrEqual(8);
  });

  it('that guess recipients have few of them looked up in a turn', async () => {
    const counted = countedByTurn();
    const gateway = await start({
      parts: {
        lookup: async () => {
          counted.note();
          return { kind: 'none' };
        },
      },
    });
    const clients = await Promise.all(Array.from({ length: 40 }, async () => await RawClient.connect(gateway.port)));
    for (const client of clients) {
      await client.say('HELO x');
      await client.say('MAIL FROM:<a@sender.example>');
      expect(await client.say('RCPT TO:<guess1@example.org>')).toMatch(/^550 /);
    }
    for (const client of clients) client.write('RCPT TO:<guess2@example.org>\r\n');
    for (const client of clients) {
      expect(await client.reply()).toMatch(/^550 /);
      client.close();
    }
    counted.stop();
    expect(counted.most()).toBeGreaterThan(0);
    expect(counted.most()).toBeLessThanOrEqual(2);
  });
});

describe('a client that breaks the rules', () => {
  const strict = { limits: { exemptNetworks: [], greetingWaitMs: 800 } };

  it('is greeted late the next time, and one that does not wait for the greeting is refused', async () => {
    const gateway = await start(strict);
    const first = open(gateway.port);
    await first.reply();
    first.write('HELO x\n');
    expect(await first.reply()).toMatch(/^500 /);
    const waits = open(gateway.port);
    expect(await waits.reply()).toMatch(/^220 /);
    const talks = open(gateway.port);
    talks.write('EHLO client.example\r\n');
    expect(await talks.reply()).toMatch(/^554 5\.5\.1 /);
    expect(await talks.reply()).toBe('closed');
  });

  it('is greeted at once where nothing is known of it, and may then have talked already', async () => {
    const gateway = await start(strict);
    const client = open(gateway.port);
    client.write('HELO client.example\r\nNOOP\r\n');
    expect([await client.reply(), await client.reply(), await client.reply()]).toEqual([
      expect.stringMatching(/^220 /),
      '250 mx.example.org',
      '250 2.0.0 OK',
    ]);
  });

  it('and only talks is sent away', async () => {
    const gateway = await start({ limits: { commandsWithoutMail: 10 } });
    const client = open(gateway.port);
    await client.reply();
    for (let i = 0; i < 10; i += 1) expect(await client.say('NOOP')).toMatch(/^250 /);
    expect(await client.say('NOOP')).toMatch(/^421 4\.7\.0 /);
  });
});

describe('stopping', () => {
  it('says so to who waits, and lets a message that is being sent end', async () => {
    const gateway = await start();
    const idle = open(gateway.port);
    await idle.reply();
    const busy = open(gateway.port);
    await busy.reply();
    await busy.envelope();
    await busy.say('DATA');
    const stopped = gateway.listener.stop(5_000);
    expect(await idle.reply()).toMatch(/^421 4\.3\.2 /);
    busy.write(`${plainMessage}.\r\n`);
    expect(await busy.reply()).toMatch(/^250 /);
    expect(await busy.reply()).toMatch(/^421 4\.3\.2 /);
    idle.socket.end();
    busy.socket.end();
    await stopped;
    await expect.poll(() => gateway.listener.sessions()).toBe(0);
  });
});

describe('a client that closes its side', () => {
  it('behind QUIT, as a test by hand does, is answered', async () => {
    const gateway = await start();
    const client = open(gateway.port);
    client.socket.end(
      'HELO c.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n' +
        `${plainMessage}.\r\nQUIT\r\n`,
    );
    const said: string[] = [];
    while (said.at(-1) !== 'closed') said.push((await client.reply()).replace(/ .*$/s, ''));
    expect(said).toEqual(['220', '250', '250', '250', '354', '250', '221', 'closed']);
  });
});
