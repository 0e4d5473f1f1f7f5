import { z } from 'zod';
import type { MemberProof } from './member-table.ts';
import { maxBodyBytes } from './overlay.ts';

// Proofs in one message; with the framing it stays under the frame bound.
const maxProofsBytes = maxBodyBytes - 16 * 1024;

const bytesShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
export const proofsShape = z.array(z.strictObject({ certificate: bytesShape, record: bytesShape })).max(1_000);

/** The proofs in groups that fit into a message each. */
export function batches(proofs: readonly MemberProof[]): MemberProof[][] {
  const groups: MemberProof[][] = [];
  let room = 0;
  for (const proof of proofs) {
    const size = proof.certificate.length + proof.record.length + 64;
    if (size > room) {
      groups.push([]);
      room = maxProofsBytes;
    }
    groups.at(-1)?.push(proof);
    room -= size;
  }
  return groups;
}

/** As many as fit into one message, from the beginning. */
export function withinMessage(proofs: readonly MemberProof[]): MemberProof[] {
  return batches(proofs)[0] ?? [];
}
