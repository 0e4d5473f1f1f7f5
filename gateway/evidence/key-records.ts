import { createPublicKey, type KeyObject } from 'node:crypto';
import { getPublicKey, type KeyRules, type PublicKeyFound, toALabel } from 'mailauth/lib/tools.js';
import type { MailauthResolver } from '../dns/message-lookups.ts';

/** A key as mailauth takes it: it verifies with it, and shows it as text. */
type ReadKey = Omit<PublicKeyFound, 'publicKey'> & { readonly publicKey: KeyObject };

// Some 4 KiB each. Most mail is signed by a few hundred keys; who sends many of his own only has us read more records.
const maxKeys = 1_000;

/** Records that were read, by their text and the rules they were read by, the least recently used first: reading one costs as much as three signatures. */
const read = new Map<string, ReadKey>();

/**
 * The key records of one message (RFC 6376 §3.6.2): each is asked for once, by the message's own budget of lookups. In place of mailauth's, which reads
 * the same record, checks it and makes a key of it for every message anew.
 */
export class KeyRecords {
  readonly resolver: MailauthResolver;
  readonly #asked = new Map<string, Promise<ReadKey>>();

  constructor(resolver: MailauthResolver) {
    this.resolver = resolver;
  }

  /** Rejects with mailauth's codes, or the resolver's. */
  get(type: string, name: string, minBitLength: number | undefined, rules: KeyRules = {}): Promise<ReadKey> {
    const question = `${rulesText(minBitLength, rules)} ${name}`;
    const earlier = this.#asked.get(question);
    if (earlier !== undefined) return earlier;
    const answer = this.#find(type, name, minBitLength, rules);
    // Asked for ahead of time, it may fail before anybody waits for it.
    answer.catch(() => undefined);
    this.#asked.set(question, answer);
    return answer;
  }

  async #find(type: string, name: string, minBitLength: number | undefined, rules: KeyRules): Promise<ReadKey> {
    const records = await this.resolver(toALabel(name), 'TXT');
    const key = `${rulesText(minBitLength, rules)} ${JSON.stringify(records[0] ?? [])}`;
    const known = read.get(key);
    const found = known ?? withKey(await getPublicKey(type, name, minBitLength, async () => records, rules));
    read.delete(key);
    read.set(key, found);
    const oldest = read.size > maxKeys ? read.keys().next().value : undefined;
    if (oldest !== undefined) read.delete(oldest);
    return found;
  }
}

function rulesText(minBitLength: number | undefined, { strict = false, hashAlgo = '' }: KeyRules): string {
  return `${strict} ${minBitLength ?? ''} ${hashAlgo}`;
}

function withKey(found: PublicKeyFound): ReadKey {
  const text = found.publicKey;
  return { ...found, publicKey: Object.assign(createPublicKey(text), { toString: () => text }) };
}
