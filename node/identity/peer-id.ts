import { base58btc } from 'multiformats/bases/base58';

// An Ed25519 peer id is the identity multihash (0x00, length 36) of the protobuf key {type: 1, data: 32 bytes}
// (libp2p peer-ids specification), written in base58btc without the multibase prefix.
const prefix = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

/** The libp2p peer id of an Ed25519 public key. */
export function nodePeerId(peerKey: Uint8Array): string {
  return base58btc.baseEncode(Buffer.concat([prefix, peerKey]));
}

/** The key in such a peer id; undefined for anything else. Never throws. */
export function peerKeyOf(peerId: string): Uint8Array | undefined {
  // 38 bytes are 51 or 52 characters: longer input is not even decoded.
  if (peerId.length > 64) return undefined;
  try {
    const bytes = base58btc.baseDecode(peerId);
    const isKey = bytes.length === prefix.length + 32 && prefix.every((byte, at) => bytes[at] === byte);
    return isKey ? bytes.slice(prefix.length) : undefined;
  } catch {
    return undefined;
  }
}
