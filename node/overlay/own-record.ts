import type { Domain } from '../../policy/address.ts';
import type { NodeCertificate } from '../identity/certificate.ts';
import type { SigningKey } from '../identity/keys.ts';
import type { MemberProof } from './member-table.ts';
import { maxAddresses, signNodeRecord } from './node-record.ts';
import type { Clock } from './overlay.ts';

/** This node's own record: where it can be reached, under a sequence that only grows. */
export class OwnRecord {
  readonly #ring: Domain;
  readonly #certificate: NodeCertificate;
  readonly #key: SigningKey;
  readonly #now: Clock;
  #addresses: readonly string[] = [];
  #sequence = 0;
  #record = new Uint8Array();

  constructor(ring: Domain, certificate: NodeCertificate, key: SigningKey, now: Clock) {
    this.#ring = ring;
    this.#certificate = certificate;
    this.#key = key;
    this.#now = now;
  }

  /** What this node shows of itself; no record before the first {@link renew}. */
  get proof(): MemberProof {
    return { certificate: this.#certificate.bytes, record: this.#record };
  }

  /** Signs these addresses (multiaddrs, with or without our peer id) under a higher sequence than ever; returns what was signed. */
  renew(addresses: readonly string[]): readonly string[] {
    this.#addresses = withoutPeer(addresses);
    this.#sequence = Math.max(this.#sequence + 1, this.#now());
    const claims = { ring: this.#ring, addresses: this.#addresses, sequence: this.#sequence };
    this.#record = Uint8Array.from(signNodeRecord(claims, this.#key));
    return this.#addresses;
  }

  isCurrent(addresses: readonly string[]): boolean {
    return withoutPeer(addresses).join() === this.#addresses.join();
  }

  /**
   * Whether a record of ours with this sequence is ahead of the one signed now: of an earlier run, when the clock was
   * ahead. The next {@link renew} then goes past it, or the others would keep the old addresses.
   */
  overtakenBy(sequence: number): boolean {
    if (this.#sequence === 0 || sequence <= this.#sequence) return false;
    this.#sequence = sequence;
    return true;
  }
}

function withoutPeer(addresses: readonly string[]): string[] {
  return addresses.map((address) => address.replace(/\/p2p\/[^/]+$/, '')).slice(0, maxAddresses);
}
