import net from 'node:net';
import tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { overQuota } from '../../../../node/store/fault.ts';
import { type ImapFixture, keptLog, makeImap, password } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let imap: ImapFixture;
afterEach(async () => await imap.stop());

async function loggedIn(): Promise<DialogClient> {
  const client = await DialogClient.connect(imap.securePort, true);
  await client.line();
  expect((await client.command(`l LOGIN alice@example.org "${password}"`)).at(-1)).toMatch(/^l OK/);
  return client;
}

describe('bounds of the IMAP listener', () => {
  it('who does not log in is let go', async () => {
    imap = await makeImap({ limits: { unauthenticatedMs: 100 } });
    const client = await DialogClient.connect(imap.port, false);
    expect(await client.line()).toMatch(/^\* OK/);
    expect(await client.line()).toBe('* BYE log in faster');
    expect(await client.line()).toBe('<closed>');
  });

  it('who never begins the TLS handshake is let go', async () => {
    imap = await makeImap({ limits: { unauthenticatedMs: 100 } });
    const client = await DialogClient.connect(imap.securePort, false);
    expect(await client.line()).toBe('<closed>');
  });

  it('who logged in and says nothing is let go, also from IDLE', async () => {
    imap = await makeImap({ limits: { idleMs: 150, idleCommandMs: 150 } });
    const quiet = await loggedIn();
    expect(await quiet.line()).toBe('* BYE idle for too long');
    const idle = await loggedIn();
    idle.send('a IDLE\r\n');
    expect(await idle.line()).toBe('+ idling');
    expect(await idle.line()).toBe('* BYE idle for too long');
  });

  it('who has no room left in the ring is told so, and may go on', async () => {
    imap = await makeImap();
    const client = await loggedIn();
    const { store } = imap.mailbox.post;
    const insert = store.insert.bind(store);
    store.insert = async () => {
      throw overQuota('alice@example.org');
    };
    client.send('a APPEND INBOX {14}\r\n');
    await client.line();
    client.send('Subject: x\r\n\r\n\r\n');
    expect(await client.line()).toMatch(/^a NO \[OVERQUOTA\] .*quota of alice@example\.org is used up/);
    store.insert = insert;
    expect((await client.command('b NOOP')).at(-1)).toMatch(/^b OK/);
  });

  it('an address has so many connections and no more, and gets its place back', async () => {
    imap = await makeImap({ limits: { maxConnectionsPerAddress: 2 } });
    const first = await DialogClient.connect(imap.port, false);
    const second = await DialogClient.connect(imap.port, false);
    expect(await first.line()).toMatch(/^\* OK/);
    expect(await second.line()).toMatch(/^\* OK/);
    const third = await DialogClient.connect(imap.port, false);
    expect(await third.line()).toBe('* BYE [UNAVAILABLE] too many connections');
    await first.command('a LOGOUT');
    expect(await first.line()).toBe('<closed>');
    let greeting = '';
    for (let tries = 0; tries < 50 && !greeting.startsWith('* OK'); tries += 1) {
      const next = await DialogClient.connect(imap.port, false);
      greeting = await next.line();
    }
    expect(greeting).toMatch(/^\* OK/);
  });

  it('a user has so many connections and no more', async () => {
    imap = await makeImap({ limits: { maxConnectionsPerUser: 1 } });
    await loggedIn();
    const second = await DialogClient.connect(imap.securePort, true);
    await second.line();
    expect((await second.command(`a LOGIN alice@example.org "${password}"`)).at(-1)).toMatch(/^a NO \[LIMIT\]/);
  });

  it('a line without an end ends the connection, sooner before the log-in', async () => {
    imap = await makeImap();
    const stranger = await DialogClient.connect(imap.port, false);
    await stranger.line();
    stranger.send('x'.repeat(33_000));
    expect(await stranger.line()).toBe('* BYE the command is too long');
    const user = await loggedIn();
    user.send(`a SEARCH TEXT "${'x'.repeat(60_000)}"\r\n`);
    expect(await user.line()).toMatch(/^a BAD select a folder first/);
    user.send('x'.repeat(70_000));
    expect(await user.line()).toBe('* BYE the command is too long');
  });

  it('a stranger cannot announce a literal of megabytes', async () => {
    imap = await makeImap();
    const stranger = await DialogClient.connect(imap.port, false);
    await stranger.line();
    stranger.send('a APPEND INBOX {1000000}\r\n');
    expect(await stranger.line()).toMatch(/^a NO \[TOOBIG\]/);
  });

  it('messages in flight share one budget', async () => {
    imap = await makeImap({ limits: { maxMessageBytesInFlight: 150_000 } });
    const [one, two] = [await loggedIn(), await loggedIn()];
    one.send('a APPEND INBOX {100000}\r\n');
    expect(await one.line()).toBe('+ go ahead');
    two.send('a APPEND INBOX {100000}\r\n');
    expect(await two.line()).toMatch(/^a NO \[LIMIT\]/);
    one.send(`${'x'.repeat(100_000)}\r\n`);
    expect(await one.line()).toMatch(/^a OK/);
    two.send('b APPEND INBOX {100000}\r\n');
    expect(await two.line()).toBe('+ go ahead');
    two.close();
    const three = await loggedIn();
    let answer = '';
    for (let tries = 0; tries < 50 && answer !== '+ go ahead'; tries += 1) {
      three.send(`c${tries} APPEND INBOX {100000}\r\n`);
      answer = await three.line();
    }
    expect(answer).toBe('+ go ahead');
  });

  it('a client that asks for much and reads nothing is cut off, and the log says so', async () => {
    const log = keptLog();
    imap = await makeImap({ limits: { stallMs: 150 }, log });
    const inbox = await imap.account.mailbox.folder('INBOX');
    await inbox?.append(Buffer.alloc(2_000_000, 'x\r\n'), { flags: ['\\Seen'], internalDate: 0 });
    const socket = tls.connect({ port: imap.securePort, host: '127.0.0.1', rejectUnauthorized: false });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.pause();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    const fetches = Array.from({ length: 40 }, (_, index) => `f${index} FETCH 1 BODY.PEEK[]\r\n`).join('');
    socket.write(`a LOGIN alice@example.org "${password}"\r\nb SELECT INBOX\r\n${fetches}`);
    while (!log.lines.some(({ message }) => message === 'the client does not read')) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    socket.resume();
    await closed;
  });

  it('stops with a word to everybody, and cuts off who stays', async () => {
    imap = await makeImap();
    const idle = await loggedIn();
    idle.send('a IDLE\r\n');
    expect(await idle.line()).toBe('+ idling');
    const quiet = await loggedIn();
    const stubborn = net.connect({ port: imap.port, host: '127.0.0.1', allowHalfOpen: true });
    await new Promise((resolve) => stubborn.once('connect', resolve));
    stubborn.on('error', () => undefined);
    await imap.imap.stop(100);
    expect(await idle.line()).toBe('* BYE the server is stopping');
    expect(await quiet.line()).toBe('* BYE the server is stopping');
    stubborn.destroy();
  });
});
