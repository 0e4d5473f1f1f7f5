import { createHash } from 'node:crypto';
import { decode, encode } from '@ipld/dag-cbor';
import type { Mark, Queue } from '../../queue/queue.ts';

export interface Earlier {
  readonly trace: string;
}

interface MarkValue {
  readonly trace: string;
  readonly acknowledged: boolean;
}

// RFC 5321 §4.5.4.1: senders give up after four to five days.
const rememberMs = 5 * 24 * 3_600_000;
// An acknowledged mark means the same as none; it only has to cover the unacknowledged one until that is overwritten.
const settledMs = 60_000;

/**
 * Messages whose 250 may not have arrived. RFC 1047: a client that loses the connection between its final dot and our
 * 250 sends the message again, and the recipient gets it twice. So the digest of (envelope, octets) is kept with the
 * job, in one durable write. When the same comes again and the earlier 250 was not written to the socket, it is that
 * message: the answer is 250 with the earlier id, and nothing is added. Once the reply was flushed the mark is set
 * acknowledged, and identical octets are new mail, as when a machine sends the same report every minute.
 *
 * The acknowledgement is not durable: after a power cut or a kill in that moment a later identical message would be taken for the
 * earlier one. That is a message with the same octets, Message-ID and Date included, which the recipients already have.
 * A reply that was flushed but did not arrive is not noticed; a second copy is then what SMTP has always given.
 */
export class Retransmissions {
  readonly #queue: Pick<Queue, 'getMark' | 'setMark'>;
  readonly #now: () => number;
  /** One entry for each message being added now. */
  readonly #turns = new Map<string, Promise<void>>();
  /** Acknowledged, and being written down: the next message of that client must not be faster than our disk. */
  readonly #settling = new Set<string>();

  constructor(queue: Pick<Queue, 'getMark' | 'setMark'>, now: () => number) {
    this.#queue = queue;
    this.#now = now;
  }

  /**
   * Runs `work` alone among all with this key, so that a message that is sent again while the first attempt is still
   * being decided waits for it, and knows how it ended.
   */
  async alone<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const turn = before.then(() => promise);
    this.#turns.set(key, turn);
    try {
      await before;
      return await work();
    } finally {
      resolve();
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }

  /** The message that this one is again, if its reply may not have arrived. */
  async earlier(key: string): Promise<Earlier | undefined> {
    const found = await this.#queue.getMark(key);
    if (found === undefined || this.#settling.has(key)) return undefined;
    const { trace, acknowledged } = decode<MarkValue>(found);
    return acknowledged ? undefined : { trace };
  }

  /** To be added with the job, in the same write. */
  mark(key: string, trace: string): Mark {
    return { key, value: encode({ trace, acknowledged: false }), expiresAt: this.#now() + rememberMs };
  }

  /** The 250 was written to the socket. */
  async acknowledged(key: string, trace: string): Promise<void> {
    const value = encode({ trace, acknowledged: true });
    this.#settling.add(key);
    try {
      await this.#queue.setMark(key, value, this.#now() + settledMs, { durable: false });
    } finally {
      this.#settling.delete(key);
    }
  }
}

/** The digest under which a message with its envelope is remembered. Lengths are hashed too, so that no two share one. */
export function retransmissionKey(
  from: string,
  recipients: readonly string[],
  messageHash: Uint8Array,
  messageBytes: number,
): string {
  const text = JSON.stringify([from, [...recipients].sort(), messageBytes]);
  return `in:${createHash('sha256').update(text).update(messageHash).digest('base64url')}`;
}
