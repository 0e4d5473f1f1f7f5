import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { ImapFlow } from 'imapflow';
import { afterEach, expect, it } from 'vitest';
import { testdata } from '../../testdata.ts';
import { type ImapFixture, makeImap, password } from './access-fixture.ts';
import { ScriptClient } from './scripts/script-client.ts';

const corpus = testdata('mime-corpus') ?? '';

let imap: ImapFixture | undefined;
afterEach(async () => await imap?.stop());

it.skipIf(corpus === '')(
  'every message of the corpus comes out as it went in (skipped where ../shared/testdata is absent)',
  async () => {
    imap = await makeImap();
    const client = new ImapFlow({
      host: '127.0.0.1',
      port: imap.securePort,
      secure: true,
      tls: { rejectUnauthorized: false },
      auth: { user: 'alice@example.org', pass: password },
      logger: false,
    });
    await client.connect();
    const inbox = await imap.account.mailbox.folder('INBOX');
    const files = readdirSync(corpus, { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(corpus, name))
      .filter((file) => statSync(file).isFile() && statSync(file).size > 0);
    expect(files.length).toBeGreaterThan(100);
    await Promise.all(
      files.map(async (file) => await inbox?.append(readFileSync(file), { flags: [], internalDate: 0 })),
    );
    // The order of appending at once is not promised: what came out is compared as a bag.
    const wanted = files.map((file) => readFileSync(file).toString('latin1')).sort();
    const lock = await client.getMailboxLock('INBOX');
    const got: string[] = [];
    for await (const message of client.fetch('1:*', { source: true, envelope: true, bodyStructure: true })) {
      got.push(message.source?.toString('latin1') ?? '');
      expect(message.bodyStructure?.type).toMatch(/^[^/]+\/[^/]+$/);
    }
    lock.release();
    await client.logout();
    expect(got.length).toBe(wanted.length);
    expect(got.sort().every((text, index) => text === wanted[index])).toBe(true);
  },
);

/** The answer to a command but for its last line. */
async function answerTo(client: ScriptClient, command: string): Promise<string[]> {
  client.send(`t ${command}\r\n`);
  const responses: string[] = [];
  for (;;) {
    const response = await client.response();
    if (response.startsWith('t ')) return responses;
    responses.push(response);
  }
}

it.skipIf(corpus === '')(
  'what is shown of a message is the same from the message, from what is remembered of it, and after that is gone (skipped where ../shared/testdata is absent)',
  async () => {
    imap = await makeImap();
    const inbox = await imap.account.mailbox.folder('INBOX');
    const files = readdirSync(corpus, { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(corpus, name))
      .filter((file) => statSync(file).isFile() && statSync(file).size > 0);
    await Promise.all(
      files.map(async (file) => await inbox?.append(readFileSync(file), { flags: [], internalDate: 0 })),
    );
    const client = await ScriptClient.connect(imap.securePort);
    await client.response();
    await answerTo(client, `LOGIN alice@example.org "${password}"`);
    await answerTo(client, 'SELECT INBOX');
    const items =
      'ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[HEADER.FIELDS (Subject Received X-A)] BODY.PEEK[HEADER]<3.20>';
    const first = await answerTo(client, `FETCH 1:* (${items})`);
    expect(first.length).toBe(files.length);
    expect(inbox?.entries().filter(({ uid }) => inbox.summary(uid) !== undefined).length).toBeGreaterThan(100);
    expect(await answerTo(client, `FETCH 1:* (${items})`)).toEqual(first);
    // With an item that needs the whole message nothing remembered is asked.
    const whole = await answerTo(client, `FETCH 1:* (${items} BINARY.SIZE[])`);
    expect(whole.map((line) => line.replace(/ BINARY\.SIZE\[\] \d+\)$/, ')'))).toEqual(first);
    client.close();
  },
);
