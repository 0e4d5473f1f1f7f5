import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { testdata } from '../../testdata.ts';
import { authenticated, type Conversation } from './authenticated.ts';
import type { ZoneEntry } from './zone.ts';

const folder = testdata('spf-rfc7208');
const message = Buffer.from('From: <author@author.example>\r\n\r\nbody\r\n');

type Records = Record<string, unknown[]>;

interface Case extends Conversation {
  readonly title: string;
  readonly zone: Readonly<Record<string, ZoneEntry>>;
  /** Any of them is right. */
  readonly results: readonly string[];
}

/** RFC 7208's words as policy sees them: trouble is `unknown`, and a record that cannot be read says neither yes nor no, with its reason. */
async function resultOf({ zone, ...conversation }: Case): Promise<string> {
  const { spf } = await authenticated(message, zone, conversation);
  if (spf.result === 'unknown') return 'temperror';
  return spf.result === 'neutral' && spf.reason?.startsWith('the record cannot be used') ? 'permerror' : spf.result;
}

interface OpenSpfScenario {
  readonly description: string;
  readonly tests: Readonly<
    Record<string, { helo: string; host: string; mailfrom: string; result: string | readonly string[] }>
  >;
  readonly zonedata: Readonly<Record<string, readonly ('TIMEOUT' | Readonly<Record<string, unknown>>)[]>>;
}

const strings = (text: unknown): unknown => (Array.isArray(text) ? text : [text]);

function openSpfEntry(list: OpenSpfScenario['zonedata'][string]): ZoneEntry {
  const records: Records = {};
  const objects = list.filter((one) => one !== 'TIMEOUT');
  const hasText = objects.some((one) => 'TXT' in one);
  for (const [type, value] of objects.flatMap((one) => Object.entries(one))) {
    if (type === 'SPF' && !hasText) (records['TXT'] ??= []).push(strings(value));
    else if (type === 'TXT' && value !== 'NONE') (records['TXT'] ??= []).push(strings(value));
    else if (type === 'MX' && Array.isArray(value))
      (records['MX'] ??= []).push({ priority: Number(value[0]), exchange: String(value[1]) });
    else if (type !== 'SPF' && type !== 'TXT') (records[type] ??= []).push(value);
  }
  return list.includes('TIMEOUT') ? { ...records, silent: true } : records;
}

function* openSpfCases(file: string): Generator<Case> {
  for (const { description, tests, zonedata } of JSON.parse(readFileSync(file, 'utf8')) as OpenSpfScenario[]) {
    const zone = Object.fromEntries(Object.entries(zonedata).map(([name, list]) => [name, openSpfEntry(list)]));
    for (const [name, { helo, host, mailfrom, result }] of Object.entries(tests))
      yield {
        title: `${description}: ${name}`,
        zone,
        helo,
        ip: host,
        mailFrom: mailfrom,
        results: typeof result === 'string' ? [result] : result,
      };
  }
}

const reverse = (ip: string): string => {
  if (!ip.includes(':')) return `${ip.split('.').toReversed().join('.')}.in-addr.arpa`;
  const [head = '', tail = ''] = ip.split('::');
  const [first, last] = [head.split(':').filter(Boolean), tail.split(':').filter(Boolean)];
  const groups = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => '0'), ...last];
  const nibbles = groups.map((group) => group.padStart(4, '0')).join('');
  return `${nibbles.split('').toReversed().join('.')}.ip6.arpa`;
};

/** Stalwart's files look like YAML but repeat their keys, so they are read line by line. */
function* stalwartCases(file: string): Generator<Case> {
  for (const document of readFileSync(file, 'utf8').split(/^---$/m)) {
    const zone: Record<string, Records> = {};
    const world = (): Case['zone'] => ({ ...structuredClone(zone), '_dns_error.test.org': 'silent' });
    const put = (name: string, type: string, record: unknown): void => {
      const entry = (zone[name.toLowerCase()] ??= {});
      (entry[type] ??= []).push(record);
    };
    let title = '';
    let [sender, domain, ip] = ['', '', ''];
    for (const line of document.split('\n')) {
      const [, key = '', value = ''] = /^[\s-]*([a-z]+): (.*)$/.exec(line) ?? [];
      const [, name = '', rest = ''] = /^(\S+) (.*)$/.exec(value.trim()) ?? [];
      const list = rest.split(',').map((one) => one.trim());
      if (key === 'name') title = value;
      else if (key === 'a') for (const one of list) put(name, 'A', one);
      else if (key === 'aaaa') for (const one of list) put(name, 'AAAA', one);
      else if (key === 'spf' || key === 'exp') {
        // A later record replaces the one of the test before it.
        if (key === 'spf') delete zone[name.toLowerCase()]?.['TXT'];
        put(name, 'TXT', [rest]);
      } else if (key === 'ptr') for (const one of list) put(reverse(name), 'PTR', one);
      else if (key === 'mx')
        for (const [index, address] of list.entries()) {
          put(name, 'MX', { priority: index, exchange: `mx${index}.${name}` });
          put(`mx${index}.${name}`, address.includes(':') ? 'AAAA' : 'A', address);
        }
      else if (key === 'sender') sender = value.trim();
      else if (key === 'domain') domain = value.trim();
      else if (key === 'ip') ip = value.trim();
      else if (key === 'expect') {
        const [result = ''] = value.split(' ');
        // What is checked at a gateway is the domain of MAIL FROM; a sender under another domain than the one checked cannot come up.
        if (sender.endsWith(`@${domain}`))
          yield { title: `${title}: ${ip}`, zone: world(), ip, mailFrom: sender, results: [result] };
      }
    }
  }
}

describe.skipIf(folder === undefined)('SPF as RFC 7208 has it (vectors of ../shared/testdata/spf-rfc7208)', () => {
  const openSpf = folder === undefined ? [] : [...openSpfCases(path.join(folder, 'rfc7208-tests.json'))];
  it('the suite is whole', () => expect(openSpf.length).toBeGreaterThan(100));
  it.for(openSpf)('$title', async (one) => expect(one.results).toContain(await resultOf(one)));
});

describe.skipIf(folder === undefined)('SPF as Stalwart tries it', () => {
  const files =
    folder === undefined ? [] : readdirSync(path.join(folder, 'stalwart')).filter((name) => name.endsWith('.yml'));
  const cases = files.flatMap((name) => [...stalwartCases(path.join(folder ?? '', 'stalwart', name))]);
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(60));
  it.for(cases)('$title', async (one) => expect(one.results).toContain(await resultOf(one)));
});
