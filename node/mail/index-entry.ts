import type { FlagSet } from './flags.ts';
import type { MessageEntry } from './folder.ts';
import { decodeMessageRef, type MessageRef, packedMessageRefBytes } from './message-ref.ts';

/**
 * One message in the index. A folder of 100,000 has that many: flags are shared, and the reference is a one-octet-per-character string
 * (an octet array of this length would cost twice as much in its own headers), unpacked when somebody wants it.
 */
export class IndexEntry implements MessageEntry {
  readonly uid: number;
  readonly modseq: number;
  readonly internalDate: number;
  readonly size: number;
  readonly set: FlagSet;
  /** Who inserted it and as his how manyth: its name in every history of the log. */
  readonly origin: number;
  readonly serial: number;
  readonly #packed: string;

  constructor(facts: {
    uid: number;
    modseq: number;
    internalDate: number;
    size: number;
    set: FlagSet;
    packed: string;
    origin: number;
    serial: number;
  }) {
    this.uid = facts.uid;
    this.modseq = facts.modseq;
    this.internalDate = facts.internalDate;
    this.size = facts.size;
    this.set = facts.set;
    this.origin = facts.origin;
    this.serial = facts.serial;
    this.#packed = facts.packed;
  }

  get flags(): readonly string[] {
    return this.set.flags;
  }

  get packedRef(): Buffer {
    return Buffer.from(this.#packed, 'latin1');
  }

  get ref(): MessageRef {
    return decodeMessageRef(this.packedRef);
  }

  /** RFC 8474 §4: from the hash of the octets, so that every copy has the same; 16 octets of it are plenty. */
  get emailId(): string {
    return `M${Buffer.from(this.contentKey, 'latin1').toString('hex')}`;
  }

  get contentKey(): string {
    const hashAt = packedMessageRefBytes - 32;
    return this.#packed.slice(hashAt, hashAt + 16);
  }

  with(set: FlagSet, modseq: number): IndexEntry {
    return new IndexEntry({ ...this.#facts(), set, modseq });
  }

  /** The same message under another uid. */
  as(uid: number, modseq: number): IndexEntry {
    return new IndexEntry({ ...this.#facts(), uid, modseq });
  }

  #facts(): ConstructorParameters<typeof IndexEntry>[0] {
    const { uid, modseq, internalDate, size, set, origin, serial } = this;
    return { uid, modseq, internalDate, size, set, origin, serial, packed: this.#packed };
  }
}

/** The size of the message that a packed reference names, without unpacking it all. */
export function packedSize(packed: Uint8Array): number {
  return Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength).readUIntBE(packedMessageRefBytes - 38, 6);
}
