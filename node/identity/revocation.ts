import { z } from 'zod';
import { encodeCanonical } from './canonical.ts';
import type { SigningKey } from './keys.ts';
import type { RingDescriptor } from './ring.ts';
import { bytesShape, domainShape, serialBytes, timeShape } from './shapes.ts';
import { encodeSigned, readSigned, signBytes } from './signed.ts';

/** The certificates of a ring that are valid no longer. A higher version replaces a lower one. Times in ms. */
export interface RevocationList {
  readonly version: number;
  readonly issuedAt: number;
  readonly nextUpdate: number;
  readonly serials: readonly string[];
}

const tag = 'revocations';
// The list travels in one RPC frame of 128 KiB; 5,000 serials of 17 bytes fit. Expired certificates leave the list.
export const maxRevokedSerials = 5_000;
export const maxRevocationBytes = 100 * 1024;

const listShape = z.strictObject({
  format: z.literal(1),
  ring: domainShape,
  version: z.int().positive(),
  issuedAt: timeShape,
  nextUpdate: timeShape,
  serials: z.array(bytesShape(serialBytes, 'a serial')).max(maxRevokedSerials),
});

/** The signed bytes of a list. Throws RangeError when it is too long to be spread. */
export function encodeRevocations(list: RevocationList, ring: RingDescriptor, ca: SigningKey): Uint8Array {
  if (list.serials.length > maxRevokedSerials) throw new RangeError(`more than ${maxRevokedSerials} serials to revoke`);
  const payload = {
    format: 1,
    ring: ring.name,
    version: list.version,
    issuedAt: list.issuedAt,
    nextUpdate: list.nextUpdate,
    serials: [...list.serials].sort().map((serial) => Uint8Array.from(Buffer.from(serial, 'hex'))),
  };
  return encodeSigned(signBytes(tag, encodeCanonical(payload), ca));
}

/** The newest revocation list of one ring that this process has seen. Starts with none. */
export class RevocationState {
  readonly #ring: RingDescriptor;
  #list: RevocationList | undefined;
  #bytes: Uint8Array | undefined;
  #revoked: ReadonlySet<string> = new Set();

  constructor(ring: RingDescriptor, bytes?: Uint8Array) {
    this.#ring = ring;
    if (bytes !== undefined) this.offer(bytes);
  }

  /** The newest list, or undefined when none was ever seen. */
  current(): RevocationList | undefined {
    return this.#list;
  }

  /** The exact signed bytes of the newest list, to be forwarded as they are. */
  bytes(): Uint8Array | undefined {
    return this.#bytes;
  }

  /** Takes the list over when the authority signed it and it is newer; an older one never replaces a newer one. */
  offer(bytes: Uint8Array): 'newer' | 'old' | 'invalid' {
    const read = readSigned(tag, bytes, { shape: listShape, maxBytes: maxRevocationBytes, signer: this.#ring.caKey });
    if (read.kind === 'invalid' || read.value.ring !== this.#ring.name) return 'invalid';
    const { version, issuedAt, nextUpdate } = read.value;
    if (this.#list !== undefined && version <= this.#list.version) return 'old';
    const serials = read.value.serials.map((serial) => Buffer.from(serial).toString('hex'));
    this.#list = { version, issuedAt, nextUpdate, serials };
    this.#bytes = Uint8Array.from(bytes);
    this.#revoked = new Set(serials);
    return 'newer';
  }

  isRevoked(serial: string): boolean {
    return this.#revoked.has(serial);
  }
}
