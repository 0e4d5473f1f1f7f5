/** What of a message goes back in a report about it (RFC 3461 §4.3, RFC 3464 §2). Pure. */
import { readHeaderBlock } from './header-fields.ts';

/** A header block may have 256 KiB; a report is for reading. */
const maxHeaderBytes = 32 * 1024;
/** Of a message that is larger than this the header is what helps. */
const maxWholeBytes = 256 * 1024;

export interface ReturnedPart {
  readonly originalHeader: Uint8Array;
  /** All of the message, where that was asked for and is not too much. */
  readonly original?: Uint8Array | undefined;
}

/** `ret` as the sender gave it; all of the message goes back in a report of failure only (RFC 3461 §4.3). Nothing of a message that could not be had (no octets). */
export function returnedPart(bytes: Uint8Array, ret: string | undefined, isFailure: boolean): ReturnedPart {
  const isWhole = ret === 'FULL' && isFailure && bytes.length > 0 && bytes.length <= maxWholeBytes;
  return {
    originalHeader: bytes.subarray(0, Math.min(readHeaderBlock(bytes).end, maxHeaderBytes)),
    ...(isWhole ? { original: bytes } : {}),
  };
}
