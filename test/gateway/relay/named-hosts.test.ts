/** Hosts that the operator named: a real server that asks for a login, and what its answers come to. */
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import selfsigned from 'selfsigned';
import { SMTPServer } from 'smtp-server';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { HostLogin, NamedHost } from '../../../gateway/relay/static-routes.ts';
import { type Life, type LifeOptions, lifeOf } from './hostile/life-of-mail.ts';

const password = 'Correct-Horse-7';
let pems: Awaited<ReturnType<typeof selfsigned.generate>>;
let server: SMTPServer | undefined;
let taken: { user: string | undefined; secure: boolean }[];
let logins: number;
let said: { level: string; text: string }[];

beforeAll(async () => {
  pems = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
});
afterEach(async () => {
  await new Promise<void>((done) => server?.close(() => done()) ?? done());
});

async function listen(options: { methods?: string[]; withoutTls?: boolean } = {}): Promise<number> {
  [taken, logins, said] = [[], 0, []];
  server = new SMTPServer({
    key: pems.private,
    cert: pems.cert,
    authMethods: options.methods ?? ['PLAIN', 'LOGIN'],
    allowInsecureAuth: true,
    hideSTARTTLS: options.withoutTls === true,
    onAuth(auth, _session, callback) {
      logins += 1;
      if (auth.username === 'ring' && auth.password === password) callback(null, { user: 'ring' });
      else callback(new Error('no'));
    },
    onData(stream, session, callback) {
      stream.resume().on('end', () => {
        taken.push({ user: session.user as string | undefined, secure: session.secure });
        callback();
      });
    },
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  return (server.server.address() as { port: number }).port;
}

const loginWith = (...passwords: string[]): HostLogin => ({
  user: 'ring',
  password: () => (passwords.length > 1 ? passwords.shift() : passwords[0]) ?? '',
});

async function through(host: Omit<NamedHost, 'host'>, more: Partial<LifeOptions> = {}): Promise<Life> {
  const via = { host: 'localhost', ...host };
  return lifeOf({
    // Nothing listens there: what goes to the domain's own servers fails.
    port: 1,
    settings: { allowPrivate: false, routes: [{ to: ['dest.example'], via }] },
    log: (level, fields, message) => said.push({ level, text: `${message} ${JSON.stringify(fields)}` }),
    ...more,
  });
}

describe('a host that asks for a login', () => {
  test.each(['PLAIN', 'LOGIN'])('gets it by %s, under TLS', async (method) => {
    const port = await listen({ methods: [method] });
    expect(await through({ port, login: loginWith(password) })).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(taken).toEqual([{ user: 'ring', secure: true }]);
  });

  test('and has no TLS gets neither it nor the mail, which waits', async () => {
    const port = await listen({ withoutTls: true });
    const life = await through({ port, login: loginWith(password) }, { attempts: 3 });
    expect(life).toMatchObject({ end: 'later', told: [] });
    expect(life.whys[0]).toContain('the password is not sent without TLS');
    expect([logins, taken]).toEqual([0, []]);
  });

  test('and refuses it makes the mail wait and the log say so; a new password is used at the next try', async () => {
    const port = await listen();
    const life = await through({ port, login: loginWith('Wrong-Horse-8', password) });
    expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
    expect(taken).toHaveLength(1);
    expect(said.filter(({ level }) => level === 'error').map(({ text }) => text)).toEqual([
      expect.stringMatching(new RegExp(`refuses our login.*"host":"localhost:${port}","user":"ring","reply":"535 `)),
    ]);
    expect(JSON.stringify([said, life])).not.toMatch(/Horse/);
  });

  test('and refuses it for ever makes the mail fail in time, with what it said, and no password anywhere', async () => {
    const port = await listen();
    const life = await through({ port, login: loginWith('Wrong-Horse-8') });
    expect(life.told.at(-1)).toBe('a@dest.example failed 5.4.7');
    expect(life.notices.at(-1)?.recipients[0]?.text).toContain('535 ');
    expect(JSON.stringify([said, life])).not.toMatch(/Horse|V3JvbmctSG9yc2/);
  });
});

describe('what a named host has to prove', () => {
  test('nothing, where nothing is demanded, and its address may be private', async () => {
    const port = await listen();
    expect(await through({ port, login: loginWith(password) })).toMatchObject({ end: 'done' });
  });

  test('a certificate for its name, where that is demanded', async () => {
    const port = await listen();
    const named = { port, tls: 'verified', login: loginWith(password) } as const;
    expect(await through(named, { attempts: 2 })).toMatchObject({ end: 'later' });
    expect([logins, taken]).toEqual([0, []]);
    const before = getCACertificates('default');
    setDefaultCACertificates([...before, pems.cert]);
    const life = await through(named);
    setDefaultCACertificates(before);
    expect(life).toMatchObject({ end: 'done', tries: 1 });
  });

  test('TLS, where that is demanded', async () => {
    const port = await listen({ withoutTls: true });
    expect(await through({ port, tls: 'encrypted' }, { attempts: 2 })).toMatchObject({ end: 'later' });
    expect(taken).toEqual([]);
  });
});
