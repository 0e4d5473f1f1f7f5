import { readdirSync } from 'node:fs';
import path from 'node:path';
import { generate } from 'selfsigned';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { testdata } from '../../testdata.ts';
import { type Dialog, play, readChasquid, readDialog, readJames } from './dialog.ts';
import { type RawClient, startUnderTest, type UnderTest } from './listener-under-test.ts';

let tls: { key: string; cert: string };
let gateway: UnderTest | undefined;
const clients: RawClient[] = [];

beforeAll(async () => {
  const pem = await generate([{ name: 'commonName', value: 'mx.example.org' }]);
  tls = { key: pem.private, cert: pem.cert };
});
afterEach(async () => {
  // TLS before the socket below it.
  for (const client of clients.splice(0).reverse()) client.close();
  await gateway?.stop();
  gateway = undefined;
});

async function holds(dialog: Dialog): Promise<void> {
  gateway = await startUnderTest({ tls });
  expect(await play(dialog, gateway.port, clients)).toBeUndefined();
}

describe('conversations with strangers', () => {
  const folder = new URL('dialogs/', import.meta.url);
  const files = readdirSync(folder);
  it('there are some', () => expect(files.length).toBeGreaterThan(7));
  for (const file of files) {
    const dialog = readDialog(new URL(file, folder));
    it(`${file}: ${dialog.title}`, async () => await holds(dialog));
  }
});

// Cases that ask for what this listener does not do, or does otherwise on purpose. Each is named, so that a new one is seen.
const skipped: Readonly<Record<string, string>> = {
  't-12-minor_dialogs__auth_multi_dialog':
    'AUTH over implicit TLS: an MX takes no passwords; submission does, and has its own dialogs',
  't-12-minor_dialogs__auth_too_many_failures': 'the same',
  't-12-minor_dialogs__bad_data':
    'wants a message refused for a header line that is no field; RFC 5321 §3.3 has servers carry it, and policy sees what it does to From',
  authplain: 'AUTH: an MX takes no passwords',
  starttls_session_fixation: 'begins with AUTH; that STARTTLS is refused in a transaction is in dialogs/starttls.txt',
  starttls_with_injection:
    'wants 451 where something stands behind STARTTLS; RFC 3207 §4.2 has it forgotten, and smtp/smuggling.test.ts shows that it is',
};

describe('conversations of chasquid and James', () => {
  const shared = testdata('smtp-dialogs');
  // Their names for hosts and users, and a path that stands without its brackets, which is not in the grammar.
  const named = (text: string): string =>
    text
      .replace(/^RCPT TO: user@testserver$/, 'RCPT TO:<alice@example.org>')
      .replaceAll('bob@mydomain.tld', 'bob@example.org');
  const list = (folder: string, ending: string): string[] =>
    shared === undefined
      ? []
      : readdirSync(path.join(shared, folder))
          .filter((name) => name.endsWith(ending))
          .map((name) => path.join(shared, folder, name));
  const cases = [
    ...list('chasquid', '.cmy').map((file) => ({ file, name: path.basename(file, '.cmy'), read: readChasquid })),
    ...list('james-mpt', '.test').map((file) => ({ file, name: path.basename(file, '.test'), read: readJames })),
  ];

  it.skipIf(shared === undefined)(
    'are there, and every one that is skipped (skipped where ../shared/testdata is absent)',
    () => {
      expect(cases.length).toBeGreaterThan(12);
      expect(Object.keys(skipped).filter((name) => !cases.some((one) => one.name === name))).toEqual([]);
    },
  );
  for (const { file, name, read } of cases) {
    const why = skipped[name];
    it.skipIf(why !== undefined)(
      why === undefined ? name : `${name}: ${why}`,
      async () => await holds(read(file, named)),
    );
  }
});
