const CR = 13;
const LF = 10;
const DOT = 46;

/** What one piece of the wire came to. */
export interface Read {
  /** Octets of the message, without what was stuffed. */
  readonly octets: Uint8Array;
  /** What follows the end of the message; undefined while it has not ended. */
  readonly rest: Buffer | undefined;
}

const lineDot = Buffer.from('\r\n.');
const carriageReturn = Buffer.from('\r');

/**
 * Finds the end of a message and takes stuffed dots away (RFC 5321 §4.5.2), wherever the pieces are cut. CRLF . CRLF ends it and nothing else does
 * (RFC 5321 §4.1.1.4); every other octet is content. The work is linear however many dots there are.
 */
export class DotReader {
  // DATA begins at the start of a line.
  #at: 'start' | 'dot' | 'dot-cr' | 'cr' | 'line' = 'start';

  /** Octets are moved within the piece, which belongs to the reader from here on; give it nothing after the end. */
  add(piece: Buffer): Read {
    // Most pieces have no line that begins with a dot: then there is nothing to do but to look.
    if (piece.length === 0 || this.#isPlain(piece)) return { octets: piece, rest: undefined };
    // A carriage return behind a dot that was held back, and turns out to be content.
    const held = this.#at === 'dot-cr' && piece[0] !== LF;
    const passed = (end: number): Uint8Array =>
      held ? Buffer.concat([carriageReturn, piece.subarray(0, end)]) : piece.subarray(0, end);
    let write = 0;
    let at = held ? 'cr' : this.#at;
    for (let read = 0; read < piece.length; read += 1) {
      const octet = piece[read] as number;
      switch (at) {
        case 'start':
          if (octet === DOT) {
            at = 'dot';
            continue;
          }
          at = octet === CR ? 'cr' : 'line';
          break;
        case 'dot':
          if (octet === CR) {
            at = 'dot-cr';
            continue;
          }
          at = 'line';
          break;
        case 'dot-cr':
          if (octet === LF) {
            this.#at = 'start';
            return { octets: passed(write), rest: piece.subarray(read + 1) };
          }
          // The carriage return was content. Two octets were left out before it, so that there is room.
          piece[write] = CR;
          write += 1;
          at = octet === CR ? 'cr' : 'line';
          break;
        case 'cr':
          at = octet === LF ? 'start' : octet === CR ? 'cr' : 'line';
          break;
        default:
          if (octet === CR) at = 'cr';
      }
      piece[write] = octet;
      write += 1;
    }
    this.#at = at;
    return { octets: passed(write), rest: undefined };
  }

  #isPlain(piece: Buffer): boolean {
    const [first, second] = piece;
    switch (this.#at) {
      case 'line':
        break;
      case 'start':
        if (first === DOT) return false;
        break;
      case 'cr':
        if (first === LF && (second === DOT || second === undefined)) return false;
        break;
      default:
        return false;
    }
    if (piece.includes(lineDot)) return false;
    const last = piece.at(-1);
    this.#at = last === CR ? 'cr' : last === LF && piece.at(-2) === CR ? 'start' : 'line';
    return true;
  }
}
