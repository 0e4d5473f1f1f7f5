import { createHash } from 'node:crypto';
import type { Address } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { Author } from './author.ts';

/** A fact to be remembered; the queue's marks fit. */
export interface Remembered {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

/** Where small facts are remembered; the queue fits. */
export interface Marks {
  getMark(key: string): Promise<Uint8Array | undefined>;
}

/** What is remembered of the sender of a message and its recipients. */
export type HistoryFacts = Pick<Evidence['history'], 'seenSender' | 'firstTimeRecipients'>;

export interface History {
  /** What is remembered of this author and these recipients. A fault of the memory counts as never seen. */
  of(author: Author, recipients: readonly Address[]): Promise<HistoryFacts>;
  /** What is to be remembered once mail of this author, who is proven, is accepted: to be written with its job. */
  marks(author: Author, recipients: readonly Address[]): Remembered[];
}

// Half a year: who has not written for that long is as good as new. Renewed by each accepted message.
const dayMs = 24 * 3_600_000;
const rememberDays = 180;
// One read for each; more recipients than this in one message are not a personal acquaintance.
const maxRecipients = 20;
const nothing = new Uint8Array();

/** Which authors were accepted before, and whom they wrote to. Only digests of addresses are kept. */
export function historyIn(marks: Marks, now: () => number): History {
  const keys = (author: Address, recipients: readonly Address[]): string[] =>
    recipients.slice(0, maxRecipients).map((recipient) => `met:${digest(`${author}\0${recipient}`)}`);
  const known = async (key: string): Promise<boolean> =>
    (await marks.getMark(key).catch(() => undefined)) !== undefined;

  return {
    async of(author, recipients) {
      if (author.kind !== 'single') return { seenSender: false, firstTimeRecipients: recipients.length };
      const met = await Promise.all(keys(author.address, recipients).map(known));
      const seenSender = await known(`seen:${digest(author.address)}`);
      return { seenSender, firstTimeRecipients: recipients.length - met.filter((yes) => yes).length };
    },
    marks(author, recipients) {
      if (author.kind !== 'single') return [];
      // To the end of a day: whoever writes often renews his marks once a day and not with each message.
      const expiresAt = (Math.ceil(now() / dayMs) + rememberDays) * dayMs;
      const all = [`seen:${digest(author.address)}`, ...keys(author.address, recipients)];
      return all.map((key) => ({ key, value: nothing, expiresAt }));
    },
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
