import { base58btc } from 'multiformats/bases/base58';

// An Ed25519 peer id is the identity multihash (0x00, length 36) of the protobuf key {type: 1, data: 32 bytes}
// (libp2p peer-ids specification), written in base58btc without the multibase prefix.
const prefix = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

/** The libp2p peer id of an Ed25519 public key. */
export function nodePeerId(peerKey: Uint8Array): string {
  return base58btc.baseEncode(Buffer.concat([prefix, peerKey]));
}
