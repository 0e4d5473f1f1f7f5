import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { testdata } from '../../testdata.ts';
import { authenticated, onTheWire } from './authenticated.ts';
import type { ZoneEntry } from './zone.ts';

const given = testdata('dkim');
const generated = testdata('dkim-generated');
afterEach(() => vi.useRealTimers());

interface DkimZone {
  readonly [name: string]: { readonly TXT?: readonly (string | readonly string[])[]; readonly error?: string };
}

interface Case {
  readonly file: string;
  readonly dns?: DkimZone;
  /** Seconds. */
  readonly now?: number;
  readonly expect: string;
  readonly note?: string;
  readonly mutation?: string;
}

function zoneOf(zone: DkimZone): Record<string, ZoneEntry> {
  const entries: Record<string, ZoneEntry> = {};
  for (const [name, { TXT = [], error }] of Object.entries(zone))
    if (error === 'timeout') entries[name] = 'silent';
    else if (error !== 'nxdomain')
      entries[name] = { TXT: TXT.map((text) => (typeof text === 'string' ? [text] : text)) };
  return entries;
}

const read = (folder: string, file: string): unknown => JSON.parse(readFileSync(path.join(folder, file), 'utf8'));

async function verdict(folder: string, file: string, zone: DkimZone, now?: number): Promise<string> {
  if (now !== undefined) vi.useFakeTimers({ now: now * 1000, toFake: ['Date'] });
  const { dkim } = await authenticated(onTheWire(readFileSync(path.join(folder, file))), zoneOf(zone));
  return dkim.result;
}

/** A permanent error is a signature that proves nothing: to policy it is `fail`, and trouble with DNS is `unknown`. */
const allowed = (expected: string): readonly string[] => {
  if (expected === 'not-pass') return ['fail', 'none', 'unknown'];
  return [{ permerror: 'fail', neutral: 'fail', temperror: 'unknown' }[expected] ?? expected];
};

describe.skipIf(given === undefined)('DKIM messages of other verifiers (../shared/testdata/dkim)', () => {
  const { cases } = given === undefined ? { cases: [] } : (read(given, 'verify.cases.json') as { cases: Case[] });
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(10));
  it.for(cases)('$file $note', async ({ file, dns = {}, now, expect: expected }) => {
    expect(allowed(expected)).toContain(await verdict(given ?? '', file, dns, now));
  });
});

describe.skipIf(generated === undefined)('DKIM messages signed and altered (../shared/testdata/dkim-generated)', () => {
  const suite =
    generated === undefined ? undefined : (read(generated, 'cases.json') as { zone: DkimZone; cases: Case[] });
  const cases = suite?.cases ?? [];
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(100));
  it.for(cases)('$file, altered: $mutation', async ({ file, expect: expected }) => {
    expect(await verdict(generated ?? '', file, suite?.zone ?? {})).toBe(expected);
  });
});
