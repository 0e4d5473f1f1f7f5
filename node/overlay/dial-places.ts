import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { multiaddr } from '@multiformats/multiaddr';
import { type Reach, reachOf } from './address.ts';

export interface PlacesParts {
  /** Where this node was told to listen. */
  readonly listen: readonly string[];
  /** IP addresses of a name; rejects when there are none. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** IP addresses of this machine. */
  readonly interfaces?: () => readonly string[];
}

// A record holds eight addresses; with names resolved no more than these are dialled.
const maxDialled = 8;

/**
 * Which addresses of a member's record are dialled. A record is that member's word alone, so it must not lead to what only this machine can reach:
 * loopback counts only where this node itself was told to listen there (a ring on one machine), a private network only where this machine stands
 * in one; link-local and multicast never. Names count for what they resolve to.
 */
export class DialPlaces {
  readonly #resolve: (name: string) => Promise<readonly string[]>;
  readonly #interfaces: () => readonly string[];
  readonly #loopback: boolean;

  constructor({ listen, resolve = resolveName, interfaces = ownAddresses }: PlacesParts) {
    this.#resolve = resolve;
    this.#interfaces = interfaces;
    // Port 0 is any free one: a place to listen, though none to dial.
    this.#loopback = listen.some((address) => reachOf(address.replace(/\/tcp\/0$/, '/tcp/1')) === 'loopback');
  }

  /** Those to dial; never throws. */
  async of(theirs: readonly string[]): Promise<readonly string[]> {
    const resolved = await Promise.all(theirs.map((address) => this.#numeric(address)));
    const allowed = new Set<Reach>(['public']);
    if (this.#loopback) allowed.add('loopback');
    if (this.#interfaces().some((host) => reachOf(hostAddress(host, '1')) === 'private')) allowed.add('private');
    return [...new Set(resolved.flat())].filter((address) => allowed.has(reachOf(address))).slice(0, maxDialled);
  }

  async #numeric(address: string): Promise<readonly string[]> {
    if (reachOf(address) !== 'name') return [address];
    const [host, port] = multiaddr(address).getComponents();
    const found = await this.#resolve(host?.value ?? '').catch(() => []);
    const family = host?.name === 'dns4' ? '.' : host?.name === 'dns6' ? ':' : '';
    return found.filter((ip) => ip.includes(family)).map((ip) => hostAddress(ip, port?.value ?? '0'));
  }
}

function hostAddress(ip: string, port: string): string {
  return `/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}/tcp/${port}`;
}

async function resolveName(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).map(({ address }) => address.split('%', 1)[0] ?? ''),
  );
}
