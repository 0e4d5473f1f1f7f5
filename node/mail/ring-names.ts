import { type Address, type Domain, parseAddress, withoutTag } from '../../policy/address.ts';
import type { Lookup } from '../store/directory.ts';

type Found = Extract<Lookup, { kind: 'found' }>;

/** Whether somebody may write in the name of an address. `unknown` is neither: it is asked again later. */
export type Ownership = 'own' | 'foreign' | 'unknown';

/**
 * Who an address of the ring means. An identity is itself. A name that the ring surely does not know as an identity, now or formerly, may be an alias: the
 * gateway's record says whose (DESIGN §10; RFC 5321 §4.5.1 wants postmaster). So a gateway, which reads what strangers send, can never turn a user's
 * mail to somebody else. An alias leads to an identity, never to another alias: there is nothing to go round in.
 */
export class RingNames {
  readonly #lookup: (address: Address) => Promise<Lookup>;
  readonly #domains: readonly Domain[];
  readonly #gateway: Address;

  /** `lookup` asks the directory; it may remember answers. */
  constructor(parts: {
    readonly lookup: (address: Address) => Promise<Lookup>;
    readonly domains: readonly Domain[];
    readonly gateway: Address;
  }) {
    this.#lookup = parts.lookup;
    this.#domains = parts.domains;
    this.#gateway = parts.gateway;
  }

  /** The identity that is meant: what is found has that one's address. */
  async resolve(address: Address): Promise<Lookup> {
    const exact = await this.#lookup(address);
    if (exact.kind !== 'none') return exact;
    const gateway = await this.#lookup(this.#gateway);
    if (gateway.kind === 'unknown') return gateway;
    if (gateway.kind !== 'found' || gateway.certificate.kind !== 'gateway') return exact;
    const target = gateway.record?.aliases?.find(([name]) => name === address)?.[1];
    return target === undefined ? exact : this.#lookup(target);
  }

  /** Whether an address, as a program or a message writes it, is the identity's: with or without a tag, an alias for it, or a list that it owns. */
  async ownership(text: string, identity: Address): Promise<Ownership> {
    const parsed = parseAddress(text);
    if (parsed.kind === 'invalid') return 'foreign';
    const plain = withoutTag(parsed.address);
    if (plain === withoutTag(identity)) return 'own';
    if (!this.#domains.includes(parsed.domain)) return 'foreign';
    const found = await this.resolve(plain);
    if (found.kind === 'unknown') return 'unknown';
    return found.kind === 'found' && isOwnedBy(found, identity) ? 'own' : 'foreign';
  }
}

/** Whether what an address means is this identity, or a list of his: an owner may write in its name. */
export function isOwnedBy({ certificate, record }: Found, identity: Address): boolean {
  if (certificate.address === identity) return true;
  return certificate.kind === 'list' && record?.list?.owners.includes(identity) === true;
}
