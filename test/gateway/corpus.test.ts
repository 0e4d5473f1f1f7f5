// Every message of a corpus that lies beside this repository goes in octet for octet, or is refused with a stated 5xx.
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testdata } from '../testdata.ts';
import { RawClient, startUnderTest, type UnderTest } from './inbound/listener-under-test.ts';

const root = testdata('mime-corpus') ?? '';
const here = root !== '';
const names = here
  ? readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !/^(?:LICENSE|MANIFEST|README)/.test(entry.name))
      .map((entry) => `${entry.parentPath}/${entry.name}`)
  : [];

/** With CRLF where the file has a bare LF, as the corpus' README asks, and at the end. */
function onTheWire(file: string): string {
  const text = readFileSync(file)
    .toString('latin1')
    .replace(/(?<!\r)\n/g, '\r\n');
  return text.endsWith('\r\n') ? text : `${text}\r\n`;
}

let gateway: UnderTest;
beforeAll(async () => {
  if (here) gateway = await startUnderTest();
});
afterAll(async () => {
  if (here) await gateway.stop();
});

describe.skipIf(!here)('the corpus (skipped where ../shared/testdata is absent)', () => {
  it('is there', () => expect(names.length).toBeGreaterThan(300));

  it.each(names.map((name) => [name.slice(root.length), name] as const))('%s', async (_name, file) => {
    const message = onTheWire(file);
    const client = await RawClient.connect(gateway.port);
    await client.envelope();
    const reply = await client.data(Buffer.from(message.replace(/^\./gm, '..'), 'latin1'));
    client.close();
    if (/\0|\r(?!\n)/.test(message)) {
      expect(reply).toMatch(/^554 5\.6\.0 /);
      return;
    }
    expect(reply).toMatch(/^250 /);
    const id = `in:${reply.split(' ').at(-1)}`;
    const job = (await gateway.jobs([id]))[0];
    const kept = Buffer.from((job?.message as Uint8Array | undefined) ?? new Uint8Array());
    expect(kept.subarray(-message.length).equals(Buffer.from(message, 'latin1'))).toBe(true);
  });
});
