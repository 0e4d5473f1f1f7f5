import { setImmediate as turn } from 'node:timers/promises';
import type { Mailbox } from './mailbox.ts';

// Some milliseconds of work; others get their turn in between.
const entriesAtOnce = 10_000;

/** Octets of all messages that the folders show. A message that lies in several folders is kept once, and counts once. Loads the folders. */
export async function mailboxSize(mailbox: Pick<Mailbox, 'folders' | 'folder'>): Promise<number> {
  const counted = new Set<string>();
  let bytes = 0;
  for (const { name } of mailbox.folders()) {
    const entries = (await mailbox.folder(name))?.entries() ?? [];
    for (const [i, { emailId, size }] of entries.entries()) {
      if (i % entriesAtOnce === entriesAtOnce - 1) await turn();
      if (counted.has(emailId)) continue;
      counted.add(emailId);
      bytes += size;
    }
  }
  return bytes;
}
