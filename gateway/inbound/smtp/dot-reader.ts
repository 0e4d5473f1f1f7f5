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
    const plain = this.#plainOctets(piece);
    if (plain === piece.length) {
      this.#passed(piece);
      return { octets: piece, rest: undefined };
    }
    // A carriage return behind a dot that was held back, and turns out to be content.
    const held = this.#at === 'dot-cr' && piece[0] !== LF;
    const passed = (end: number): Uint8Array =>
      held ? Buffer.concat([carriageReturn, piece.subarray(0, end)]) : piece.subarray(0, end);
    let write = plain;
    let at = held ? 'cr' : plain > 0 ? 'start' : this.#at;
    for (let read = plain; read < piece.length; read += 1) {
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

  /** How many octets from the beginning are content as they stand, up to the first line that begins with a dot: mostly all of them. */
  #plainOctets(piece: Buffer): number {
    const [first, second] = piece;
    switch (this.#at) {
      case 'line':
        break;
      case 'start':
        if (first === DOT) return 0;
        break;
      case 'cr':
        if (first === LF && (second === DOT || second === undefined)) return 0;
        break;
      default:
        return 0;
    }
    const dot = piece.indexOf(lineDot);
    return dot < 0 ? piece.length : dot + 2;
  }

  #passed(piece: Buffer): void {
    const last = piece.at(-1);
    if (last !== undefined) this.#at = last === CR ? 'cr' : last === LF && piece.at(-2) === CR ? 'start' : 'line';
  }
}
