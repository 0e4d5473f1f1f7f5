/** What is remembered of those who send through this gateway: whom they wrote to, and how much they usually send. */
import { hash } from 'node:crypto';
import { z } from 'zod';
import type { Address } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import { noVolume, type Volume, volumeFacts, withMessage } from '../../policy/volume.ts';

/** Where small facts are remembered; the queue fits. */
export interface Marks {
  getMark(key: string): Promise<Uint8Array | undefined>;
  setMark(key: string, value: Uint8Array, expiresAt: number, options?: { readonly durable?: boolean }): Promise<void>;
}

/** A fact to be remembered with the jobs of a message. */
export interface Remembered {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

export interface SendingHistory {
  /** Counts a message and says what is known of its sender with it. What cannot be read counts as never seen. */
  count(
    sender: Address,
    recipients: readonly string[],
  ): Promise<Pick<Evidence, 'volume'> & { firstTimeRecipients: number }>;
  /** Takes a count back: the message was not taken and comes again. */
  uncount(sender: Address, recipients: readonly string[]): void;
  /** To be written with the jobs once the message is taken. */
  marks(sender: Address, recipients: readonly string[]): readonly Remembered[];
}

const dayMs = 86_400_000;
/** Half a year: whom one has not written to for that long is as good as new. */
const rememberDays = 180;
/** Whose volume is held in memory; of others the mark is read again. */
const maxHeld = 10_000;
/** Another gateway of this ring may have counted meanwhile. */
const rereadMs = 60_000;
const nothing = new Uint8Array();
const shape = z.tuple([z.number(), z.number().nonnegative(), z.number().nonnegative(), z.number().nonnegative()]);

export function sendingHistory(marks: Marks, now: () => number): SendingHistory {
  const held = new Map<Address, { volume: Volume; readAt: number }>();

  const volumeOf = async (sender: Address): Promise<Volume> => {
    const before = held.get(sender);
    if (before !== undefined && now() - before.readAt < rereadMs) return before.volume;
    const mark = await marks.getMark(volumeKey(sender)).catch(() => undefined);
    // Counted meanwhile by a message of the same sender.
    const meanwhile = held.get(sender);
    if (meanwhile !== undefined && meanwhile !== before) return meanwhile.volume;
    const volume = larger(readVolume(mark), before?.volume);
    hold(sender, volume);
    return volume;
  };
  const hold = (sender: Address, volume: Volume): void => {
    const readAt = held.get(sender)?.readAt ?? now();
    held.delete(sender);
    held.set(sender, { volume, readAt: now() - readAt < rereadMs ? readAt : now() });
    const oldest = held.keys().next();
    if (held.size > maxHeld && !oldest.done) held.delete(oldest.value);
  };
  const keys = (sender: Address, recipients: readonly string[]): string[] =>
    recipients.map((recipient) => `wrote:${digest(`${sender}\0${recipient.toLowerCase()}`)}`);

  return {
    async count(sender, recipients) {
      const known = await Promise.all(
        keys(sender, recipients).map(async (key) => (await marks.getMark(key).catch(() => undefined)) !== undefined),
      );
      await volumeOf(sender);
      // No waiting between reading and writing it: messages of one sender under way at once are all counted.
      const volume = withMessage(held.get(sender)?.volume ?? noVolume, recipients.length, now());
      hold(sender, volume);
      await marks
        // Written beside the work: a crash forgets the last moments of a count, to the sender's favour.
        .setMark(volumeKey(sender), stored(volume), now() + rememberDays * dayMs, { durable: false })
        .catch(() => undefined);
      return { volume: volumeFacts(volume, now()), firstTimeRecipients: known.filter((yes) => !yes).length };
    },
    uncount(sender, recipients) {
      const volume = held.get(sender)?.volume;
      if (volume !== undefined) hold(sender, { ...volume, count: Math.max(0, volume.count - recipients.length) });
    },
    marks(sender, recipients) {
      // To the end of a day: whoever writes often renews his marks once a day and not with each message.
      const expiresAt = (Math.ceil(now() / dayMs) + rememberDays) * dayMs;
      return keys(sender, recipients).map((key) => ({ key, value: nothing, expiresAt }));
    },
  };
}

function stored({ hourAt, count, before, usual }: Volume): Uint8Array {
  return Buffer.from(JSON.stringify([hourAt, count, before, usual]));
}

function readVolume(mark: Uint8Array | undefined): Volume {
  if (mark === undefined) return noVolume;
  try {
    const [hourAt, count, before, usual] = shape.parse(JSON.parse(Buffer.from(mark).toString()));
    return { hourAt, count, before, usual };
  } catch {
    return noVolume;
  }
}

// Two gateways that count at once overwrite each other: the one that counted more is nearer to the truth.
function larger(other: Volume, own: Volume | undefined): Volume {
  if (own === undefined || other.hourAt > own.hourAt) return other;
  return other.hourAt === own.hourAt && other.count > own.count ? other : own;
}

function volumeKey(sender: Address): string {
  return `volume:${digest(sender)}`;
}

function digest(text: string): string {
  return hash('sha256', text, 'base64url');
}
