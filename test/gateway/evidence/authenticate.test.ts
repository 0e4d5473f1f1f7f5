import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { dkimSign, sealMessage } from 'mailauth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messageLookups } from '../../../gateway/dns/message-lookups.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { type Authentication, authenticate } from '../../../gateway/evidence/authenticate.ts';
import { authorOf } from '../../../gateway/evidence/author.ts';
import { type DnsServer, startDnsServer } from '../dns-server.ts';

const sender = generateKeyPairSync('rsa', { modulusLength: 2048 });
const attacker = generateKeyPairSync('ed25519');
const forwarder = generateKeyPairSync('rsa', { modulusLength: 2048 });
let dns: DnsServer;

const keyRecord = (key: KeyObject): string => {
  const der = key.export({ type: 'spki', format: 'der' });
  // RFC 8463 §4.2: the raw key for Ed25519.
  return key.asymmetricKeyType === 'ed25519'
    ? `v=DKIM1; k=ed25519; p=${der.subarray(-32).toString('base64')}`
    : `v=DKIM1; k=rsa; p=${der.toString('base64')}`;
};
// A character-string has 255 octets at most (RFC 1035 §3.3).
const inStrings = (text: string): string[] => text.match(/.{1,250}/g) ?? [];

beforeAll(async () => {
  dns = await startDnsServer({
    'bank.example': { TXT: ['v=spf1 ip4:192.0.2.10 -all'] },
    '_dmarc.bank.example': { TXT: ['v=DMARC1; p=reject'] },
    's1._domainkey.bank.example': { TXT: [inStrings(keyRecord(sender.publicKey))] },
    'strict.example': { TXT: ['v=spf1 -all'] },
    '_dmarc.strict.example': { TXT: ['v=DMARC1; p=quarantine; adkim=s; aspf=s'] },
    's1._domainkey.sub.strict.example': { TXT: [keyRecord(attacker.publicKey)] },
    'evil.example': { TXT: ['v=spf1 ip4:203.0.113.66 -all'] },
    's1._domainkey.evil.example': { TXT: [keyRecord(attacker.publicKey)] },
    's1._domainkey.lists.example': { TXT: [inStrings(keyRecord(forwarder.publicKey))] },
    'broken.example': { TXT: ['v=spf1 nonsense -all'] },
    'mute.example': 'silent',
    '_dmarc.mute.example': 'silent',
    's1._domainkey.mute.example': 'silent',
    '_dmarc.muted-policy.example': 'servfail',
  });
});
afterAll(() => dns.close());

const message = (from: string): string => `From: ${from}\r\nTo: u@example.org\r\nSubject: s\r\n\r\nbody\r\n`;

async function sign(text: string, domain: string, key: KeyObject, maxBodyLength?: number): Promise<string> {
  const privateKey = key.export({ type: 'pkcs8', format: 'pem' });
  const one = {
    signingDomain: domain,
    selector: 's1',
    privateKey,
    ...(maxBodyLength === undefined ? {} : { maxBodyLength }),
  };
  const { signatures } = await dkimSign(text, { ...one, signatureData: [one] });
  return signatures + text;
}

interface Session {
  readonly ip?: string;
  readonly mailFrom?: string;
  readonly servers?: readonly string[];
  readonly evidenceMs?: number;
  readonly maxLookups?: number;
}

async function check(text: string | Uint8Array, session: Session = {}): Promise<Authentication> {
  const { ip = '203.0.113.66', mailFrom = 'x@evil.example', servers = [dns.address] } = session;
  const resolver = createResolver({ servers, timeoutMs: 150, now: Date.now });
  const { evidenceMs = 3_000, maxLookups = 100 } = session;
  const lookups = messageLookups(resolver, { maxLookups, deadline: Date.now() + evidenceMs, now: Date.now });
  const bytes = Buffer.from(text);
  const author = authorOf(bytes);
  return await authenticate({
    message: bytes,
    ip,
    helo: 'mail.evil.example',
    mailFrom,
    hostname: 'mx.example.org',
    author,
    lookups,
  });
}

describe('DMARC', () => {
  it('passes by an aligned signature', async () => {
    const { dkim, dmarc, signatures } = await check(
      await sign(message('a@bank.example'), 'bank.example', sender.privateKey),
    );
    expect(dkim).toMatchObject({ result: 'pass', domains: ['bank.example'] });
    expect(dmarc).toMatchObject({ result: 'pass', policy: 'reject', domain: 'bank.example' });
    expect(signatures).toMatchObject([{ domain: 'bank.example', selector: 's1', result: 'pass' }]);
    expect(signatures[0]?.keyHash).toHaveLength(32);
  });

  it('passes by an aligned envelope sender', async () => {
    const { spf, dmarc } = await check(message('a@bank.example'), { ip: '192.0.2.10', mailFrom: 'b@bank.example' });
    expect([spf.result, spf.domain, dmarc.result]).toEqual(['pass', 'bank.example', 'pass']);
  });

  it('fails where others sign and send', async () => {
    const { spf, dkim, dmarc } = await check(
      await sign(message('a@bank.example'), 'evil.example', attacker.privateKey),
    );
    expect([spf.result, dkim.result, dmarc.result, dmarc.policy]).toEqual(['pass', 'pass', 'fail', 'reject']);
  });

  it('is strict where the domain asks for that', async () => {
    const signed = await sign(message('a@strict.example'), 'sub.strict.example', attacker.privateKey);
    expect((await check(signed)).dmarc).toMatchObject({ result: 'fail', policy: 'quarantine' });
  });

  it('says none where there is no policy', async () => {
    expect((await check(message('x@evil.example'))).dmarc).toMatchObject({ result: 'none', policy: 'none' });
  });

  it('fails after the body was changed', async () => {
    const signed = await sign(message('a@bank.example'), 'bank.example', sender.privateKey);
    expect(await check(signed.replace('body', 'b0dy'))).toMatchObject({
      dkim: { result: 'fail' },
      dmarc: { result: 'fail' },
    });
  });

  it('does not pass on a signature that leaves the end of the body open', async () => {
    const signed = await sign(message('a@bank.example'), 'bank.example', sender.privateKey, 6);
    expect(await check(signed)).toMatchObject({ dmarc: { result: 'pass' } });
    expect(await check(`${signed}added by somebody\r\n`)).toMatchObject({
      dkim: { result: 'fail' },
      dmarc: { result: 'fail' },
    });
  });

  const unfit: readonly [why: string, header: string][] = [
    ['no author', 'X: 1\r\nSubject: s'],
    ['two From fields', 'From: x@evil.example\r\nFrom: a@bank.example'],
    ['two addresses', 'From: x@evil.example, a@bank.example'],
    ['a comment trick', 'From: (a(b)<x@evil.example>) a@bank.example'],
    ['a group', 'From: g: x@evil.example;'],
  ];
  it.each(unfit)('fails for %s instead of being skipped', async (_why, header) => {
    const { author, dmarc } = await check(`${header}\r\n\r\nbody\r\n`);
    expect(author.kind).not.toBe('single');
    expect(dmarc.result).toBe('fail');
  });
});

describe('SPF', () => {
  const rows: readonly [why: string, mailFrom: string, ip: string, result: string, domain: string][] = [
    ['the sender’s own host passes', 'x@evil.example', '203.0.113.66', 'pass', 'evil.example'],
    ['another host fails', 'x@evil.example', '198.51.100.1', 'fail', 'evil.example'],
    ['no record is none', 'x@nothing.example', '198.51.100.1', 'none', 'nothing.example'],
    [
      'a record that cannot be read says neither yes nor no',
      'x@broken.example',
      '198.51.100.1',
      'neutral',
      'broken.example',
    ],
    ['the null sender is checked by its name', '', '198.51.100.1', 'none', 'mail.evil.example'],
    ['a silent name server is no verdict', 'x@mute.example', '198.51.100.1', 'unknown', 'mute.example'],
  ];
  it.each(rows)('%s', async (_why, mailFrom, ip, result, domain) => {
    expect((await check(message('x@evil.example'), { mailFrom, ip })).spf).toMatchObject({ result, domain });
  });
});

describe('not to know', () => {
  it('a policy that cannot be fetched is no pass and no fail', async () => {
    expect((await check(message('a@muted-policy.example'))).dmarc.result).toBe('unknown');
  });

  it('a key that cannot be fetched is no pass and no fail', async () => {
    const { dkim, dmarc } = await check(await sign(message('a@mute.example'), 'mute.example', sender.privateKey));
    expect([dkim.result, dkim.domains, dmarc.result]).toEqual(['unknown', [], 'unknown']);
  });

  it('a machine without name servers knows nothing, at once', async () => {
    const gone = await startDnsServer();
    await gone.close();
    const signed = await sign(message('a@bank.example'), 'bank.example', sender.privateKey);
    const { spf, dkim, dmarc, arc } = await check(signed, { servers: [gone.address] });
    expect([spf.result, dkim.result, dmarc.result, arc.result]).toEqual(['unknown', 'unknown', 'unknown', 'none']);
  });

  it('a deadline ends the search', async () => {
    expect((await check(message('a@bank.example'), { evidenceMs: 0 })).dmarc.result).toBe('unknown');
  });
});

describe('ARC', () => {
  const seal = async (text: string): Promise<string> => {
    const privateKey = forwarder.privateKey.export({ type: 'pkcs8', format: 'pem' });
    const authResults = 'lists.example; dmarc=pass header.from=bank.example';
    const headers = await sealMessage(Buffer.from(text), {
      signingDomain: 'lists.example',
      selector: 's1',
      privateKey,
      cv: 'none',
      authResults,
    });
    return headers.toString() + text;
  };

  it('a sealed message names its sealer, and that alone proves no author', async () => {
    const { arc, dmarc } = await check(await seal(message('a@bank.example')));
    expect(arc).toMatchObject({ result: 'pass', sealer: 'lists.example' });
    expect(dmarc.result).toBe('fail');
  });

  it('a broken seal fails', async () => {
    const sealed = (await seal(message('a@bank.example'))).replace('body', 'b0dy');
    expect((await check(sealed)).arc.result).toBe('fail');
  });
});

describe('what a stranger can make expensive', () => {
  it('only five signatures are looked at', async () => {
    const lines = Array.from(
      { length: 40 },
      (_, i) => `DKIM-Signature: v=1; a=rsa-sha256; d=k${i}.example; s=s1; h=from; bh=aa==; b=aa==`,
    );
    const { dkim, signatures } = await check(`${lines.join('\r\n')}\r\n${message('a@bank.example')}`);
    expect(dkim.result).toBe('fail');
    expect(signatures.map((seen) => seen.domain)).toEqual(
      ['k0', 'k1', 'k2', 'k3', 'k4'].map((name) => `${name}.example`),
    );
  });

  it('a large body does not hold up the event loop', async () => {
    const body = `${'long lines of text '.repeat(50)}\r\n`.repeat(8_000);
    const signed = await sign(message('a@bank.example') + body, 'bank.example', sender.privateKey);
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    expect((await check(signed)).dkim.result).toBe('pass');
    clearInterval(timer);
    // 7 MB in parts of 64 KiB: the loop turned in between, again and again.
    expect(turns).toBeGreaterThan(10);
  });
});
