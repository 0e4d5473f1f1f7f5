import { firstBits, type Network, parseNetwork } from './network.ts';

/**
 * A named list of the policy file; `x in lists.NAME` asks it. An entry stands for itself in any case; `.example.net` for
 * every name below it; `@example.net` for every address there; `192.0.2.0/24` for the addresses in it.
 * A question costs as many look-ups as the name has labels, never the length of the list.
 */
export class NameList {
  readonly size: number;
  readonly #names = new Set<string>();
  // By family and prefix length, so that one address needs one look-up for each length in use.
  readonly #networks = new Map<string, { bits: 32 | 128; prefix: number; addresses: Set<bigint> }>();

  constructor(entries: readonly string[]) {
    this.size = entries.length;
    for (const entry of entries) {
      const network = parseNetwork(entry);
      if (network === undefined) this.#names.add(entry.toLowerCase());
      else this.#addNetwork(network);
    }
  }

  has(value: string): boolean {
    const name = value.toLowerCase();
    if (this.#names.has(name)) return true;
    return name.includes('@')
      ? this.#names.has(name.slice(name.lastIndexOf('@')))
      : this.#below(name) || this.#within(name);
  }

  /** Whether an entry is this very name, and no network, domain or pattern that it falls under. */
  names(value: string): boolean {
    return this.#names.has(value.toLowerCase());
  }

  #below(name: string): boolean {
    for (let dot = name.indexOf('.', 1); dot > 0; dot = name.indexOf('.', dot + 1)) {
      if (this.#names.has(name.slice(dot))) return true;
    }
    return false;
  }

  #within(name: string): boolean {
    if (this.#networks.size === 0) return false;
    const asked = parseNetwork(name);
    if (asked === undefined) return false;
    for (const { bits, prefix, addresses } of this.#networks.values()) {
      if (bits === asked.bits && prefix <= asked.prefix && addresses.has(firstBits(asked.address, bits, prefix))) {
        return true;
      }
    }
    return false;
  }

  #addNetwork({ bits, prefix, address }: Network): void {
    const key = `${bits}/${prefix}`;
    const known = this.#networks.get(key) ?? { bits, prefix, addresses: new Set<bigint>() };
    known.addresses.add(address);
    this.#networks.set(key, known);
  }
}
