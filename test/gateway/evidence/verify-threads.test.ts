import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDkimKeys, type DkimKey } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { dkimSignatures } from '../../../gateway/dkim/sign.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { authorOf } from '../../../gateway/evidence/author.ts';
import { type ToVerify, type Verify, verifyHere } from '../../../gateway/evidence/verifier.ts';
import { startVerifyThreads, type VerifyThreads } from '../../../gateway/evidence/verify-threads.ts';
import { type DnsServer, startDnsServer } from '../dns-server.ts';

let dir: string;
let keys: DkimKey[];
let dns: DnsServer;
let threads: VerifyThreads | undefined;
const warned: string[] = [];
const budget = { maxLookups: 50, timeMs: 20_000 };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-threads-'));
  keys = await createDkimKeys(dir, 'a');
  dns = await startDnsServer({
    'sender.example': { TXT: ['v=spf1 ip4:192.0.2.1 -all'] },
    '_dmarc.sender.example': { TXT: ['v=DMARC1; p=reject'] },
    ...Object.fromEntries(
      keys.map((key) => dkimRecord(key, 'sender.example')).map(({ name, strings }) => [name, { TXT: [strings] }]),
    ),
  });
});
afterAll(async () => {
  await dns.close();
  await rm(dir, { recursive: true });
});
afterEach(async () => {
  await threads?.stop();
  threads = undefined;
});

const begin = async (count: number, here: Verify): Promise<Verify> => {
  const log = { warn: (_facts: object, text: string): void => void warned.push(text) };
  threads = startVerifyThreads({ count, dns: { servers: [dns.address], timeoutMs: 5_000 }, here, log });
  await threads.ready();
  return threads.verify;
};

async function signed(body: string, ip = '192.0.2.1'): Promise<ToVerify> {
  const text = Buffer.from(`From: A <a@sender.example>\r\nTo: b@example.org\r\nSubject: x\r\n\r\n${body}`);
  const signatures = await dkimSignatures(text, { domain: 'sender.example', keys, now: Date.now() });
  const message = Buffer.concat([signatures, text]);
  const author = authorOf(message);
  return { message, ip, helo: 'mx.sender.example', mailFrom: 'a@sender.example', hostname: 'mx.example.org', author };
}

const never: Verify = () => Promise.reject(new Error('not here'));

describe('messages verified on threads', () => {
  it('come to the same as here, whatever their size and whether they pass', async () => {
    const here = verifyHere(createResolver({ servers: [dns.address], timeoutMs: 5_000, now: Date.now }), Date.now);
    const verify = await begin(1, never);
    const large = `${'0123456789 '.repeat(70)}\r\n`.repeat(1_500);
    const inputs = [await signed('hello\r\n'), await signed(large), await signed('hello\r\n', '198.51.100.1')];
    const forged = { ...(await signed('hello\r\n')), message: Buffer.from('From: a@sender.example\r\n\r\nforged\r\n') };
    for (const input of [...inputs, forged]) {
      const found = await verify(input, budget);
      // Octets arrive as plain arrays.
      const plain = (value: unknown): unknown =>
        JSON.parse(JSON.stringify(value, (_key, one: unknown) => (one instanceof Uint8Array ? [...one] : one)));
      const expected = await here(input, budget);
      const asArrays = {
        ...expected,
        signatures: expected.signatures.map((one) => ({ ...one, keyHash: new Uint8Array(one.keyHash) })),
      };
      expect(plain(found)).toEqual(plain(asArrays));
    }
    expect((await verify(inputs[0] as ToVerify, budget)).dmarc.result).toBe('pass');
  });

  it('many at once, each by its own octets, also where memory is used again', async () => {
    const here = verifyHere(createResolver({ servers: [dns.address], timeoutMs: 5_000, now: Date.now }), Date.now);
    const verify = await begin(1, here);
    for (let round = 0; round < 3; round += 1) {
      const inputs = await Promise.all(
        Array.from({ length: 12 }, (_, n) => signed(`${round} ${'x'.repeat(n * 1_000)} ${n}\r\n`.repeat(n + 1))),
      );
      const found = await Promise.all(inputs.map((input) => verify(input, budget)));
      expect(found.map(({ dkim }) => dkim.result)).toEqual(inputs.map(() => 'pass'));
    }
  });

  it('leave the caller’s octets as they are: what is kept is what came', async () => {
    const input = await signed('hello\r\n');
    const before = Buffer.from(input.message).toString('latin1');
    await (await begin(1, never))(input, budget);
    expect(Buffer.from(input.message).toString('latin1')).toBe(before);
  });

  it('are verified here where there is no thread, and where the threads have enough to do', async () => {
    const input = await signed('hello\r\n');
    let asked = 0;
    const here: Verify = async (...args) => {
      asked += 1;
      return await verifyHere(
        createResolver({ servers: [dns.address], timeoutMs: 5_000, now: Date.now }),
        Date.now,
      )(...args);
    };
    await (await begin(0, here))(input, budget);
    expect(asked).toBe(1);
    await threads?.stop();
    const verify = await begin(1, here);
    const found = await Promise.all(Array.from({ length: 12 }, () => verify(input, budget)));
    expect(asked).toBe(5);
    expect(found.every(({ dkim }) => dkim.result === 'pass')).toBe(true);
  });

  it('that their thread did not outlive are unknown, with the reason for the log; the next one has a thread again', async () => {
    const started: Worker[] = [];
    const note = (worker: Worker): void => void started.push(worker);
    process.on('worker', note);
    dns.add({ 'silent.example': 'silent' });
    const verify = await begin(1, never);
    const input = { ...(await signed('hello\r\n')), mailFrom: 'a@silent.example' };
    const found = verify(input, budget);
    await expect.poll(() => dns.asked.includes('TXT silent.example')).toBe(true);
    await started[0]?.terminate();
    expect(await found).toMatchObject({
      spf: { result: 'unknown' },
      dmarc: { result: 'unknown' },
      fault: { message: 'the thread that made the checks died' },
    });
    await expect.poll(() => started.length, { timeout: 10_000 }).toBe(2);
    const next = await signed('hello\r\n');
    await expect
      .poll(() => verify(next, budget).then(({ dkim }) => dkim.result, String), { timeout: 10_000 })
      .toBe('pass');
    process.off('worker', note);
  });
});
