// Attacks on sender authentication, as facts in a corpus that lies beside this repository; the rules they check are tested with data of our own in
// evidence/ and inbound/.
import { createHash, createPrivateKey, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { sealMessage } from 'mailauth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Domain } from '../../policy/address.ts';
import { standardPolicy } from '../../policy/standard.ts';
import { testdata } from '../testdata.ts';
import { resultsIn } from './authentication-results.ts';
import { address, policyOf, RawClient, startUnderTest, type UnderTest } from './inbound/listener-under-test.ts';

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
    aar?: string;
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

const own = 'victim.example';
const users = ['victim', 'second', 'user', 'admin', 'boss'];
let gateway: UnderTest;

beforeAll(async () => {
  if (!here) return;
  // The addresses of the corpus' world, on loopback: 203.0.113.66 is 127.0.0.66.
  const attackerSpf = { TXT: ['v=spf1 ip4:127.0.0.66 -all'] };
  gateway = await startUnderTest({
    policy: policyOf(standardPolicy),
    zone: {
      'legitimate.example': { TXT: ['v=spf1 ip4:192.0.2.10 -all'] },
      '_dmarc.legitimate.example': {
        TXT: ['v=DMARC1; p=reject; sp=reject; adkim=r; aspf=r; rua=mailto:d@legitimate.example'],
      },
      's1._domainkey.legitimate.example': record(keys.legitimate),
      'weak._domainkey.legitimate.example': record(weak),
      'attack.example': attackerSpf,
      '33.attack.example': attackerSpf,
      '_dmarc.attack.example': { TXT: ['v=DMARC1; p=none'] },
      's._domainkey.other-legitimate.example': record(keys.attacker),
      's._domainkey.example': record(keys.attacker),
      'sel._domainkey.attack.example': record(keys.attacker),
      'selector._domainkey.attack.example': record(keys.attacker),
      [own]: { TXT: ['v=spf1 ip4:192.0.2.1 -all'] },
      [`_dmarc.${own}`]: { TXT: ['v=DMARC1; p=reject; aspf=s; adkim=s'] },
    },
    parts: {
      config: {
        hostname: `mx.${own}`,
        ring: own,
        domains: [own as Domain],
        aliases: new Map(),
        gateway: address(`gateway@${own}`),
      },
    },
  });
  for (const name of users) gateway.people.set(`${name}@${own}`, { kind: 'found', certificate: { kind: 'user' } });
});
afterAll(async () => {
  if (here) await gateway.stop();
});

/** The signature the case asks for: over the From it names and the body, simple/simple, as an attacker would make it. */
async function signed(attack: Case, message: Buffer): Promise<Buffer> {
  const how = attack.dkim_sign;
  if (how === null) return message;
  if (how.arc === true) return Buffer.concat([await sealed(how, message), message]);
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

/** A valid first set of an ARC chain, whose sealer says that all was well. */
async function sealed({ d, s, aar = '' }: NonNullable<Case['dkim_sign']>, message: Buffer): Promise<Buffer> {
  const privateKey = keys.attacker.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const authResults = aar.replace(/^i=1; /, '');
  const sealing = { signingDomain: d, selector: s, privateKey, authResults, cv: 'none', algorithm: 'rsa-sha256' };
  return await sealMessage(message, sealing);
}

interface Outcome {
  readonly kind: 'reject' | 'defer' | 'junk' | 'quarantine' | 'deliver';
  readonly replies: readonly string[];
  /** The message as it was kept, if it was. */
  readonly kept: string;
  readonly evidence: { readonly [fact: string]: unknown };
}

/** One session, and what became of it by the reply, the queue and the octets kept. */
async function attackWith(attack: Case): Promise<Outcome> {
  const before = gateway.events.length;
  const client = await RawClient.connect(gateway.port, '127.0.0.66');
  const replies = [await client.say(`EHLO ${attack.helo}`), await client.say(`MAIL FROM:${attack.mail_from_line}`)];
  for (const line of attack.rcpt_to_lines) replies.push(await client.say(`RCPT TO:${line}`));
  if (replies.every((reply) => reply.startsWith('2'))) {
    const message = await signed(attack, Buffer.from(attack.message_b64, 'base64'));
    const text = message.toString('latin1').replace(/^\./gm, '..');
    replies.push(await client.data(Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1')));
  }
  client.close();
  const evidence = gateway.events.slice(before).find((event) => event.what === 'evidence') ?? {};
  const refusal = replies.find((reply) => !reply.startsWith('2'));
  if (refusal !== undefined) return { kind: refusal.startsWith('4') ? 'defer' : 'reject', replies, kept: '', evidence };
  const trace = replies.at(-1)?.split(' ').at(-1) ?? '';
  const [job] = await gateway.jobs([`in:${trace}`]);
  const state = (await gateway.queue.get(`in:${trace}`))?.state;
  const kept = Buffer.from(job?.message as Uint8Array).toString('latin1');
  const kind = state === 'held' ? 'quarantine' : job?.folder === 'inbox' ? 'deliver' : 'junk';
  return { kind, replies, kept, evidence };
}

/** The outcomes that the corpus allows, in our words: what it calls quarantined lies in Junk, or is held. */
function allowed({ expect: { may, inbox } }: Case): ReadonlySet<Outcome['kind']> {
  const kinds = new Set<Outcome['kind']>();
  for (const outcome of may) {
    if (outcome.startsWith('reject')) kinds.add('reject');
    if (/^(?:defer|limit)/.test(outcome)) kinds.add('defer');
    if (outcome.startsWith('quarantine') || outcome === 'deliver flagged') kinds.add('junk').add('quarantine');
    if (/^deliver(?! flagged)/.test(outcome) || outcome.startsWith('evaluate')) kinds.add('deliver').add('junk');
  }
  if (inbox === false || inbox === 'flagged') kinds.delete('deliver');
  return kinds;
}

/** Whether the results that we put on a message, read by a parser of the test's own, say that DMARC passed for this name or one below it. */
function passesFor(kept: string, name: string): boolean {
  const fields = kept.split('\r\n\r\n', 1)[0]?.split(/\r\n(?![ \t])/) ?? [];
  return fields
    .flatMap((field) => resultsIn(field, `mx.${own}`))
    .some(({ method, result, from }) => method === 'dmarc' && result === 'pass' && `.${from}`.endsWith(`.${name}`));
}

const sessions = cases.filter(({ group }) => group !== 'submission');

describe.skipIf(!here)('attacks on sender authentication (skipped where ../shared/testdata is absent)', () => {
  it('the corpus is there, and each bar of it is one that this test knows', () => {
    expect(cases).toHaveLength(70);
    const known =
      /^(?:dmarc=pass(?: for (?:a subdomain of )?[a-z.-]+)?|leave or trust the forged field|write an Authentication-Results field .*|count a signature that leaves part .*|align with bank\.example .*|emit a header or IMAP envelope line .*|accept the recipient|relay to elsewhere\.example|relay or DKIM-sign .*)$/;
    for (const { expect: bar } of cases) expect(bar.never ?? 'dmarc=pass').toMatch(known);
  });

  it.each(sessions.map((attack) => [`${attack.id}: ${attack.title.replace(/\p{Cc}/gu, ' ')}`, attack] as const))(
    '%s',
    async (_id, attack) => {
      const outcome = await attackWith(attack);
      const { kind, kept, evidence } = outcome;
      const { never, inbox } = attack.expect;
      expect([...allowed(attack)]).toContain(kind);
      const [, brand] = /^dmarc=pass for (?:a subdomain of )?(.+)$/.exec(never ?? '') ?? [];
      if (brand !== undefined || never === 'dmarc=pass' || /bank\.example/.test(never ?? '')) {
        const name = brand ?? (never === 'dmarc=pass' ? '192.0.2.10]' : 'bank.example');
        expect(passesFor(kept, name)).toBe(false);
        // Also where it was refused: by what the decision was made on.
        expect(evidence['dmarc'] === 'pass' && String(evidence['author']).endsWith(name)).toBe(false);
      }
      if (never?.startsWith('count a signature') === true) {
        expect(evidence['dkim']).not.toBe('pass');
        expect(evidence['dmarc']).not.toBe('pass');
      }
      if (kept === '') return;
      // Whatever was attacked: one field of ours, with the results we found and no other.
      const ours = kept.split('\r\n\r\n', 1)[0]?.split(/\r\n(?![ \t])/) ?? [];
      const fields = ours.map((field) => resultsIn(field, `mx.${own}`)).filter((results) => results.length > 0);
      expect(fields).toHaveLength(1);
      const methods = fields[0]?.map(({ method }) => method) ?? [];
      expect(methods.filter((method) => method === 'dmarc')).toHaveLength(1);
      expect(new Set(methods).difference(new Set(['spf', 'dkim', 'dmarc', 'arc', 'iprev'])).size).toBe(0);
      expect(kept).not.toMatch(/^X-Evil/im);
      if (typeof inbox === 'string' && kind === 'deliver') {
        // One address can be shown, and it is the attacker's own.
        expect(evidence['author']).toMatch(/@attack\.example$/);
        expect(passesFor(kept, 'attack.example')).toBe(true);
      }
    },
  );

  it('the domains of this world are real: what the brand itself signs passes and is delivered', async () => {
    const attack = cases.find(({ id }) => id === 'dk-rsa-sha1');
    if (attack?.dkim_sign == null) throw new Error('the corpus has changed');
    const genuine = { ...attack, dkim_sign: { ...attack.dkim_sign, a: 'rsa-sha256' } };
    const { kind, kept } = await attackWith(genuine);
    expect([kind, passesFor(kept, 'legitimate.example')]).toEqual(['deliver', true]);
  });

  it('the chain of the forwarder that nobody trusts is a valid one', async () => {
    const attack = cases.find(({ id }) => id === 'wl-arc-valid-but-untrusted');
    if (attack === undefined) throw new Error('the corpus has changed');
    expect((await attackWith(attack)).evidence['arc']).toBe('pass');
  });

  it('nothing of all this left for another host', async () => {
    const jobs = await Promise.all(
      (['due', 'held', 'running', 'failed', 'done'] as const).map((state) =>
        gateway.queue.list({ state, limit: 1_000 }),
      ),
    );
    expect(jobs.flat().filter(({ lane }) => !lane.startsWith('in'))).toEqual([]);
    const recipients = (await gateway.jobs()).flatMap((job) => job.recipients);
    expect(recipients.filter((one) => !users.some((name) => one === `${name}@${own}`))).toEqual([]);
  });
});
