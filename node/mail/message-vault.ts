import type { Address } from '../../policy/address.ts';
import { deriveKey } from '../identity/derive.ts';
import { ByteGate } from './byte-gate.ts';
import { MailFault } from './fault.ts';
import type { Clock, Log, MailPost } from './mail-post.ts';
import { leaseMs } from './mail-post.ts';
import { sha256 } from './manifest.ts';
import { fetchMessage, messageAtHand, storeMessage } from './message.ts';
import { type MessageRef, maxMessageBytes } from './message-ref.ts';
import { placeholder } from './placeholder.ts';
import type { Summaries } from './summaries.ts';

// A program reads one message in many pieces; a largest message and some around it are kept for that, until it has surely gone on.
const keepBytes = 48 * 1024 * 1024;
const keepMs = 120_000;
// Two of the largest messages looked at on arrival at once, for all mailboxes of a node: a thousand may arrive in the same moment.
const arrivingBytes = 2 * maxMessageBytes;
const arriving = new WeakMap<MailPost, ByteGate>();

function gateOf(post: MailPost): ByteGate {
  const gate = arriving.get(post) ?? new ByteGate(arrivingBytes);
  arriving.set(post, gate);
  return gate;
}

type Options = {
  readonly post: MailPost;
  readonly address: Address;
  readonly secret: Uint8Array;
  readonly summaries: Summaries;
  readonly now: Clock;
  readonly log: Log;
};

/** The messages of one mailbox: stores them under the user's own salt, fetches them once for all who ask, keeps the last ones in memory. */
export class MessageVault {
  readonly #options: Options;
  /** Oldest use first. */
  readonly #kept = new Map<string, Uint8Array>();
  readonly #fetching = new Map<string, Promise<Uint8Array>>();
  #bytes = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  get summaries(): Summaries {
    return this.#options.summaries;
  }

  async store(bytes: Uint8Array): Promise<MessageRef> {
    const { post, address, secret, now } = this.#options;
    // By the hash: the same message stored again (a retried APPEND) adds no block, and nobody else can guess the salt.
    const salt = deriveKey(secret, 'mail/salt', sha256(bytes));
    return storeMessage(post.store, bytes, { salt, lease: { identity: address, until: now() + leaseMs } });
  }

  /** The message, or one that says that it is lost. Throws MailFault `unavailable` when it may yet be had. */
  async fetch(ref: MessageRef): Promise<Uint8Array> {
    try {
      return await this.read(ref);
    } catch (error) {
      if (!(error instanceof MailFault) || error.code === 'unavailable') throw error;
      const { log, now } = this.#options;
      const key = Buffer.from(ref.hash).toString('hex');
      log.warn({ message: key, code: error.code, err: error }, 'a message is lost; its reader is told');
      return placeholder({ ...ref, code: error.code, now: now() });
    }
  }

  async read(ref: MessageRef): Promise<Uint8Array> {
    const key = Buffer.from(ref.hash).toString('hex');
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#keep(key, kept);
      return kept;
    }
    const fetching = this.#fetching.get(key) ?? this.#fetch(key, ref);
    this.#fetching.set(key, fetching);
    try {
      return await fetching;
    } finally {
      this.#fetching.delete(key);
    }
  }

  /** The message where it is in memory or can be had without a wait; undefined says nothing: {@link fetch} does. */
  atHand(ref: MessageRef): Uint8Array | undefined {
    const key = Buffer.from(ref.hash).toString('hex');
    const bytes = this.#kept.get(key) ?? messageAtHand(this.#options.post.store, ref);
    if (bytes !== undefined) this.#keep(key, bytes);
    return bytes;
  }

  async #fetch(key: string, ref: MessageRef): Promise<Uint8Array> {
    const bytes = await fetchMessage(this.#options.post.store, ref);
    this.#keep(key, bytes);
    return bytes;
  }

  /** A message that has just been named to us and that nobody may ever open: read, and not kept. Waits while many arrive at once. */
  async look(ref: MessageRef): Promise<Uint8Array> {
    const { post } = this.#options;
    return gateOf(post).run(ref.size, async () => fetchMessage(post.store, ref));
  }

  /** Work on such a message that reads some or all of it: in turn with {@link look}. */
  async gated<T>(ref: MessageRef, work: () => Promise<T>): Promise<T> {
    return gateOf(this.#options.post).run(ref.size, work);
  }

  /** Lets go of what is kept. */
  close(): void {
    clearTimeout(this.#expiry);
    this.#expiry = undefined;
    this.#kept.clear();
    this.#bytes = 0;
  }

  #keep(key: string, bytes: Uint8Array): void {
    this.#expiry ??= setTimeout(() => this.close(), keepMs).unref();
    this.#expiry.refresh();
    this.#bytes -= this.#kept.get(key)?.length ?? 0;
    this.#kept.delete(key);
    this.#kept.set(key, bytes);
    this.#bytes += bytes.length;
    if (this.#bytes <= keepBytes) return;
    for (const [oldest, old] of this.#kept) {
      if (this.#bytes <= keepBytes) break;
      this.#kept.delete(oldest);
      this.#bytes -= old.length;
    }
  }
}
