import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generate } from 'selfsigned';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Config } from '../../deploy/config/schema.ts';
import type { Layout } from '../../deploy/home/layout.ts';
import { TlsFiles } from '../../deploy/process/tls-files.ts';

let home: string;

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'epost-tls-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function pair(name: string): Promise<{ certificate: string; key: string }> {
  const pem = await generate([{ name: 'commonName', value: name }]);
  await writeFile(path.join(home, `${name}.crt`), pem.cert);
  await writeFile(path.join(home, `${name}.key`), pem.private);
  return { certificate: `${name}.crt`, key: `${name}.key` };
}

const files = (tls: Config['tls']): TlsFiles => new TlsFiles({ home } as Layout, { tls } as Config);
const sizes = (source: TlsFiles): number => source.current().others.length;

describe('the certificates of a home', () => {
  it('are those of tls:, and those of others: beside them', async () => {
    const source = files({ ...(await pair('a.example')), others: [await pair('b.example'), await pair('c.example')] });
    expect(sizes(source)).toBe(2);
    expect(String(source.current().others[0]?.cert)).toContain('BEGIN CERTIFICATE');
    expect(source.current().others[0]?.cert).not.toEqual(source.current().cert);
  });

  it('that are renewed are told of; bad ones never replace good ones, whichever of them it is', async () => {
    const source = files({ ...(await pair('a.example')), others: [await pair('b.example')] });
    const before = source.current();
    let changes = 0;
    source.onChange(() => {
      changes += 1;
    });
    await writeFile(path.join(home, 'b.example.crt'), 'no certificate');
    expect(() => source.reload()).toThrow(/b\.example\.crt/);
    expect([source.current(), changes]).toEqual([before, 0]);
    await pair('b.example');
    source.reload();
    expect([source.current().others[0]?.cert === before.others[0]?.cert, changes]).toEqual([false, 1]);
  });
});
