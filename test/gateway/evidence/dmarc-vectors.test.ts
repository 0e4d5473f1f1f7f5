import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { dkimSign } from 'mailauth';
import { describe, expect, it } from 'vitest';
import type { RecordsByType } from '../../../gateway/dns/answer.ts';
import { authorOf } from '../../../gateway/evidence/author.ts';
import { testdata } from '../../testdata.ts';
import { authenticated, onTheWire } from './authenticated.ts';
import type { ZoneEntry } from './zone.ts';

const folder = testdata('dmarc');
const read = (file: string): unknown => JSON.parse(readFileSync(path.join(folder ?? '', file), 'utf8'));

interface GivenEntry {
  readonly TXT?: readonly (readonly string[])[];
  readonly A?: readonly string[];
  readonly MX?: readonly RecordsByType['MX'][];
  readonly error?: string;
}

interface Case {
  readonly id: string;
  readonly zone: Readonly<Record<string, GivenEntry>>;
  readonly header_from: readonly string[];
  readonly dkim: readonly { readonly d: string; readonly result: string }[];
  readonly spf: readonly { readonly domain: string; readonly scope: string; readonly result: string }[];
  readonly expect: { readonly result?: string; readonly policy?: string | null; readonly disposition?: string };
}

/** Where RFC 9989 lets a receiver do either, what we do instead of what the case says, and what it costs. */
const otherwise: ReadonlyMap<string, { why: string; result: string }> = new Map([
  [
    'maildmarc-psd-y-no-p-disposition-none',
    {
      why: 'a record of a public suffix with neither p= nor rua= need not be processed (§4.10.1): `none` instead of `fail` under no policy, and nobody is worse off',
      result: 'none',
    },
  ],
]);

const client = '192.0.2.99';
const honest = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519');
const rawKey = (key: KeyObject): string => key.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64');
const spfFor: ReadonlyMap<string, string> = new Map([
  ['pass', `v=spf1 ip4:${client} -all`],
  ['softfail', 'v=spf1 ~all'],
]);

/** A message and a world in which SPF and DKIM come out as the case says; each is made for real. */
async function staged({ zone, header_from: from, dkim, spf }: Case) {
  const world = new Map<string, { TXT: string[][]; rest: GivenEntry } | 'silent'>();
  for (const [name, entry] of Object.entries(zone))
    world.set(
      name.toLowerCase(),
      entry.error === 'timeout' ? 'silent' : { TXT: [...(entry.TXT ?? [])].map((one) => [...one]), rest: entry },
    );
  const publish = (name: string, text: string): void => {
    const entry = world.get(name.toLowerCase()) ?? { TXT: [], rest: {} };
    if (entry !== 'silent') entry.TXT.push([text]);
    world.set(name.toLowerCase(), entry);
  };
  const text = `From: ${from.join(', ')}\r\nTo: reader@reader.example\r\n\r\nbody\r\n`;
  let signatures = '';
  for (const { d, result } of dkim) {
    const privateKey = (result === 'pass' ? honest : other).privateKey.export({ type: 'pkcs8', format: 'pem' });
    const one = { signingDomain: d, selector: 's', privateKey };
    signatures += (await dkimSign(text, { ...one, signatureData: [one] })).signatures;
    if (result === 'temperror') world.set(`s._domainkey.${d}`.toLowerCase(), 'silent');
    else publish(`s._domainkey.${d}`, `v=DKIM1; k=ed25519; p=${rawKey(honest.publicKey)}`);
  }
  const checked = spf.find(({ scope }) => scope === 'mfrom') ?? spf[0];
  if (checked?.result === 'temperror') world.set(checked.domain.toLowerCase(), 'silent');
  else if (checked !== undefined) publish(checked.domain, spfFor.get(checked.result) ?? 'v=spf1 -all');
  const entries = [...world].map(([name, entry]): [string, ZoneEntry] => [
    name,
    entry === 'silent' ? 'silent' : { A: entry.rest.A ?? [], MX: entry.rest.MX ?? [], TXT: entry.TXT },
  ]);
  return {
    message: Buffer.from(signatures + text),
    zone: Object.fromEntries(entries),
    conversation: {
      ip: client,
      ...(checked?.scope === 'helo' ? { helo: checked.domain } : {}),
      mailFrom: checked?.scope === 'mfrom' ? `bounce@${checked.domain}` : '',
    },
  };
}

/** What we say where a case says temperror or permerror: `unknown` is never `fail`, and a record that cannot be used is none. */
const ours = (result: string): string => ({ temperror: 'unknown', permerror: 'none' })[result] ?? result;

describe.skipIf(folder === undefined)('DMARC as RFC 9989 has it (../shared/testdata/dmarc)', () => {
  const { cases } = folder === undefined ? { cases: [] } : (read('dmarc.cases.json') as { cases: Case[] });
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(40));
  it.for(cases)('$id', async (one) => {
    const { message, zone, conversation } = await staged(one);
    const { dmarc } = await authenticated(message, zone, conversation);
    const { result, policy, disposition } = one.expect;
    const differs = otherwise.get(one.id);
    if (result !== undefined) expect(dmarc.result).toBe(differs?.result ?? ours(result));
    if (typeof policy === 'string') expect(dmarc.policy).toBe(policy);
    // What policy reads is the published wish after t= (§4.7), and that is what is to be done with mail that fails.
    if (disposition !== undefined && dmarc.result === 'fail') expect(dmarc.policy).toBe(disposition);
  });
});

interface WholeMessages {
  readonly legacy: readonly string[];
  readonly zone: Readonly<Record<string, GivenEntry>>;
  readonly cases: readonly {
    readonly id: string;
    readonly file: string;
    readonly client_ip: string | null;
    readonly mail_from: string | null;
    readonly expect: { readonly result: string; readonly policy: string | null };
  }[];
}

describe.skipIf(folder === undefined)('whole messages through SPF, DKIM and DMARC', () => {
  const suite =
    folder === undefined ? { legacy: [], zone: {}, cases: [] } : (read('rspamd-messages.json') as WholeMessages);
  it('the suite is whole', () => expect(suite.cases.length).toBeGreaterThan(5));
  // Those that rest on a Public Suffix List hold under RFC 7489 alone; RFC 9989 walks the tree instead.
  it.for(suite.cases.filter(({ id }) => !suite.legacy.includes(id)))('$id', async (one) => {
    const zone = Object.fromEntries(
      Object.entries(suite.zone).map(([name, entry]): [string, ZoneEntry] => [
        name,
        entry.error === 'timeout' ? 'silent' : { A: entry.A ?? [], MX: entry.MX ?? [], TXT: entry.TXT ?? [] },
      ]),
    );
    const message = onTheWire(readFileSync(path.join(folder ?? '', one.file)));
    const { dmarc } = await authenticated(message, zone, {
      ...(one.client_ip === null ? {} : { ip: one.client_ip }),
      ...(one.mail_from === null ? {} : { mailFrom: one.mail_from }),
    });
    expect(dmarc.result).toBe(one.expect.result);
    if (one.expect.policy !== null) expect(dmarc.policy).toBe(one.expect.policy);
  });
});

describe.skipIf(folder === undefined)('the domain of the author', () => {
  const { author_domain: cases } =
    folder === undefined
      ? { author_domain: [] }
      : (read('records-and-from.json') as { author_domain: { header: string; domain: string }[] });
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(4));
  it.for(cases)('$header', ({ header, domain }) => {
    expect(authorOf(Buffer.from(`${header}\r\n\r\n`))).toMatchObject({ kind: 'single', domain });
  });
});
