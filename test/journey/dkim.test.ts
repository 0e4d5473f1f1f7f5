import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, startDnsServer } from '../gateway/dns-server.ts';
import { TestHome } from './fixtures/home.ts';

interface Rotation {
  readonly step: { readonly kind: string };
  readonly publish: readonly { readonly name: string; readonly strings: readonly string[] }[];
}

describe('the postmaster rotates the DKIM keys', () => {
  let dns: DnsServer;
  let home: TestHome;
  beforeAll(async () => {
    dns = await startDnsServer();
    home = await TestHome.make();
    const made = await home.run('init', '--dns', dns.address);
    expect(made.code).toBe(0);
  });
  afterAll(async () => {
    await dns.close();
    await home.remove();
  });

  const rotate = async (code: number): Promise<Rotation> => {
    const done = await home.run('dkim', 'rotate', '--json');
    expect(done).toMatchObject({ code });
    return JSON.parse(done.out) as Rotation;
  };

  it('step by step, and nothing signs before the DNS shows it', async () => {
    const dry = await home.run('dkim', 'rotate', '--dry-run');
    expect(dry.out).toMatch(/^next: No rotation/);
    const made = await rotate(0);
    expect(made).toMatchObject({ step: { kind: 'make' } });
    expect(made.publish).toHaveLength(2);
    // Nothing is published yet.
    expect(await rotate(1)).toMatchObject({ step: { kind: 'publish' } });
    dns.publish(Object.fromEntries(made.publish.map(({ name, strings }) => [name, { TXT: [strings] }])));
    expect(await rotate(0)).toMatchObject({ step: { kind: 'mark-published' } });
    expect(await rotate(0)).toMatchObject({ step: { kind: 'wait', stage: 'published' } });
    // An hour later.
    const file = path.join(home.folder, 'gateway', 'dkim', 'stages.json');
    await writeFile(file, (await readFile(file, 'utf8')).replaceAll(/"since": \d+/g, '"since": 1'));
    expect(await rotate(0)).toMatchObject({ step: { kind: 'switch' } });
    const { out } = await home.run('dkim', 'status', '--json');
    const { keys } = JSON.parse(out) as { keys: { selector: string; stage: string }[] };
    expect(keys.map(({ stage }) => stage).sort()).toEqual(['retiring', 'retiring', 'signing', 'signing']);
    expect(await rotate(0)).toMatchObject({ step: { kind: 'wait', stage: 'retiring' } });
  });

  it('nobody but a gateway of the ring can take what is exported', async () => {
    const { code, out } = await home.run('dkim', 'export');
    expect({ code, isText: /^[A-Za-z0-9+/=]+\n$/.test(out) }).toEqual({ code: 0, isText: true });
    const file = path.join(home.folder, 'exported');
    await writeFile(file, out);
    expect(await home.run('dkim', 'import', file)).toMatchObject({ code: 0, out: 'nothing is new in it\n' });
    const other = await TestHome.make();
    expect((await other.run('init', '--dns', dns.address)).code).toBe(0);
    const refused = await other.run('dkim', 'import', file);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain('not sealed for this gateway');
    await other.remove();
  });

  it('epost dns --check says what is missing in the DNS', async () => {
    const checked = await home.run('dns', '--check', '--json');
    expect(checked.code).toBe(1);
    const { findings } = JSON.parse(checked.out) as { findings: { state: string; record: string }[] };
    expect(findings.find(({ record }) => record === 'MX example.org')).toMatchObject({ state: 'missing' });
    expect(findings.filter(({ record }) => record.includes('_domainkey'))).toMatchObject([
      { state: 'right' },
      { state: 'right' },
    ]);
  });
});
