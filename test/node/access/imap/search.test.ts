import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Folder } from '../../../../node/mail/folder.ts';
import { testdata } from '../../../testdata.ts';
import { type ImapFixture, makeImap, password } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let fixture: ImapFixture | undefined;
let client: DialogClient | undefined;
afterEach(async () => {
  client?.close();
  await fixture?.stop();
  fixture = undefined;
});

async function inboxOf(messages: readonly Buffer[]): Promise<Folder> {
  fixture = await makeImap();
  const inbox = (await fixture.mailbox.mailbox.folder('INBOX'))!;
  await Promise.all(messages.map(async (bytes) => await inbox.append(bytes, { flags: [], internalDate: 0 })));
  client = await DialogClient.connect(fixture.securePort, true);
  await client.line();
  await client.command(`a LOGIN alice@example.org "${password}"`);
  await client.command('b SELECT INBOX');
  return inbox;
}

async function search(keys: string): Promise<string> {
  const [found = '', ...rest] = await client!.command(`s SEARCH ${keys}`);
  expect(rest.at(-1)).toBe('s OK searched');
  return found;
}

/** How often what is kept of one message was opened, and messages were read, since. */
function looks(inbox: Folder): { readonly summaries: number; readonly bytes: number } {
  const counts = { summaries: 0, bytes: 0 };
  const [summary, bytes] = [inbox.summary.bind(inbox), inbox.bytes.bind(inbox)];
  inbox.summary = (uid) => {
    counts.summaries += 1;
    return summary(uid);
  };
  inbox.bytes = async (uid) => {
    counts.bytes += 1;
    return await bytes(uid);
  };
  return counts;
}

const message = (n: number): Buffer =>
  Buffer.from(
    [
      `From: "Person ${n % 5}" <person${n % 5}@sender.test>`,
      'To: Alice <alice@example.org>, bob@example.org',
      `Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= number ${n}.`,
      `Date: ${String((n % 28) + 1)} Nov 2026 23:00:00 -0900`,
      `Message-ID: <${n}@sender.test>`,
      'X-Number: odd',
      '',
      'text',
    ].join('\r\n'),
  );

const keys = [
  'SUBJECT "number 7."',
  'SUBJECT "GR\u00dc\u00dfe NUM"',
  'FROM person3@',
  'TO "alice@example.org>, bob"',
  'CC x',
  'HEADER Message-ID <9@',
  'HEADER List-Id ""',
  'HEADER Subject ""',
  'SENTBEFORE 5-Nov-2026',
  'SENTON 9-Nov-2026',
  'NOT SENTSINCE 20-Nov-2026',
  'OR SUBJECT "number 1." FROM person2',
  'NOT (SUBJECT "number 1" FROM person1)',
];

describe('SEARCH in header fields', () => {
  it('finds the same by reading messages, by what is kept of each, and by what is kept for searches alone', async () => {
    const inbox = await inboxOf(Array.from({ length: 40 }, (_, n) => message(n)));
    expect(inbox.hasTexts(1)).toBe(false);
    const first: string[] = [];
    // What the first search reads it keeps.
    for (const key of keys) first.push(await search(key));
    expect(first[0]).toMatch(/^\* SEARCH \d+$/);
    expect(first.every((found, at) => at === 4 || at === 6 || found.length > 9)).toBe(true);
    expect(inbox.entries().every(({ uid }) => inbox.hasTexts(uid))).toBe(true);
    const counts = looks(inbox);
    const again: string[] = [];
    for (const key of keys) again.push(await search(key));
    expect(again).toEqual(first);
    expect(counts).toEqual({ summaries: 0, bytes: 0 });
    // Another field is looked for in what is kept of each message.
    expect(await search('HEADER X-Number odd')).toMatch(/ 39 40$/);
    expect(counts).toEqual({ summaries: 40, bytes: 0 });
  });

  it('opens no message where flags, dates and sizes decide', async () => {
    const inbox = await inboxOf(Array.from({ length: 10 }, (_, n) => message(n)));
    await inbox.setFlags([1, 2, 3], 'add', ['\\Seen']);
    await client!.command('c NOOP');
    const counts = looks(inbox);
    expect(await search('UNSEEN UID 2:5 SINCE 1-Jan-1970 SMALLER 100000')).toBe('* SEARCH 4 5');
    expect(await search('SEEN UID 5:* SUBJECT number')).toBe('* SEARCH');
    expect(counts).toEqual({ summaries: 0, bytes: 0 });
  });

  it('asks no message where none has the flags; a change of flags, told or not, is never missed', async () => {
    const inbox = await inboxOf(Array.from({ length: 5 }, (_, n) => message(n)));
    await inbox.setFlags([1, 2, 3, 4, 5], 'add', ['\\Seen', 'Work']);
    await client!.command('c NOOP');
    const every = async (): Promise<string[]> => [
      await search('UNSEEN'),
      await search('DELETED SUBJECT number'),
      await search('OR UNSEEN DELETED'),
      await search('NOT UNSEEN'),
      await search('OR UNSEEN KEYWORD work'),
      await search('UNKEYWORD work'),
    ];
    const all = '* SEARCH 1 2 3 4 5';
    expect(await every()).toEqual(['* SEARCH', '* SEARCH', '* SEARCH', all, all, '* SEARCH']);
    await client!.command('d STORE 2 -FLAGS (\\Seen Work)');
    expect(await search('UNSEEN UNKEYWORD work')).toBe('* SEARCH 2');
    // Somebody else took it back, which this session has not been told.
    client!.send('e NOOP\r\n');
    await client!.line();
    await inbox.setFlags([2], 'add', ['\\Seen']);
    expect(await search('UNSEEN')).toBe('* SEARCH 2');
    await client!.line();
    expect(await search('UNSEEN')).toBe('* SEARCH');
  });

  it('looks into what is kept for copies too, and for none that it was not made of', async () => {
    const inbox = await inboxOf([message(1)]);
    await search('SUBJECT x');
    await client!.command('c COPY 1 INBOX');
    await inbox.append(message(2), { flags: [], internalDate: 0 });
    await client!.command('d NOOP');
    const counts = looks(inbox);
    expect(await search('SUBJECT number')).toBe('* SEARCH 1 2 3');
    expect(counts.bytes).toBe(1);
  });

  const corpus = testdata('mime-corpus') ?? '';
  it.skipIf(corpus === '')(
    'finds the same in odd messages before and after they are kept (skipped where ../shared/testdata is absent)',
    async () => {
      const files = readdirSync(corpus, { recursive: true, encoding: 'utf8' })
        .map((name) => path.join(corpus, name))
        .filter((file) => statSync(file).isFile() && statSync(file).size > 0);
      const inbox = await inboxOf(files.map((file) => readFileSync(file)));
      const asked = ['SUBJECT e', 'FROM a', 'TO @', 'CC ""', 'SENTSINCE 1-Jan-2005', 'HEADER Message-ID .'];
      await search('SUBJECT e');
      const kept: string[] = [];
      const counts = looks(inbox);
      for (const key of asked) kept.push(await search(key));
      // But for some with headers that are too long to be kept.
      const long = counts.bytes;
      expect(long).toBeLessThan(3 * asked.length);
      inbox.summary = () => undefined;
      inbox.findTexts = async () => () => undefined;
      for (const [at, key] of asked.entries()) expect(await search(key)).toBe(kept[at]);
      expect(counts.bytes).toBe(long + asked.length * files.length);
    },
  );
});
