import { createHash, createSign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDkimKeys, type DkimKey } from '../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import { dkimSignatures } from '../../gateway/dkim/sign.ts';
import { keepKey, keyRecordOf } from '../../gateway/evidence/key-record.ts';
import { checkProvenance, maxProvenanceBytes, type Provenance, signProvenance } from '../../gateway/provenance.ts';
import { type Finding, verifyProvenance } from '../../gateway/verify-provenance.ts';
import { generateIdentityKeys } from '../../node/identity/keys.ts';
import { plainMessage, RawClient, startUnderTest, type UnderTest } from './inbound/listener-under-test.ts';

let dir: string;
let keys: DkimKey[];
let gateway: UnderTest;
const signer = generateIdentityKeys().signing;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-verify-'));
  keys = await createDkimKeys(dir, 'a');
  const records = keys.map((key) => dkimRecord(key, 'sender.example'));
  gateway = await startUnderTest({
    zone: Object.fromEntries(records.map(({ name, strings }) => [name, { TXT: [strings] }])),
    parts: { signer },
  });
});
afterAll(async () => {
  await gateway.stop();
  await rm(dir, { recursive: true });
});

interface Taken {
  readonly record: Uint8Array;
  readonly message: Buffer;
}

/** Signs, sends, and gives back what was kept. */
async function taken(message: string, { covering = '' } = {}): Promise<Taken> {
  const signatures = await dkimSignatures(Buffer.from(message), { domain: 'sender.example', keys, now: Date.now() });
  const client = await RawClient.connect(gateway.port);
  await client.envelope();
  const reply = await client.data(Buffer.concat([signatures, Buffer.from(covering + message)]));
  client.close();
  const job = (await gateway.jobs()).find(({ trace }) => reply.endsWith(` ${trace}`));
  return { record: job?.provenance ?? new Uint8Array(), message: Buffer.from(job?.message as Uint8Array) };
}

const resultsOf = (findings: readonly Finding[]): string[] => findings.map(({ what, result }) => `${what} ${result}`);

describe('the record of a message, verified without DNS', () => {
  it('holds with the keys of that day, octet for octet', async () => {
    const { record, message } = await taken(plainMessage);
    gateway.dns.publish({});
    const { findings } = await verifyProvenance(record, signer.public, message);
    expect(resultsOf(findings)).toEqual([
      'record holds',
      'message holds',
      'dkim ar._domainkey.sender.example holds',
      'dkim ae._domainkey.sender.example holds',
    ]);
    expect(findings[1]?.detail).toMatch(/every octet is as it was received/);
    const records = keys.map((key) => dkimRecord(key, 'sender.example'));
    gateway.dns.publish(Object.fromEntries(records.map(({ name, strings }) => [name, { TXT: [strings] }])));
  });

  it('says nothing of signatures where the message is another one', async () => {
    const { record, message } = await taken(plainMessage);
    const changed = Buffer.from(message.toString('latin1').replace('hello', 'hallo'), 'latin1');
    const { findings } = await verifyProvenance(record, signer.public, changed);
    expect(resultsOf(findings)).toEqual(['record holds', 'message fails']);
  });

  it('leaves open what only the message can show', async () => {
    const { record } = await taken(plainMessage);
    const { findings } = await verifyProvenance(record, signer.public, undefined);
    expect(resultsOf(findings)).toEqual(['record holds', 'message unknown']);
  });

  it('is nothing under the key of another gateway, or with one bit changed', async () => {
    const { record, message } = await taken(plainMessage);
    const other = await verifyProvenance(record, generateIdentityKeys().signing.public, message);
    expect(resultsOf(other.findings)).toEqual(['record fails']);
    const bent = Uint8Array.from(record);
    bent[300] = (bent[300] ?? 0) ^ 1;
    expect(resultsOf((await verifyProvenance(bent, signer.public, message)).findings)).toEqual(['record fails']);
  });

  const forged = 'Authentication-Results: mx.example.org; dmarc=pass\r\n';
  it('holds for signatures where a forged field that they do not cover was taken out', async () => {
    const { record, message } = await taken(plainMessage, { covering: forged });
    expect(message.toString()).not.toMatch(/dmarc=pass/);
    const { findings } = await verifyProvenance(record, signer.public, message);
    expect(findings.map(({ result }) => result)).toEqual(['holds', 'holds', 'holds', 'holds']);
    expect(findings[1]?.detail).toMatch(/taken out .*\(authentication-results\)/);
  });
});

describe('a forged field of ours that the sender signed', () => {
  it('is taken out all the same; the signature is judged on what came, and is said to be unsure afterwards', async () => {
    const message = `X-ePOST-Note: mine\r\n${plainMessage}`;
    const [rsa] = keys;
    const bh = createHash('sha256').update('hello\r\n').digest('base64');
    const field = `DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=sender.example; s=ar; h=from:x-epost-note; bh=${bh}; b=`;
    const input = `From: A Friend <friend@sender.example>\r\nX-ePOST-Note: mine\r\n${field}`;
    if (rsa === undefined) throw new Error('no key');
    const signature = createSign('sha256').update(input).sign(rsa.privateKey, 'base64');
    const client = await RawClient.connect(gateway.port);
    await client.envelope();
    const reply = await client.data(`${field}${signature}\r\n${message}`);
    client.close();
    const job = (await gateway.jobs()).find(({ trace }) => reply.endsWith(` ${trace}`));
    const kept = Buffer.from(job?.message as Uint8Array);
    expect(kept.toString()).toMatch(/dkim=pass header\.d=sender\.example/);
    expect(kept.toString()).not.toMatch(/X-ePOST-Note/);
    const { findings } = await verifyProvenance(job?.provenance ?? new Uint8Array(), signer.public, kept);
    expect(resultsOf(findings)).toEqual(['record holds', 'message holds', 'dkim ar._domainkey.sender.example unknown']);
    expect(findings[2]?.detail).toMatch(/was pass, is fail now; it may cover a field that the gateway took out/);
  });
});

describe('keys in the record', () => {
  const base: Provenance = {
    version: 1,
    trace: 't1',
    at: 1,
    gateway: 'gateway@example.org',
    client: { ip: '192.0.2.1', name: '', iprev: 'none', helo: 'x' },
    tls: { used: false, version: '', cipher: '' },
    envelope: { from: 'a@b.example', recipientCount: 1 },
    author: { kind: 'single', address: 'a@mail.sender.example' },
    spf: { result: 'none', domain: '' },
    dmarc: { result: 'pass', domain: 'sender.example', policy: 'none' },
    arc: { result: 'none', sealer: '' },
    dkim: [],
    decision: { verdict: 'accept', rule: 'default', policyHash: 'x' },
    received: new Uint8Array(32),
    handedOn: new Uint8Array(32),
  };
  const signature = (domain: string, result: string) => ({
    domain,
    selector: 's',
    result,
    keyHash: new Uint8Array(32),
    key: ['v=DKIM1; k=rsa; p=', new Uint8Array(550).fill(7), ''] as [string, Uint8Array, string],
  });

  it('are dropped where they do not fit, the author’s last', () => {
    const dkim = [
      signature('failed.example', 'fail'),
      signature('sender.example', 'pass'),
      signature('list.example', 'pass'),
      signature('other.example', 'pass'),
      signature('more.example', 'fail'),
    ];
    const record = signProvenance({ ...base, dkim }, signer);
    expect(record.length).toBeLessThanOrEqual(maxProvenanceBytes);
    const checked = checkProvenance(record, signer.public);
    const seen = checked.kind === 'genuine' ? checked.provenance.dkim : [];
    expect(seen.map(({ domain, key }) => [domain, key !== undefined])).toEqual([
      ['failed.example', false],
      ['sender.example', true],
      ['list.example', true],
      ['other.example', false],
      ['more.example', false],
    ]);
  });

  it('come back letter for letter, whatever the record', () => {
    const tag = fc.stringMatching(/^[a-z]{1,2}=[ -:<-~]{0,20}$/);
    const published = fc
      .tuple(fc.array(tag, { maxLength: 3 }), fc.uint8Array({ maxLength: 300 }), fc.array(tag, { maxLength: 3 }))
      .map(([before, key, after]) => [...before, `p=${Buffer.from(key).toString('base64')}`, ...after].join(';'));
    fc.assert(
      fc.property(fc.oneof(published, fc.string()), (record) => {
        const kept = keepKey(record);
        expect(kept === undefined ? record : keyRecordOf(kept)).toBe(record);
      }),
    );
    expect(keepKey('x'.repeat(1_025))).toBeUndefined();
    expect(keepKey(`v=DKIM1; p=${Buffer.alloc(294).toString('base64')}`)?.[1]).toHaveLength(294);
  });
});
