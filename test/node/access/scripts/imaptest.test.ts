import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { testdata } from '../../../testdata.ts';
import { type ImapFixture, makeImap, password } from '../access-fixture.ts';
import { playImaptest } from './imaptest-run.ts';
import { readImaptest } from './imaptest-script.ts';
import { ScriptClient } from './script-client.ts';

const folder = testdata('imap-scripts');

/** Scripts that are not run, and why. Those whose capability is not announced are skipped by that, and listed in `unannounced`. */
const skipped: Readonly<Record<string, string>> = {
  // RFC 9051 dropped \\Recent, and we never set it; what else these scripts try is tried by others.
  copy: 'wants \\Recent on new messages',
  'append-binary': 'wants a size of 7 for the 6 octets it shows; binary.test.ts tries the same',
  'search-flags': 'searches for NEW, OLD and RECENT',
};

/** What the server does not announce, so that its scripts say nothing about it. */
const unannounced: readonly string[] = [
  'CATENATE',
  'CONTEXT=SEARCH',
  'CONTEXT=SORT',
  'MULTIAPPEND',
  'NOTIFY',
  'SORT',
  'SORT=DISPLAY',
  'THREAD=ORDEREDSUBJECT',
  'THREAD=REFERENCES',
];

let imap: ImapFixture | undefined;
afterEach(async () => {
  await imap?.stop();
  imap = undefined;
});

describe.skipIf(folder === undefined)('scripts of imaptest (skipped where ../shared/testdata is absent)', () => {
  const names = folder === undefined ? [] : readdirSync(`${folder}imaptest`).filter((name) => !name.includes('.'));

  it('the capabilities that are not there are those we know of', async () => {
    imap = await makeImap();
    const announced = await capabilitiesOf(imap.securePort);
    const wanted = names.flatMap((name) => readImaptest(`${folder}imaptest/${name}`).capabilities);
    expect([...new Set(wanted)].filter((name) => !announced.includes(name)).sort()).toEqual(unannounced);
  });

  for (const name of names) {
    const file = `${folder}imaptest/${name}`;
    const script = readImaptest(file);
    const reason = skipped[name];
    const missing = script.capabilities.find((capability) => unannounced.includes(capability));
    const why = reason ?? (missing === undefined ? undefined : `${missing} is not announced`);
    it.skipIf(why !== undefined)(`${name}${why === undefined ? '' : `: ${why}`}`, async () => {
      expect(script.exchanges.length).toBeGreaterThan(0);
      expect(script.strange).toEqual([]);
      imap = await makeImap();
      expect(await playImaptest(file, script, imap.securePort)).toBeUndefined();
    });
  }
});

async function capabilitiesOf(port: number): Promise<string[]> {
  const client = await ScriptClient.connect(port);
  try {
    await client.response();
    client.send(`a LOGIN alice@example.org "${password}"\r\nb CAPABILITY\r\n`);
    for (;;) {
      const line = await client.response();
      if (line.startsWith('* CAPABILITY ')) return line.toUpperCase().split(' ').slice(2);
    }
  } finally {
    client.close();
  }
}
