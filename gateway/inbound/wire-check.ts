import type { Reply } from '../../policy/policy.ts';
import { readHeaderBlock } from '../header-fields.ts';
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
    // Found by searching for the few octets that matter, which is far faster than looking at each one.
    this.bare ||= part.includes(NUL) || this.#hasBareLineEnd(part);
    this.#measureLines(part);
    this.#previous = part.at(-1) ?? this.#previous;
  }

  get isAtLineStart(): boolean {
    return this.#previous === LF;
  }

  end(): void {
    this.bare ||= this.#previous === CR;
    this.longestLine = Math.max(this.longestLine, this.#lineOctets);
  }

  #hasBareLineEnd(part: Uint8Array): boolean {
    if (this.#previous === CR && part.length > 0 && part[0] !== LF) return true;
    for (let at = part.indexOf(LF); at >= 0; at = part.indexOf(LF, at + 1)) {
      if ((at === 0 ? this.#previous : part[at - 1]) !== CR) return true;
    }
    for (let at = part.indexOf(CR); at >= 0; at = part.indexOf(CR, at + 1)) {
      // One at the very end is judged with the next part.
      if (at + 1 < part.length && part[at + 1] !== LF) return true;
    }
    return false;
  }

  #measureLines(part: Uint8Array): void {
    let from = 0;
    for (let at = part.indexOf(LF); at >= 0; at = part.indexOf(LF, from)) {
      // Without the CR, which is the last octet counted.
      this.longestLine = Math.max(this.longestLine, this.#lineOctets + at - from - 1);
      this.#lineOctets = 0;
      from = at + 1;
    }
    this.#lineOctets += part.length - from;
  }
}

/** Why these octets are not taken in as a message, or undefined. */
export function refusalOf(message: Uint8Array, wire: WireCheck, limits: InboundLimits): Reply | undefined {
  // RFC 5321 §2.3.8: CR and LF only together. Handing them on would make others see two messages where we saw one.
  if (wire.bare) return replies.bareLineEnds;
  if (wire.longestLine > (limits.refuseLongLines ? maxLineOctets : limits.lineBytes)) return replies.longLines;
  const { fields, end } = readHeaderBlock(message);
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
