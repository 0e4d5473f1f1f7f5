import { afterEach, describe, expect, it } from 'vitest';
import { DialogClient } from '../dialog.ts';
import { ImapChild } from '../imap-child.ts';

let node: ImapChild | undefined;
let client: DialogClient | undefined;
afterEach(async () => {
  client?.close();
  await node?.stop();
});

async function session(): Promise<DialogClient> {
  client?.close();
  client = await DialogClient.connect(node!.port, true);
  await client.line();
  await client.command('a LOGIN alice@example.org x');
  await client.command('b SELECT INBOX');
  return client;
}

const numberIn = (lines: readonly string[], word: string): number =>
  Number(new RegExp(`${word} (\\d+)`).exec(lines.join(' '))?.[1]);

describe('kill -9 while flags change', () => {
  it('takes back the last of the changes that were answered at most; never a message, their order, a uid or a mod-sequence', async () => {
    node = await ImapChild.start();
    const count = 60;
    let one = await session();
    for (let n = 1; n <= count; n += 1) await one.command(`c APPEND INBOX {14+}\r\nSubject: ${n % 10}\r\n\r\n`);
    let settled = 0;
    for (let round = 0; round < 3; round += 1) {
      one = await session();
      const from = settled + 1;
      for (let n = from; n < from + 8; n += 1) await one.command(`d STORE ${n} +FLAGS.SILENT (\\Flagged)`);
      // What is answered after it is written: from here on the ones before must be there.
      expect((await one.command('e NOOP')).at(-1)).toBe('e OK done');
      settled = from + 7;
      const copied = await one.command(`f COPY ${round + 1} INBOX`);
      const before = await one.command('g STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)');
      for (let n = settled + 1; n <= settled + 8; n += 1) await one.command(`h STORE ${n} +FLAGS.SILENT (\\Flagged)`);
      await node.restart('SIGKILL');
      one = await session();
      const after = await one.command('i STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)');
      expect(copied.at(-1)).toContain('OK [COPYUID');
      expect(numberIn(after, 'MESSAGES')).toBe(count + round + 1);
      expect(numberIn(after, 'UIDNEXT')).toBe(numberIn(before, 'UIDNEXT'));
      expect(numberIn(after, 'HIGHESTMODSEQ')).toBeGreaterThanOrEqual(numberIn(before, 'HIGHESTMODSEQ'));
      const [found = ''] = await one.command(`j SEARCH 1:${count} FLAGGED`);
      const flagged = found.split(' ').slice(2).map(Number);
      // Some first ones, all of those that were settled among them.
      expect(flagged).toEqual(flagged.map((_, at) => at + 1));
      expect(flagged.length).toBeGreaterThanOrEqual(settled);
      expect(flagged.length).toBeLessThanOrEqual(settled + 8);
      settled = flagged.length;
    }
  });
});
