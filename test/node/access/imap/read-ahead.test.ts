import { describe, expect, it } from 'vitest';
import { ReadAhead } from '../../../../node/access/imap/session/read-ahead.ts';
import type { Numbered } from '../../../../node/access/imap/session/view.ts';
import { MailFault } from '../../../../node/mail/fault.ts';
import type { Folder } from '../../../../node/mail/folder.ts';

/** A folder whose messages come when the test says so. */
function slowFolder(sizes: readonly number[], atHand: ReadonlySet<number> = new Set()) {
  const asked: number[] = [];
  const coming = sizes.map(() => Promise.withResolvers<Uint8Array>());
  const folder = {
    bytesAtHand: (uid: number) => (atHand.has(uid) ? Buffer.from([uid]) : undefined),
    bytes: async (uid: number) => {
      asked.push(uid);
      return await coming[uid - 1]!.promise;
    },
  } as unknown as Folder;
  const messages = sizes.map((size, at) => ({ sequence: at + 1, entry: { uid: at + 1, size } })) as Numbered[];
  return { asked, coming, ahead: new ReadAhead(folder, messages), messages };
}

describe('reading ahead', () => {
  it('asks for the next messages before the first is there, a few at once and each once, and gives them in order', async () => {
    const { asked, coming, ahead, messages } = slowFolder(Array.from({ length: 20 }, () => 100));
    const first = ahead.bytes(messages[0]!.entry);
    expect(asked).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    for (const [at, { resolve }] of coming.entries()) resolve(Buffer.from([at + 1]));
    expect((await first)?.[0]).toBe(1);
    for (const { entry } of messages.slice(1)) expect((await ahead.bytes(entry))?.[0]).toBe(entry.uid);
    expect(asked).toEqual(messages.map(({ entry }) => entry.uid));
  });

  it('gives at once what is at hand, in its order, and waits for the others alone', async () => {
    const { asked, coming, ahead, messages } = slowFolder([1, 1, 1, 1], new Set([1, 3]));
    expect(ahead.bytes(messages[0]!.entry)).toEqual(Buffer.from([1]));
    expect(asked).toEqual([2, 4]);
    const second = ahead.bytes(messages[1]!.entry);
    coming[1]!.resolve(Buffer.from([2]));
    expect(await second).toEqual(Buffer.from([2]));
    expect(ahead.bytes(messages[2]!.entry)).toEqual(Buffer.from([3]));
    coming[3]!.resolve(Buffer.from([4]));
    expect(await ahead.bytes(messages[3]!.entry)).toEqual(Buffer.from([4]));
    expect(asked).toEqual([2, 4]);
  });

  it('keeps a megabyte of them at most, and reads larger ones by themselves', async () => {
    const large = 600 * 1024;
    const { asked, coming, ahead, messages } = slowFolder([large, large, 3_000_000, 100, 100]);
    for (const { resolve } of coming) resolve(Buffer.alloc(1));
    await ahead.bytes(messages[0]!.entry);
    expect(asked).toEqual([1]);
    await ahead.bytes(messages[1]!.entry);
    expect(asked).toEqual([1, 2, 4, 5]);
    await ahead.bytes(messages[2]!.entry);
    expect(asked).toEqual([1, 2, 4, 5, 3]);
  });

  it('tells of a message that is gone when its turn comes, and of one that cannot be had', async () => {
    const { coming, ahead, messages } = slowFolder([1, 1, 1, 1]);
    coming[0]!.resolve(Buffer.alloc(1));
    coming[1]!.reject(new MailFault('no-such-message', 'gone'));
    coming[2]!.reject(new MailFault('unavailable', 'later'));
    coming[3]!.reject(new MailFault('unavailable', 'nobody asks any more'));
    expect(await ahead.bytes(messages[0]!.entry)).toHaveLength(1);
    expect(await ahead.bytes(messages[1]!.entry)).toBeUndefined();
    await expect(ahead.bytes(messages[2]!.entry)).rejects.toMatchObject({ code: 'unavailable' });
    await ahead.end();
  });
});
