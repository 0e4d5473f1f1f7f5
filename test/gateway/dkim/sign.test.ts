import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RelaxedBody, relaxedField } from '../../../gateway/dkim/canonical.ts';
import { createDkimKeys, type DkimKey, readDkimKeys } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { dkimSignatures } from '../../../gateway/dkim/sign.ts';

let dir: string;
let keys: DkimKey[];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-dkim-'));
  keys = await createDkimKeys(join(dir, 'keys'), '202611');
});

afterAll(() => rm(dir, { recursive: true }));

const head = 'From: Älice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: a\r\n  folded   one\r\nDate: now\r\n';
const messages: [why: string, message: Buffer][] = [
  ['an ordinary message', Buffer.from(`${head}\r\nHello\r\n`)],
  ['trailing white space and empty lines', Buffer.from(`${head}\r\nHello \t \r\n a  b\t\tc\r\n\r\n \r\n\r\n`)],
  ['8-bit bytes that are no UTF-8', Buffer.from(`${head}\r\nH\xe9llo \xff\r\n.\r\n..dots\r\n`, 'latin1')],
  ['no body', Buffer.from(`${head}\r\n`)],
  ['only empty lines', Buffer.from(`${head}\r\n\r\n\r\n`)],
  ['no line end at the end', Buffer.from(`${head}\r\nHello`)],
  ['several fields of one name', Buffer.from(`${head}List-Id: a\r\nList-Id: b\r\nCc: c@d\r\nCC: e@f\r\n\r\nx\r\n`)],
];

async function sign(message: Uint8Array): Promise<Buffer> {
  return Buffer.concat([await dkimSignatures(message, { domain: 'example.org', keys, now: Date.now() }), message]);
}

async function resolver(name: string): Promise<string[][]> {
  const record = keys.map((key) => dkimRecord(key, 'example.org')).find((found) => found.name === name);
  if (record === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
  return [[...record.strings]];
}

async function verdicts(message: Uint8Array): Promise<string[]> {
  const { results } = await dkimVerify(Buffer.from(message), { resolver });
  return results.map((result) => `${result.selector} ${result.status.result}`);
}

describe('DKIM signatures', () => {
  test.each(messages)('mailauth verifies both over %s', async (_, message) => {
    expect((await verdicts(await sign(message))).sort()).toEqual(['202611e pass', '202611r pass']);
  });

  const tampered: [why: string, change: (text: string) => string][] = [
    ['a second Subject on top', (text) => `Subject: buy\r\n${text}`],
    ['a second From on top', (text) => `From: eve@example.org\r\n${text}`],
    ['a Cc that was not there', (text) => `Cc: eve@example.net\r\n${text}`],
    ['another body', (text) => `${text}more\r\n`],
    ['another type', (text) => `Content-Type: text/html\r\n${text}`],
  ];
  test.each(tampered)('%s breaks both', async (_, change) => {
    const changed = change((await sign(messages[0]![1])).toString('latin1'));
    expect((await verdicts(Buffer.from(changed, 'latin1'))).every((verdict) => !verdict.includes('pass'))).toBe(true);
  });

  test('a field that transport adds breaks nothing', async () => {
    const changed = Buffer.concat([Buffer.from('Received: by x\r\nX-Spam: no\r\n'), await sign(messages[0]![1])]);
    expect(await verdicts(changed)).toEqual(['202611r pass', '202611e pass']);
  });

  // dkimpy shares no line of code with mailauth or with us. It is an extra check where Debian's python3-dkim is installed.
  const python = spawnSync('/usr/bin/python3', ['-c', 'import dkim, nacl']).status === 0;
  test.skipIf(!python)('dkimpy verifies both (skipped where python3-dkim is not installed)', async () => {
    const program = `
import dkim, json, sys
given = json.load(sys.stdin)
records = given["records"]
def dns(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode()
out = []
for message in given["messages"]:
    d = dkim.DKIM(bytes.fromhex(message))
    out.append([d.verify(idx=i, dnsfunc=dns) for i in (0, 1)])
print(json.dumps(out))
`;
    const records = Object.fromEntries(keys.map((key) => dkimRecord(key, 'example.org')).map((r) => [r.name, r.value]));
    const signed = await Promise.all(messages.map(([, message]) => sign(message)));
    const input = JSON.stringify({ records, messages: signed.map((message) => message.toString('hex')) });
    const { stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', program], { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(messages.map(() => [true, true]));
  });
});

function relaxedBody(parts: readonly string[]): string {
  let text = '';
  const canonical = new RelaxedBody((bytes) => (text += Buffer.from(bytes).toString('latin1')));
  for (const part of parts) canonical.add(Buffer.from(part, 'latin1'));
  canonical.end();
  return text;
}

describe('canonical forms', () => {
  test('the examples of RFC 6376 §3.4.5', () => {
    expect(relaxedField(Buffer.from('A: X\r\n')).toString()).toBe('a:X');
    expect(relaxedField(Buffer.from('B : Y\t\r\n\tZ  \r\n')).toString()).toBe('b:Y Z');
    expect(relaxedBody([' C \r\nD \t E\r\n\r\n\r\n'])).toBe(' C\r\nD E\r\n');
  });

  test('a body is the same wherever it is cut', () => {
    const piece = fc.constantFrom('a', 'b', ' ', '\t', '\r', '\n', '\r\n', '\r\n\r\n');
    fc.assert(
      fc.property(fc.array(fc.string({ unit: piece, maxLength: 6 }), { maxLength: 6 }), (parts) => {
        const lines = parts
          .join('')
          .replace(/[ \t]+/g, ' ')
          .replace(/ (?=\r\n|$)/g, '')
          .replace(/(?:\r\n)+$/, '');
        expect(relaxedBody(parts)).toBe(lines === '' ? '' : `${lines}\r\n`);
      }),
      { numRuns: 1000 },
    );
  });

  test('empty lines count when something follows, however many there were', () => {
    const empty = '\r\n'.repeat(10_000);
    expect(relaxedBody(['a', empty, empty, 'b', empty])).toBe(`a${empty}${empty}b\r\n`);
  });
});

describe('DKIM keys on disk', () => {
  test('are read back by selector, and only their owner may read them', async () => {
    const read = await readDkimKeys(join(dir, 'keys'));
    expect(read.map(({ selector, algorithm }) => [selector, algorithm])).toEqual([
      ['202611e', 'ed25519-sha256'],
      ['202611r', 'rsa-sha256'],
    ]);
    expect((await stat(join(dir, 'keys', '202611e.pem'))).mode & 0o777).toBe(0o600);
    await expect(createDkimKeys(join(dir, 'keys'), '202611')).rejects.toMatchObject({ code: 'dkim-damaged' });
  });

  test('missing, damaged and readable by others are told apart', async () => {
    await expect(readDkimKeys(join(dir, 'nowhere'))).rejects.toMatchObject({ code: 'dkim-missing' });
    const other = await mkdtemp(join(dir, 'bad-'));
    await expect(readDkimKeys(other)).rejects.toMatchObject({ code: 'dkim-missing' });
    await writeFile(join(other, 'x.pem'), 'rubbish', { mode: 0o600 });
    await expect(readDkimKeys(other)).rejects.toMatchObject({ code: 'dkim-damaged' });
    await chmod(join(other, 'x.pem'), 0o644);
    await expect(readDkimKeys(other)).rejects.toMatchObject({ code: 'dkim-too-open' });
  });
});
