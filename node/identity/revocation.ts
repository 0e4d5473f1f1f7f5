import { z } from 'zod';
import { encodeCanonical } from './canonical.ts';
import type { SigningKey } from './keys.ts';
import type { RingDescriptor } from './ring.ts';
import { bytesShape, domainShape, serialBytes, timeShape } from './shapes.ts';
import { encodeSigned, readSigned, signBytes } from './signed.ts';

/** What the authority says of identities that stay certified: `name` is an address, or a domain for everybody there. */
export interface Standing {
  readonly name: string;
  readonly what: 'slowed' | 'blocked';
}

/** The certificates of a ring that are valid no longer, and whom it blocks or slows. A higher version replaces a lower one. Times in ms. */
export interface RevocationList {
  readonly version: number;
  readonly issuedAt: number;
  readonly nextUpdate: number;
  readonly serials: readonly string[];
  readonly standings: readonly Standing[];
}

const tag = 'revocations';
// The list travels in one RPC frame of 128 KiB; 5,000 serials of 17 bytes fit. Expired certificates leave the list.
export const maxRevokedSerials = 5_000;
export const maxRevocationBytes = 100 * 1024;
// Each takes up to 350 octets, beside the serials in one frame; a block list of strangers belongs into a policy.
export const maxStandings = 200;

export const standingShape = z.strictObject({ name: z.string().min(1).max(320), what: z.enum(['slowed', 'blocked']) });

const listShape = z.strictObject({
  format: z.literal(1),
  ring: domainShape,
  version: z.int().positive(),
  issuedAt: timeShape,
  nextUpdate: timeShape,
  serials: z.array(bytesShape(serialBytes, 'a serial')).max(maxRevokedSerials),
  // Left out where it is empty, as in every list before there were any.
  standings: z.array(standingShape).max(maxStandings).optional(),
});

/** The signed bytes of a list. Throws RangeError when it is too long to be spread. */
export function encodeRevocations(list: RevocationList, ring: RingDescriptor, ca: SigningKey): Uint8Array {
  if (list.serials.length > maxRevokedSerials) throw new RangeError(`more than ${maxRevokedSerials} serials to revoke`);
  if (list.standings.length > maxStandings) throw new RangeError(`more than ${maxStandings} are blocked or slowed`);
  const payload = {
    format: 1,
    ring: ring.name,
    version: list.version,
    issuedAt: list.issuedAt,
    nextUpdate: list.nextUpdate,
    serials: [...list.serials].sort().map((serial) => Uint8Array.from(Buffer.from(serial, 'hex'))),
    ...(list.standings.length === 0 ? {} : { standings: list.standings.map(({ name, what }) => ({ name, what })) }),
  };
  const bytes = encodeSigned(signBytes(tag, encodeCanonical(payload), ca));
  if (bytes.length > maxRevocationBytes) throw new RangeError('the list is too long to be spread: release some names');
  return bytes;
}

/** The newest revocation list of one ring that this process has seen. Starts with none. */
export class RevocationState {
  readonly #ring: RingDescriptor;
  #list: RevocationList | undefined;
  #bytes: Uint8Array | undefined;
  #revoked: ReadonlySet<string> = new Set();
  #standings: ReadonlyMap<string, Standing['what']> = new Map();

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
    const { standings = [] } = read.value;
    this.#list = { version, issuedAt, nextUpdate, serials, standings };
    this.#standings = new Map(standings.map(({ name, what }) => [name, what]));
    this.#bytes = Uint8Array.from(bytes);
    this.#revoked = new Set(serials);
    return 'newer';
  }

  isRevoked(serial: string): boolean {
    return this.#revoked.has(serial);
  }

  /** What the authority says of an address, or else of its domain or ring. */
  standingOf(address: string, ring: string): 'good' | Standing['what'] {
    const domain = address.slice(address.lastIndexOf('@') + 1);
    return this.#standings.get(address) ?? this.#standings.get(domain) ?? this.#standings.get(ring) ?? 'good';
  }
}
