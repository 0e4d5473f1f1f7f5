import type { Reply } from '../../policy/policy.ts';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import type { InboundLimits } from './limits.ts';
import { replies } from './replies.ts';

const CR = 13;
const LF = 10;
const NUL = 0;
// RFC 5321 §4.5.3.1.6: 1000 octets with CRLF.
const maxLineOctets = 998;

/** What can be said of the octets of a message as they come in, in parts of any size. */
export class WireCheck {
  #previous = LF;
  #lineOctets = 0;
  /** A bare CR, a bare LF or a NUL was among them. */
  bare = false;
  /** Octets of the longest line, without its CRLF. */
  longestLine = 0;

  add(part: Uint8Array): void {
    if (part.length === 0) return;
    if (this.#previous === CR && part[0] !== LF) this.bare = true;
    const { length } = part;
    let lineBegin = -this.#lineOctets;
    // One loop that does next to nothing for most octets: a search from line end to line end would cost more than the lines of mail are long.
    for (let at = 0; at < length; at += 1) {
      const octet = part[at]!;
      if (octet > CR) continue;
      if (octet === LF) {
        if ((at === 0 ? this.#previous : part[at - 1]) !== CR) this.bare = true;
        // Without the CR, which is the last octet counted.
        if (at - lineBegin - 1 > this.longestLine) this.longestLine = at - lineBegin - 1;
        lineBegin = at + 1;
      } else if (octet === NUL || (octet === CR && at + 1 < length && part[at + 1] !== LF)) this.bare = true;
      // A CR at the very end is judged with the next part.
    }
    this.#lineOctets = length - lineBegin;
    this.#previous = part[length - 1]!;
  }

  get isAtLineStart(): boolean {
    return this.#previous === LF;
  }

  end(): void {
    this.bare ||= this.#previous === CR;
    this.longestLine = Math.max(this.longestLine, this.#lineOctets);
  }
}

/** Why these octets are not taken in as a message, or undefined. */
export function refusalOf(
  message: Uint8Array,
  wire: WireCheck,
  limits: InboundLimits,
  { fields, end }: HeaderBlock = readHeaderBlock(message),
): Reply | undefined {
  // RFC 5321 §2.3.8: CR and LF only together. Handing them on would make others see two messages where we saw one.
  if (wire.bare) return replies.bareLineEnds;
  if (wire.longestLine > (limits.refuseLongLines ? maxLineOctets : limits.lineBytes)) return replies.longLines;
  if (end > limits.headerBytes || fields.length > limits.headerFields) return replies.headerTooLarge;
  if (countLines(message.subarray(0, end)) > limits.headerLines) return replies.headerTooLarge;
  const hops = fields.filter((field) => field.name === 'received').length;
  return hops > limits.receivedHops ? replies.routingLoop : undefined;
}

function countLines(part: Uint8Array): number {
  let count = 0;
  for (let at = part.indexOf(LF); at >= 0; at = part.indexOf(LF, at + 1)) count += 1;
  return count;
}
