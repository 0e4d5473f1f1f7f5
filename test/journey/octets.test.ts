import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testdata } from '../testdata.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field } from './fixtures/message.ts';
import { oddMessages, refusedMessages } from './fixtures/odd-messages.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  // The messages have odd authors or none, and this is about octets: policy stands aside.
  home = await TestHome.make({ flags: outside.flags, policy: 'version: 1\nrules: []\ndefault: accept\n' });
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
});

afterAll(async () => {
  alice?.close();
  await home?.remove();
  await outside?.close();
});

const envelope = { from: 'odd@sender.test', to: ['alice@example.org'] };
const ourFields =
  /^(?:(?:Return-Path|Received|Authentication-Results|X-ePOST-[A-Za-z-]+):[^\n]*\r\n(?:[ \t][^\n]*\r\n)*)+$/;

/** Sends each over few connections; the trace id of each that was taken, and the reply to each that was not. */
async function sendAll(
  messages: readonly (readonly [string, Buffer])[],
): Promise<{ taken: Map<string, string>; refused: Map<string, string> }> {
  const taken = new Map<string, string>();
  const refused = new Map<string, string>();
  // A connection carries at most 100 messages.
  for (let from = 0; from < messages.length; from += 90) {
    const client = await mxClient(epost.port('mx'));
    for (const [why, bytes] of messages.slice(from, from + 90)) {
      const reply = await client.send(envelope, bytes);
      const trace = /queued as ([0-9A-Z]{16})/.exec(reply.text)?.[1];
      if (reply.code === 250 && trace !== undefined) taken.set(why, trace);
      else refused.set(why, reply.text);
    }
    await client.quit();
  }
  return { taken, refused };
}

/** Alice's messages by trace id, as soon as these are all there. */
async function fetched(traces: readonly string[]): Promise<Map<string, Buffer>> {
  let found = new Map<string, Buffer>();
  await until(
    'all are in the inbox',
    async () => {
      found = new Map((await alice.messages()).map(({ bytes }) => [field(bytes, 'X-ePOST-Trace') ?? '', bytes]));
      return traces.every((trace) => found.has(trace));
    },
    60_000,
  );
  return found;
}

/** What is wrong with what came out, compared with what went in; undefined where it is the same below our fields. */
function difference(sent: Buffer, got: Buffer | undefined): string | undefined {
  if (got === undefined) return 'it is not there';
  if (!got.subarray(got.length - sent.length).equals(sent)) return 'the octets differ';
  const added = got.subarray(0, got.length - sent.length).toString('latin1');
  return ourFields.test(added) ? undefined : `added: ${JSON.stringify(added)}`;
}

describe('octets', () => {
  test('odd messages come out of IMAP as they went in by SMTP, below the added fields', async () => {
    const { taken, refused } = await sendAll(oddMessages);
    expect(refused).toEqual(new Map());
    const got = await fetched([...taken.values()]);
    const wrong = oddMessages.map(([why, sent]) => [why, difference(sent, got.get(taken.get(why) ?? ''))]);
    expect(wrong.filter(([, difference]) => difference !== undefined)).toEqual([]);
  });

  test('octets that would show others two messages are refused with 5xx, and nothing is delivered', async () => {
    const { taken, refused } = await sendAll(refusedMessages);
    expect(taken).toEqual(new Map());
    for (const [why] of refusedMessages)
      expect({ why, reply: refused.get(why) }).toMatchObject({ reply: expect.stringMatching(/^554 5\.6\.0 /) });
  });

  const corpus = testdata('mime-corpus') ?? '';
  test.skipIf(corpus === '')(
    'every message of the corpus comes out as it went in, or was refused by the wire rules (skipped where ../shared/testdata is absent)',
    async () => {
      const messages = await corpusMessages(corpus);
      expect(messages.length).toBeGreaterThan(300);
      const { taken, refused } = await sendAll(messages);
      for (const [why, reply] of refused)
        expect({ why, reply }).toMatchObject({ reply: expect.stringMatching(/^554 5\.6\.0 /) });
      // Refused are only those with octets that SMTP cannot carry.
      const carried = messages.filter(([, bytes]) => !/\0|\r(?!\n)|(?<!\r)\n/.test(bytes.toString('latin1')));
      expect([...taken.keys()].sort()).toEqual(carried.map(([why]) => why).sort());
      const got = await fetched([...taken.values()]);
      const wrong = carried.map(([why, sent]) => [why, difference(sent, got.get(taken.get(why) ?? ''))]);
      expect(wrong.filter(([, difference]) => difference !== undefined)).toEqual([]);
    },
    180_000,
  );
});

/** The messages that the corpus's manifest lists, with CRLF line ends, as SMTP carries text. */
async function corpusMessages(folder: string): Promise<[name: string, bytes: Buffer][]> {
  const manifest = (await readFile(path.join(folder, 'MANIFEST.jsonl'), 'utf8')).trim().split('\n');
  const entries = manifest.map((line) => JSON.parse(line) as { file: string; eol?: unknown });
  const files = entries.filter(({ eol }) => eol !== undefined).map(({ file }) => file);
  return await Promise.all(
    files.map(async (file): Promise<[string, Buffer]> => {
      const text = (await readFile(path.join(folder, file))).toString('latin1').replaceAll(/(?<!\r)\n/g, '\r\n');
      return [file, Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1')];
    }),
  );
}
