/**
 * Signs a message with every key given (RFC 6376, RFC 8463), relaxed/relaxed. Our own signer, since the libraries at hand sign only the fields that
 * are there: the fields people look at are oversigned here (listed once more than they occur, RFC 6376 §5.4.2), so that nobody can add a second
 * Subject or To to a signed message. Tests verify with two other implementations.
 */
import { hash, type KeyObject, sign as signSlowly } from 'node:crypto';
import { promisify } from 'node:util';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import { BodyHash } from './body-hash.ts';
import { relaxedField } from './canonical.ts';
import { DkimFault } from './fault.ts';
import type { DkimKey } from './keys.ts';

/** Signed as often as they occur and once more. */
const oversigned = [
  'from',
  'to',
  'cc',
  'subject',
  'date',
  'message-id',
  'reply-to',
  'sender',
  'in-reply-to',
  'references',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
];

/** Signed as often as they occur: a mailing list or a forwarder may add its own (RFC 6376 §5.4.1). */
const signed = ['list-id', 'list-unsubscribe', 'list-unsubscribe-post', 'list-post', 'auto-submitted', 'resent-from'];

export interface SignOptions {
  readonly domain: string;
  readonly keys: readonly DkimKey[];
  readonly now: number;
  /** Of the message, where it is known. */
  readonly block?: HeaderBlock;
}

// An RSA signature takes most of a millisecond: on a thread of the pool, beside all that the event loop has to do.
const signBytes: (algorithm: string | null, input: Uint8Array, key: KeyObject) => Promise<Buffer> =
  promisify(signSlowly);

const lineEnd = Buffer.from('\r\n');

/** What of a message is signed: fields by name, and what they come to (RFC 6376 §3.7). */
export interface SignedFields {
  readonly names: readonly string[];
  readonly header: Buffer;
}

/** `also` are signed as often as they occur. */
export function signedFields(message: Uint8Array, { fields }: HeaderBlock, also: readonly string[] = []): SignedFields {
  if (!fields.some(({ name }) => name === 'from')) {
    throw new DkimFault('dkim-unsigned', 'a message without From cannot be signed');
  }
  const names: string[] = [];
  const chosen: Uint8Array[] = [];
  for (const name of [...oversigned, ...signed, ...also]) {
    // RFC 6376 §5.4.2: several fields of one name are signed from the bottom up.
    const occurring = fields.filter((field) => field.name === name).reverse();
    for (const { start, end } of occurring) chosen.push(message.subarray(start, end));
    const times = occurring.length + (oversigned.includes(name) ? 1 : 0);
    for (let i = 0; i < times; i += 1) names.push(name);
  }
  return { names, header: Buffer.concat(chosen.flatMap((field) => [relaxedField(field), lineEnd])) };
}

/** The DKIM-Signature fields to put before the message, one for each key. The message must be CRLF-clean and have a From field. */
export async function dkimSignatures(message: Uint8Array, options: SignOptions): Promise<Uint8Array> {
  const block = options.block ?? readHeaderBlock(message);
  const bodyHash = await bodyHashOf(message, block);
  const { names, header } = signedFields(message, block);
  const list = folded(` h=${names.join(':')};`, ':');
  return Buffer.concat(await Promise.all(options.keys.map((key) => signature(key, options, list, header, bodyHash))));
}

/** RFC 6376 §3.7, relaxed, in base64. */
export async function bodyHashOf(message: Uint8Array, { end }: HeaderBlock): Promise<string> {
  return hashOfBody(message.subarray(Math.min(message.length, end + 2)));
}

async function hashOfBody(body: Uint8Array): Promise<string> {
  const hash = new BodyHash('relaxed', 'sha256');
  await hash.take(body);
  return hash.digest('base64');
}

async function signature(
  key: DkimKey,
  options: SignOptions,
  list: readonly string[],
  header: Buffer,
  bodyHash: string,
): Promise<Buffer> {
  const { domain, now } = options;
  const field = [
    `DKIM-Signature: v=1; a=${key.algorithm}; c=relaxed/relaxed; d=${domain};`,
    ` s=${key.selector}; t=${Math.floor(now / 1000)};`,
    ...list,
    ` bh=${bodyHash};`,
    ' b=',
  ].join('\r\n');
  return completed(field, header, key);
}

/** A field that ends in an empty `b=`, completed by its signature over `before` and itself: it comes last, without a line end (RFC 6376 §3.7). */
export async function completed(field: string, before: Uint8Array, key: DkimKey): Promise<Buffer> {
  const input = Buffer.concat([before, relaxedField(Buffer.from(field))]);
  return Buffer.from(`${field}${wrapped(await sign(key, input))}\r\n`);
}

async function sign(key: DkimKey, input: Buffer): Promise<string> {
  // RFC 8463 §3: Ed25519 signs the SHA-256 of the input.
  const made =
    key.algorithm === 'ed25519-sha256'
      ? signBytes(null, hash('sha256', input, 'buffer'), key.privateKey)
      : signBytes('sha256', input, key.privateKey);
  return (await made).toString('base64');
}

/** Lines of at most 76 characters, cut after the separator. */
export function folded(text: string, separator: string): string[] {
  const lines = [''];
  for (const piece of text.split(new RegExp(`(?<=${separator})`))) {
    const last = lines.at(-1) ?? '';
    if (last.length + piece.length <= 76) lines[lines.length - 1] = last + piece;
    else lines.push(`  ${piece}`);
  }
  return lines;
}

function wrapped(base64: string): string {
  return (base64.match(/.{1,72}/g) ?? []).join('\r\n  ');
}
