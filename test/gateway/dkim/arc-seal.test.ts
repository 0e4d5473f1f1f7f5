import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { authenticate } from 'mailauth';
import { beforeAll, describe, expect, test } from 'vitest';
import { arcSeal, type SealOptions } from '../../../gateway/dkim/arc-seal.ts';
import { createDkimKeys, type DkimKey } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { run } from '../../journey/fixtures/program.ts';
import { missingPython, pythonPath } from '../../needs.ts';

let keys: DkimKey[];
const records = new Map<string, string[]>();

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'epost-arc-'));
  keys = await createDkimKeys(dir, '202611');
  await rm(dir, { recursive: true });
  for (const domain of ['example.org', 'second.test'])
    for (const key of keys) {
      const { name, strings } = dkimRecord(key, domain);
      records.set(name, [...strings]);
    }
});

const message = Buffer.from(
  'Received: by a\r\nDKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=x; b=y\r\nFrom: Älice <alice@x.test>\r\nSubject: a\r\n  folded   one\r\n\r\nHello \t\r\n\r\n',
);
const results = 'mx.example.org;\r\n\tspf=pass smtp.mailfrom=x.test;\r\n\tdmarc=pass header.from=x.test (p=none)';

async function sealed(bytes: Uint8Array, more: Partial<SealOptions> = {}): Promise<Buffer | undefined> {
  const key = keys.find(({ algorithm }) => algorithm === 'rsa-sha256')!;
  const seal = await arcSeal(bytes, { domain: 'example.org', key, now: Date.now(), results, chain: 'none', ...more });
  return seal === undefined ? undefined : Buffer.concat([Buffer.from('Received: by us\r\n'), seal, bytes]);
}

/** What mailauth says of the chain. */
async function verdict(bytes: Buffer | undefined): Promise<string> {
  const { arc } = await authenticate(bytes ?? Buffer.alloc(0), {
    ip: '127.0.0.1',
    helo: 'x',
    sender: 'a@x.test',
    mta: 'y',
    resolver: async (name: string, type: string) => {
      const found = type === 'TXT' ? records.get(name) : undefined;
      if (found === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      return [found];
    },
  });
  return arc === false ? 'none' : `${arc.status.result} ${arc.i}`;
}

describe('an ARC seal', () => {
  test('over a message without one begins a chain that mailauth verifies, by RSA and by Ed25519', async () => {
    for (const key of keys) expect(await verdict(await sealed(message, { key }))).toBe('pass 1');
  });

  test('over a chain that holds goes on with it', async () => {
    const second = await sealed((await sealed(message))!, { domain: 'second.test', chain: 'pass' });
    const third = await sealed(second!, { chain: 'pass' });
    expect(await verdict(second)).toBe('pass 2');
    expect(await verdict(third)).toBe('pass 3');
    expect(third?.toString()).toMatch(/^ARC-Seal: i=3; a=rsa-sha256; t=\d+; cv=pass;/m);
  });

  test('stands on top of what it seals, the seal first', async () => {
    const names = (await sealed(message))!.toString().match(/^[A-Z][\w-]*(?=:)/gm);
    expect(names?.slice(0, 5)).toEqual([
      'Received',
      'ARC-Seal',
      'ARC-Message-Signature',
      'ARC-Authentication-Results',
      'Received',
    ]);
  });

  test('signs other people’s DKIM signatures and no seal (RFC 8617 §4.1.2)', async () => {
    const [, h = ''] = /^ARC-Message-Signature:[\s\S]*?\bh=([^;]*);/m.exec((await sealed(message))!.toString()) ?? [];
    const names = h.replaceAll(/\s/g, '').split(':');
    expect(names).toContain('dkim-signature');
    expect(names.filter((name) => /^arc-|authentication-results/.test(name))).toEqual([]);
  });

  const changes: [why: string, change: (text: string) => string][] = [
    ['the body', (text) => `${text}more\r\n`],
    ['who wrote it', (text) => text.replace('alice@x.test', 'boss@x.test')],
    ['what was seen of it', (text) => text.replace('dmarc=pass', 'dmarc=none')],
    ['that it began the chain', (text) => text.replace('cv=none', 'cv=pass')],
  ];
  test.each(changes)('breaks when somebody changes %s', async (_, change) => {
    const changed = change((await sealed(message))!.toString('latin1'));
    expect(await verdict(Buffer.from(changed, 'latin1'))).toMatch(/^fail/);
  });

  test('says that a chain does not hold, and is the last of it (RFC 8617 §5.1.2)', async () => {
    const broken = Buffer.from((await sealed(message))!.toString('latin1').replace('Hello', 'Hullo'), 'latin1');
    const failed = await sealed(broken, { chain: 'fail' });
    expect(failed?.toString()).toMatch(/^ARC-Seal: i=2; a=rsa-sha256; t=\d+; cv=fail;/m);
    expect(await verdict(failed)).toMatch(/^fail/);
    expect(await sealed(failed!, { chain: 'fail' })).toBeUndefined();
  });

  test('is not made where whether the chain holds is not known, or what is known does not fit to it', async () => {
    expect(await sealed(message, { chain: 'unknown' })).toBeUndefined();
    expect(await sealed(message, { chain: 'pass' })).toBeUndefined();
    expect(await sealed((await sealed(message))!, { chain: 'none' })).toBeUndefined();
  });

  test('is not made over fifty (RFC 8617 §4.2.1)', async () => {
    const field = (i: number): string =>
      `ARC-Seal: i=${i}; cv=pass; b=x\r\nARC-Message-Signature: i=${i}; b=x\r\nARC-Authentication-Results: i=${i}; y\r\n`;
    const of = (sets: number): Buffer =>
      Buffer.concat([Buffer.from(Array.from({ length: sets }, (_, i) => field(sets - i)).join('')), message]);
    expect((await sealed(of(49), { chain: 'pass' }))?.toString()).toContain('ARC-Seal: i=50;');
    expect(await sealed(of(50), { chain: 'pass' })).toBeUndefined();
  });

  test.skipIf(missingPython('dkim'))('is verified by dkimpy, too, one and two deep', async () => {
    const one = (await sealed(message))!;
    const two = (await sealed(one, { domain: 'second.test', chain: 'pass' }))!;
    for (const bytes of [one, two]) {
      const input = JSON.stringify({
        records: Object.fromEntries([...records].map(([name, strings]) => [name, strings.join('')])),
        message: bytes.toString('base64'),
      });
      const { out, err } = await run(pythonPath(), ['-c', dkimpy], { input });
      expect([out.trim(), err]).toEqual(['pass', '']);
    }
  });
});

const dkimpy = `
import base64, dkim, json, sys
given = json.load(sys.stdin)
def dns(name, timeout=5):
    text = given["records"].get(name.decode().rstrip("."))
    return text.encode() if text is not None else None
cv, results, comment = dkim.arc_verify(base64.b64decode(given["message"]), dnsfunc=dns)
print(cv.decode() if cv is not None else comment)
`;
