import { multiaddr } from '@multiformats/multiaddr';

/** The bootstrap addresses by peer id, without this node. Throws where one names no peer. */
export function bootstrapByPeer(addresses: readonly string[], selfId: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const text of addresses) {
    const [, address, peerId] = /^(.*)\/p2p\/([^/]+)$/.exec(text) ?? [];
    if (address === undefined || peerId === undefined)
      throw new RangeError(`the bootstrap address ${text} does not end in /p2p/ and a peer id`);
    if (peerId !== selfId) found.set(peerId, [...(found.get(peerId) ?? []), multiaddr(address).toString()]);
  }
  return found;
}
