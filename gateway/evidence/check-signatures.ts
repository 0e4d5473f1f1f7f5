import type { ARCData, DKIMResult } from 'mailauth';
import { type BodyHasher, DkimVerifier } from 'mailauth/lib/dkim/dkim-verifier.js';
import { type BodyForm, BodyHash } from '../dkim/body-hash.ts';
import type { MailauthResolver } from '../dns/message-lookups.ts';
import { readHeaderBlock } from '../header-fields.ts';
import { KeyRecords } from './key-records.ts';

// DESIGN §14: each signature costs a lookup and a public-key operation, and a stranger chooses how many there are.
const maxSignatures = 5;

export interface CheckedSignatures {
  readonly results: readonly DKIMResult[];
  /** Addresses in the From fields, and how many fields there are. */
  readonly headerFrom: string[];
  readonly fromFields: number;
  /** For mailauth's ARC. */
  readonly arc: ARCData;
}

export interface CheckOptions {
  readonly resolver: MailauthResolver;
  /** When the message came, if not now. */
  readonly at?: Date;
}

/**
 * The DKIM signatures of a message (RFC 6376), the first five (the topmost, which are the newest), and what ARC needs. mailauth reads and judges them;
 * the body, whose lines end in CRLF, is hashed by us, in one native pass for each way to hash it instead of three octet by octet, and with turns of the
 * event loop between slices.
 */
export async function checkSignatures(message: Uint8Array, { resolver, at }: CheckOptions): Promise<CheckedSignatures> {
  const { fields, end } = readHeaderBlock(message);
  const extra = fields.filter((field) => field.name === 'dkim-signature').slice(maxSignatures);
  const verifier = new Verifier({
    resolver,
    // The rules of the RFCs, not the lenient ones: who judges mail by a signature must not mend it first.
    strict: true,
    // RFC 8301 §3.1: rsa-sha1 must not be accepted.
    rejectRsaSha1: true,
    ...(at === undefined ? {} : { curTime: at }),
  });
  const bodyStart = Math.min(message.length, end + 2);
  await verifier.emitHeaders(without(message.subarray(0, bodyStart), extra));
  await verifier.takeBody(message.subarray(bodyStart));
  await verifier.finalChunk();
  const { results, headerFrom, fromFields, arc } = verifier;
  return { results, headerFrom, fromFields, arc };
}

/** mailauth's verifier with the body's hashes and the keys of ours. */
class Verifier extends DkimVerifier {
  readonly #hashes: BodyHash[] = [];

  constructor(options: ConstructorParameters<typeof DkimVerifier>[0]) {
    super(options);
    this.keyCache = new KeyRecords(options.resolver);
    this.arc.keyCache = this.keyCache;
  }

  override addBodyHash(form: BodyForm, algorithm: 'sha256' | 'sha1', maxBytes: number | ''): string {
    const name = `${form}:${algorithm}:${maxBytes}`;
    if (this.bodyHashes.has(name)) return name;
    const hash = new BodyHash(form, algorithm, maxBytes === '' ? undefined : maxBytes);
    this.#hashes.push(hash);
    this.bodyHashes.set(name, hasherOf(hash));
    return name;
  }

  async takeBody(body: Uint8Array): Promise<void> {
    for (const hash of this.#hashes) await hash.take(body);
  }
}

/** In the shape that mailauth asks. What it says of MIME parts is not used. */
function hasherOf(hash: BodyHash): BodyHasher {
  return {
    byteLength: 0,
    get canonicalizedLength() {
      return hash.canonicalBytes;
    },
    get bodyHashedBytes() {
      return hash.hashedBytes;
    },
    digest: (encoding) => hash.digest(encoding),
    setContentType: () => undefined,
    getMimeStructureStart: () => 0,
  };
}

function without(header: Uint8Array, fields: readonly { readonly start: number; readonly end: number }[]): Buffer {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { start, end } of fields) {
    parts.push(header.subarray(from, start));
    from = end;
  }
  return Buffer.concat([...parts, header.subarray(from)]);
}
