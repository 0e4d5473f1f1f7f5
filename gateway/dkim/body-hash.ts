/** The hash of a body that a DKIM or ARC signature names in `bh=` (RFC 6376 §3.7), over the canonical form of RFC 6376 §3.4.3 or §3.4.4. */
import { createHash } from 'node:crypto';
import { inSlices } from '../slices.ts';
import { RelaxedBody, withoutLineEnds } from './canonical.ts';

export type BodyForm = 'relaxed' | 'simple';

const lineEnd = Buffer.from('\r\n');

/** One hash, to be filled with one body. */
export class BodyHash {
  readonly #form: BodyForm;
  readonly #maxBytes: number;
  readonly #hash;
  /** Octets of the canonical body, and those of them that went into the hash. */
  canonicalBytes = 0;
  hashedBytes = 0;

  /** `maxBytes`: what `l=` lets the signature cover (RFC 6376 §3.5). */
  constructor(form: BodyForm, algorithm: 'sha256' | 'sha1', maxBytes = Number.POSITIVE_INFINITY) {
    this.#form = form;
    this.#maxBytes = maxBytes;
    this.#hash = createHash(algorithm);
  }

  /** Takes the whole body, whose lines end in CRLF. Lets others have the event loop where it is large; linear in its length. */
  async take(body: Uint8Array): Promise<void> {
    if (this.#form === 'simple') {
      // §3.4.3: no empty lines at the end, and always one line end.
      await inSlices(body.subarray(0, withoutLineEnds(body, body.length)), (slice) => this.#add(slice));
      this.#add(lineEnd);
      return;
    }
    const relaxed = new RelaxedBody((bytes) => this.#add(bytes));
    await inSlices(body, (slice) => relaxed.add(slice));
    relaxed.end();
  }

  digest(encoding: 'base64'): string {
    return this.#hash.digest(encoding);
  }

  #add(bytes: Uint8Array): void {
    this.canonicalBytes += bytes.length;
    const room = this.#maxBytes - this.hashedBytes;
    if (room <= 0) return;
    const covered = bytes.length <= room ? bytes : bytes.subarray(0, room);
    this.hashedBytes += covered.length;
    this.#hash.update(covered);
  }
}
