import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { type ImapFixture, makeImap } from './access-fixture.ts';
import { play, readDialog } from './dialog.ts';

const folder = new URL('dialogs/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.startsWith('imap-'));

let imap: ImapFixture | undefined;
afterEach(async () => {
  await imap?.stop();
  imap = undefined;
});

describe('IMAP conversations', () => {
  it('there are some', () => expect(files.length).toBeGreaterThan(8));

  for (const file of files) {
    const { title, steps } = readDialog(new URL(file, folder));
    it(`${file}: ${title}`, async () => {
      imap = await makeImap();
      expect(await play(steps, imap)).toBeUndefined();
    });
  }
});
