import type { Address } from '../../policy/address.ts';
import type { Lookup } from '../store/directory.ts';

type Found = Lookup & { readonly kind: 'found' };

// From a message's RCPT to its delivery, and for the next messages to the same person. A revocation may stay unseen here this
// long, far below the minute it takes to reach every node anyway.
const foundForMs = 5_000;
// A gateway's recipients of five seconds, at 1 KiB each.
const maxKnown = 2_000;

/**
 * Who was found in the ring a moment ago, and one question for all who ask for the same address at once. Only `found` is
 * remembered: a user who was just added must not be unknown for longer than the ring itself needs.
 */
export class KnownIdentities {
  readonly #ask: (address: Address) => Promise<Lookup>;
  readonly #now: () => number;
  readonly #known = new Map<Address, { readonly found: Found; readonly at: number }>();
  readonly #underWay = new Map<Address, Promise<Lookup>>();

  constructor(ask: (address: Address) => Promise<Lookup>, now: () => number) {
    this.#ask = ask;
    this.#now = now;
  }

  lookup(address: Address): Promise<Lookup> {
    const known = this.#known.get(address);
    const age = this.#now() - (known?.at ?? 0);
    if (known !== undefined && age >= 0 && age < foundForMs) return Promise.resolve(known.found);
    const underWay = this.#underWay.get(address);
    if (underWay !== undefined) return underWay;
    const asked = this.#askNow(address).finally(() => this.#underWay.delete(address));
    this.#underWay.set(address, asked);
    return asked;
  }

  async #askNow(address: Address): Promise<Lookup> {
    const at = this.#now();
    const found = await this.#ask(address);
    this.#known.delete(address);
    if (found.kind === 'found') this.#known.set(address, { found, at });
    const oldest = this.#known.size > maxKnown ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
    return found;
  }
}
