// Attacks on sender authentication, as facts in a corpus that lies beside this repository; the rules they check are tested with data of our own in
// evidence/ and inbound/.
import { createHash, createPrivateKey, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { standardPolicy } from '../../policy/standard.ts';
import { testdata } from '../testdata.ts';
import { policyOf, RawClient, startUnderTest, type UnderTest } from './inbound/listener-under-test.ts';

interface Case {
  readonly id: string;
  readonly group: string;
  readonly title: string;
  readonly helo: string;
  readonly mail_from_line: string;
  readonly rcpt_to_lines: readonly string[];
  readonly message_b64: string;
  readonly from_headers: readonly string[];
  readonly dkim_sign: {
    d: string;
    s: string;
    key: string;
    h: string;
    over?: string;
    a?: string;
    l?: number;
    arc?: boolean;
  } | null;
  readonly expect: {
    readonly never: string | null;
    readonly may: readonly string[];
    readonly inbox: boolean | string | null;
  };
}

const folder = testdata('auth-attacks') ?? '';
const here = folder !== '';
const file = path.join(folder, 'attacks.json');
const cases = here ? (JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] }).cases : [];

const keys = {
  legitimate: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  attacker: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const weak = generateKeyPairSync('rsa', { modulusLength: 512 });
const record = (key: { publicKey: KeyObject }): { TXT: unknown[] } => ({
  TXT: [
    `v=DKIM1; k=rsa; p=${key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`.match(/.{1,250}/g),
  ],
});

let gateway: UnderTest;

beforeAll(async () => {
  if (!here) return;
  const attackerSpf = { TXT: ['v=spf1 ip4:127.0.0.66 -all'] };
  gateway = await startUnderTest({
    policy: policyOf(standardPolicy),
    zone: {
      'legitimate.example': { TXT: ['v=spf1 ip4:192.0.2.10 -all'] },
      '_dmarc.legitimate.example': { TXT: ['v=DMARC1; p=reject; sp=reject; adkim=r; aspf=r'] },
      's1._domainkey.legitimate.example': record(keys.legitimate),
      'weak._domainkey.legitimate.example': record(weak),
      'attack.example': attackerSpf,
      '33.attack.example': attackerSpf,
      '_dmarc.attack.example': { TXT: ['v=DMARC1; p=none'] },
      's._domainkey.other-legitimate.example': record(keys.attacker),
      's._domainkey.example': record(keys.attacker),
      'sel._domainkey.attack.example': record(keys.attacker),
      'selector._domainkey.attack.example': record(keys.attacker),
      'example.org': { TXT: ['v=spf1 ip4:192.0.2.1 -all'] },
      '_dmarc.example.org': { TXT: ['v=DMARC1; p=reject; aspf=s; adkim=s'] },
    },
  });
});
afterAll(async () => {
  if (here) await gateway.stop();
});

/** The signature the case asks for: over the From it names and the body, simple/simple, as an attacker would make it. */
function signed(attack: Case, message: Buffer): Buffer {
  const how = attack.dkim_sign;
  if (how === null || how.arc === true) return message;
  const text = message.toString('latin1');
  const split = text.indexOf('\r\n\r\n');
  const body = Buffer.from(text.slice(split + 4), 'latin1');
  const algorithm = how.a === 'rsa-sha1' ? 'sha1' : 'sha256';
  const bh = createHash(algorithm)
    .update(how.l === undefined ? body : body.subarray(0, how.l))
    .digest('base64');
  const length = how.l === undefined ? '' : ` l=${how.l};`;
  const field = `DKIM-Signature: v=1; a=rsa-${algorithm}; c=simple/simple; d=${how.d}; s=${how.s}; h=${how.h};${length} bh=${bh}; b=`;
  const headers = how.h.split(':').flatMap((name) => {
    if (name === 'from' && how.over !== undefined) return [how.over];
    return text
      .slice(0, split)
      .split('\r\n')
      .filter((line) => line.toLowerCase().startsWith(`${name}:`))
      .slice(-1);
  });
  const key = how.key === 'attacker' ? keys.attacker : how.key.endsWith('512') ? weak : keys.legitimate;
  const pem = createPrivateKey(key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const input = Buffer.from([...headers, field].join('\r\n'), 'latin1');
  return Buffer.concat([
    Buffer.from(`${field}${createSign(algorithm).update(input).sign(pem, 'base64')}\r\n`, 'latin1'),
    message,
  ]);
}

/** One session; every reply, and the trace of the transaction if there was one. */
async function attackWith(attack: Case): Promise<{ replies: string[]; taken: boolean }> {
  const ours = (text: string): string =>
    text.replaceAll('victim.example', 'example.org').replace(/<(?:victim|second)@/g, '<alice@');
  const client = await RawClient.connect(gateway.port, '127.0.0.66');
  const replies = [
    await client.say(`EHLO ${attack.helo}`),
    await client.say(`MAIL FROM:${ours(attack.mail_from_line)}`),
  ];
  for (const line of attack.rcpt_to_lines) replies.push(await client.say(`RCPT TO:${ours(line)}`));
  let taken = false;
  if (replies.every((reply) => reply.startsWith('2'))) {
    const text = ours(Buffer.from(attack.message_b64, 'base64').toString('latin1'));
    const message = signed(attack, Buffer.from(text, 'latin1')).toString('latin1').replace(/^\./gm, '..');
    const reply = await client.data(Buffer.from(message.endsWith('\r\n') ? message : `${message}\r\n`, 'latin1'));
    taken = reply.startsWith('250');
    replies.push(reply);
  }
  client.close();
  return { replies, taken };
}

const incoming = cases.filter((attack) => !['submission', 'relay'].includes(attack.group));

describe.skipIf(!here)('attacks on sender authentication (skipped where ../shared/testdata is absent)', () => {
  it('the corpus is there', () => expect(incoming.length).toBeGreaterThan(50));

  it.each(incoming.map((attack) => [attack.id, attack] as const))('%s', async (_id, attack) => {
    const before = gateway.events.length;
    const { taken } = await attackWith(attack);
    const evidence = gateway.events.slice(before).find((event) => event.what === 'evidence');
    if (
      /dmarc=pass for (?:a subdomain of )?(?:legitimate|victim)|dmarc=pass$|bank\.example/.test(
        attack.expect.never ?? '',
      )
    ) {
      const author = String(evidence?.['author'] ?? '');
      expect(evidence?.['dmarc'] === 'pass' && /(?:legitimate|bank)\.example$|example\.org$/.test(author)).toBe(false);
    }
    if (!attack.expect.may.some((outcome) => outcome.startsWith('deliver')) && attack.expect.inbox === false) {
      const folders = taken ? (await gateway.jobs()).slice(-1).map((job) => job.folder) : [];
      expect(folders).not.toContain('inbox');
    }
    if (attack.expect.may.length === 1 && attack.expect.may[0] === 'deliver') expect(taken).toBe(true);
  });

  const relaying = cases.filter((attack) => attack.group === 'relay');
  it.each(relaying.map((attack) => [attack.id, attack] as const))('%s', async (_id, attack) => {
    const { replies } = await attackWith(attack);
    expect(replies.some((reply) => /^5\d\d/.test(reply))).toBe(true);
  });
});
