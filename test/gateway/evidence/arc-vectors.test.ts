import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { testdata } from '../../testdata.ts';
import { authenticated, onTheWire } from './authenticated.ts';
import type { ZoneEntry } from './zone.ts';

const folder = testdata('arc-valimail');

interface Scenario {
  readonly description: string;
  readonly 'txt-records'?: Readonly<Record<string, string>>;
  readonly tests: Readonly<Record<string, { readonly message: string; readonly cv: string }>>;
}

/** Where the verifier is stricter than the suite, and what that costs. */
const stricter: ReadonlyMap<string, string> = new Map([
  [
    'ams_fields_h_empty',
    'a signature whose h= is empty covers no header field: the chain counts as failed, so a forwarder that signs nothing is not trusted; no known sealer does',
  ],
]);

const zoneOf = (records: Scenario['txt-records'] = {}): Record<string, ZoneEntry> =>
  Object.fromEntries(Object.entries(records).map(([name, text]) => [name, { TXT: [[text]] }]));

describe.skipIf(folder === undefined)('ARC chains (../shared/testdata/arc-valimail)', () => {
  const scenarios =
    folder === undefined
      ? []
      : (JSON.parse(readFileSync(path.join(folder, 'arc-validation-tests.json'), 'utf8')) as Scenario[]);
  const cases = scenarios.flatMap(({ description, tests, 'txt-records': records }) =>
    Object.entries(tests).map(([name, { message, cv }]) => ({ name, description, records, message, cv: cv || 'Fail' })),
  );
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(100));
  it.for(cases)('$description: $name', async ({ name, records, message, cv }) => {
    const { arc } = await authenticated(onTheWire(Buffer.from(message)), zoneOf(records));
    expect(arc.result).toBe(stricter.has(name) ? 'fail' : cv.toLowerCase());
  });
  it.for(['001.txt', '002.txt'])('real mail, %s', async (file) => {
    const text = readFileSync(path.join(folder ?? '', 'stalwart', file), 'latin1');
    const at = text.indexOf('\n\n');
    const zone = zoneOf(
      Object.fromEntries(
        text
          .slice(0, at)
          .split('\n')
          .map((line) => line.split(/ (.*)/, 2) as [string, string]),
      ),
    );
    const { arc } = await authenticated(onTheWire(Buffer.from(text.slice(at + 2), 'latin1')), zone);
    expect(arc.result).toBe('pass');
  });
});
