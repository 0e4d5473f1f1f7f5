import { multiaddr } from '@multiformats/multiaddr';
import { z } from 'zod';
import type { Domain } from '../../policy/address.ts';
import { encodeCanonical } from '../identity/canonical.ts';
import type { SigningKey } from '../identity/keys.ts';
import { domainShape, timeShape } from '../identity/shapes.ts';
import { encodeSigned, readSigned, signBytes } from '../identity/signed.ts';

/** Where a node says it can be reached. A higher sequence replaces a lower one. */
export interface NodeRecord {
  readonly ring: Domain;
  readonly addresses: readonly string[];
  readonly sequence: number;
}

const tag = 'node-record';
// A machine has a few interfaces; more addresses would be targets for our dials, not places where it is.
export const maxAddresses = 8;
const maxAddressLength = 256;
export const maxRecordBytes = 4 * 1024;

const multiaddrShape = z
  .string()
  .max(maxAddressLength)
  .refine((text) => {
    try {
      // One spelling, and no peer id inside: that is the certificate's to say.
      const parsed = multiaddr(text);
      return parsed.toString() === text && !parsed.getComponents().some(({ name }) => name === 'p2p');
    } catch {
      return false;
    }
  }, 'not a multiaddr without peer id');

const recordShape = z.strictObject({
  version: z.literal(1),
  ring: domainShape,
  addresses: z.array(multiaddrShape).max(maxAddresses),
  sequence: timeShape,
});

/** The record signed by the node itself. */
export function signNodeRecord(record: NodeRecord, key: SigningKey): Uint8Array {
  const payload = recordShape.parse({ ...record, addresses: [...record.addresses], version: 1 });
  return encodeSigned(signBytes(tag, encodeCanonical(payload), key));
}

/** The record, if the node with this key signed it; undefined for anything else. Never throws. */
export function readNodeRecord(bytes: Uint8Array, peerKey: Uint8Array): NodeRecord | undefined {
  const read = readSigned(tag, bytes, { shape: recordShape, maxBytes: maxRecordBytes, signer: peerKey });
  if (read.kind === 'invalid') return undefined;
  const { ring, addresses, sequence } = read.value;
  return { ring, addresses, sequence };
}
