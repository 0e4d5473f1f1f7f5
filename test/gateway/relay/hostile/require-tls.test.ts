/** What a sender says of TLS (RFC 8689), against hosts that can meet it and hosts that cannot. */
import { createHash, X509Certificate } from 'node:crypto';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import selfsigned from 'selfsigned';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { TlsaRecord } from '../../../../gateway/dns/answer.ts';
import { type Certificate, type HostileHost, hostileHost, type Manners } from './hostile-host.ts';
import { type Life, lifeOf } from './life-of-mail.ts';

let own: Certificate;
let other: Certificate;
let host: HostileHost | undefined;
const publicAuthorities = getCACertificates('default');
const takes = ['PIPELINING', '8BITMIME', 'REQUIRETLS'];

beforeAll(async () => {
  const make = async (name: string): Promise<Certificate> => {
    const pems = await selfsigned.generate([{ name: 'commonName', value: name }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
    });
    return { key: pems.private, cert: pems.cert };
  };
  own = await make('mx.dest.example');
  other = await make('somebody.else.example');
});
afterEach(async () => {
  await host?.close();
  host = undefined;
});
afterAll(() => setDefaultCACertificates(publicAuthorities));

const names = ({ cert }: Certificate): TlsaRecord => ({
  certUsage: 3,
  selector: 1,
  match: 1,
  data: createHash('sha256')
    .update(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' }))
    .digest(),
});

interface Meeting {
  readonly certificate?: Certificate;
  readonly extensions?: readonly string[];
  readonly tlsa?: readonly TlsaRecord[];
  readonly manners?: Manners;
  readonly tls?: 'required' | 'optional';
  readonly marks?: Map<string, Uint8Array>;
  readonly attempts?: number;
}

async function meets({ certificate, extensions = takes, manners, tls, ...rest }: Meeting): Promise<Life> {
  host = await hostileHost([manners], { extensions, ...(certificate === undefined ? {} : { certificate }) });
  const { port } = host;
  return lifeOf({ port, body: { tls }, ...rest });
}

describe('a message that requires TLS', () => {
  test('goes to the host whose certificate DANE names and that passes the demand on, with REQUIRETLS', async () => {
    const life = await meets({ certificate: own, tlsa: [names(own)], tls: 'required' });
    expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host?.copies.map((copy) => copy.secure)).toEqual([true]);
    expect(host?.commands.find((line) => line.startsWith('MAIL'))).toMatch(/ REQUIRETLS$/);
  });

  test('goes to a host with a certificate that an authority vouches for, where DNSSEC vouches for its name', async () => {
    setDefaultCACertificates([...publicAuthorities, own.cert]);
    const life = await meets({ certificate: own, tlsa: [], tls: 'required' });
    setDefaultCACertificates(publicAuthorities);
    expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host?.copies).toHaveLength(1);
  });

  test('is heard as such by a server that knows REQUIRETLS', async () => {
    const heard: unknown[] = [];
    const server = new SMTPServer({
      ...own,
      hideREQUIRETLS: false,
      authOptional: true,
      onData(stream, { envelope, secure }, callback) {
        stream.resume().on('end', () => {
          heard.push([envelope.requireTLS, secure]);
          callback();
        });
      },
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, '127.0.0.1', resolve);
    await promise;
    const { port } = server.server.address() as { port: number };
    const life = await lifeOf({ port, tlsa: [names(own)], body: { tls: 'required' } });
    await new Promise<void>((done) => {
      server.close(() => done());
    });
    expect(life).toMatchObject({ end: 'done', tries: 1 });
    expect(heard).toEqual([[true, true]]);
  });

  const away: Manners = async (conversation) => {
    await conversation.serveUntil('EHLO');
    conversation.reset();
  };
  const rows: readonly (readonly [why: string, meeting: () => Meeting, status: string])[] = [
    [
      'the host does not take REQUIRETLS',
      () => ({ certificate: own, tlsa: [names(own)], extensions: ['PIPELINING'] }),
      '5.7.30',
    ],
    ['the host has no TLS', () => ({ tlsa: [names(own)] }), '5.7.10'],
    ['the certificate is another one', () => ({ certificate: other, tlsa: [names(own)] }), '5.7.10'],
    ['nobody vouches for the certificate', () => ({ certificate: own, tlsa: [] }), '5.7.10'],
    [
      'TLSA records that name nothing prove nothing',
      () => ({ certificate: own, tlsa: [{ ...names(own), certUsage: 1 }] }),
      '5.7.10',
    ],
    ['nobody vouches for the name of the host', () => ({ certificate: own }), '5.7.10'],
  ];
  test.each(rows)('fails at once, and nothing of it goes out: %s', async (_why, meeting, status) => {
    const life = await meets({ ...meeting(), tls: 'required' });
    expect(life).toMatchObject({ end: 'done', tries: 1, told: [`a@dest.example failed ${status}`] });
    // What is told of it outside of the ring requires TLS, too (§5).
    expect(life.notices[0]?.requireTls).toBe(true);
    expect(host?.commands.filter((line) => /^(?:MAIL|RCPT|DATA|BDAT)/.test(line))).toEqual([]);
  });

  test('waits for a host that is only not well', async () => {
    const life = await meets({ certificate: own, tlsa: [names(own)], manners: away, tls: 'required', attempts: 3 });
    expect(life).toMatchObject({ end: 'later', told: [] });
  });

  test('that a host cannot meet holds up no other mail for it', async () => {
    const marks = new Map<string, Uint8Array>();
    const refused = await meets({ certificate: own, extensions: [], tls: 'required', marks });
    expect(refused.told).toHaveLength(1);
    await host?.close();
    expect(await meets({ certificate: own, extensions: [], marks })).toMatchObject({ end: 'done', tries: 1 });
  });
});

test('a message that waives TLS goes where the policy of the domain would keep it', async () => {
  const meeting: Meeting = { certificate: other, tlsa: [names(own)] };
  const life = await meets({ ...meeting, tls: 'optional' });
  expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
  expect(host?.copies).toHaveLength(1);
  expect(host?.commands.find((line) => line.startsWith('MAIL'))).not.toContain('REQUIRETLS');
});
