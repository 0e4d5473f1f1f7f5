/** Relaxed canonicalization (RFC 6376 §3.4.2 and §3.4.4), over bytes and in one pass, so that 8-bit text and long lines cost nothing special. */

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const carriageReturn = Buffer.from('\r');
const isSpace = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

/** §3.4.2: lower-case name, unfolded, runs of white space to one space, none at the end or around the colon; without a line end. */
export function relaxedField(field: Uint8Array): Buffer {
  const text = Buffer.from(field).toString('latin1');
  const colon = text.indexOf(':');
  const name = text.slice(0, colon).trim().toLowerCase();
  const value = text.slice(colon + 1).split(/[ \t\r\n]+/);
  return Buffer.from(`${name}:${value.filter((word) => word !== '').join(' ')}`, 'latin1');
}

// Line ends that were held back are written so many at a time.
const someLineEnds = Buffer.from('\r\n'.repeat(4096));

/**
 * §3.4.4: no white space at line ends, runs of it to one space, no empty lines at the end, CRLF at the end unless empty. Takes the body in parts, cut
 * anywhere, and writes each time what is certain: bytes that are good until the next part.
 */
export class RelaxedBody {
  readonly #write: (bytes: Uint8Array) => void;
  /** Line ends and white space that count only if something follows them. */
  #lineEnds = 0;
  #space = false;
  /** A CR at the end of a part: the next one tells what it is. */
  #cr = false;
  #isEmpty = true;
  /** Used again for each part: half a megabyte of new memory each time would keep the garbage collector busy. */
  #out = Buffer.alloc(0);

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  add(given: Uint8Array): void {
    const part = this.#cr ? Buffer.concat([carriageReturn, given]) : given;
    this.#cr = part.at(-1) === CR;
    const end = this.#cr ? part.length - 1 : part.length;
    if (!this.#space && isRelaxed(part, end)) this.#passOn(part, end);
    else this.#relax(part, end);
  }

  /** Whatever was held back is left out, but a CR alone is no line end. */
  end(): void {
    if (this.#cr) this.#relax(carriageReturn, 1);
    if (!this.#isEmpty) this.#write(someLineEnds.subarray(0, 2));
  }

  /** Octets that are as they have to be, but for the line ends behind them, which count only if something follows. */
  #passOn(part: Uint8Array, end: number): void {
    const last = withoutLineEnds(part, end);
    if (last > 0) {
      this.#writeEarlier();
      this.#isEmpty = false;
      this.#write(part.subarray(0, last));
    }
    this.#lineEnds += (end - last) / 2;
  }

  #relax(part: Uint8Array, end: number): void {
    // CRLF for CRLF, one space for a run: it outgrows what was read by nothing but a space from before.
    if (this.#out.length <= end) this.#out = Buffer.allocUnsafe(end + 1);
    const out = this.#out;
    let length = 0;
    let lineEnds = 0;
    let space = this.#space;
    let hasEarlier = this.#lineEnds > 0;
    for (let i = 0; i < end; i += 1) {
      const byte = part[i]!;
      if (byte === CR && part[i + 1] === LF) {
        i += 1;
        lineEnds += 1;
        space = false;
      } else if (isSpace(byte)) space = true;
      else {
        if (hasEarlier) this.#writeEarlier();
        hasEarlier = false;
        for (; lineEnds > 0; lineEnds -= 1) length = put(out, length, CR, LF);
        if (space) out[length++] = 32;
        space = false;
        out[length++] = byte;
      }
    }
    this.#lineEnds += lineEnds;
    this.#space = space;
    if (length === 0) return;
    this.#isEmpty = false;
    this.#write(out.subarray(0, length));
  }

  /** Those of earlier parts; nothing of this one has been written yet. */
  #writeEarlier(): void {
    for (; this.#lineEnds > 0; this.#lineEnds -= Math.min(this.#lineEnds, 4096))
      this.#write(someLineEnds.subarray(0, 2 * this.#lineEnds));
  }
}

/** Whether no white space in there has to change. Most mail is like that, and looking costs a third of what copying octet by octet does. */
function isRelaxed(part: Uint8Array, end: number): boolean {
  for (let i = 0; i < end; i += 1) {
    const byte = part[i]!;
    if (byte > SPACE) continue;
    if (byte === TAB) return false;
    if (byte !== SPACE) continue;
    const next = part[i + 1];
    if (i + 1 >= end || next === CR || isSpace(next)) return false;
  }
  return true;
}

/** How much is left of the first `end` octets without the line ends behind them. */
export function withoutLineEnds(part: Uint8Array, end: number): number {
  let last = end;
  while (last >= 2 && part[last - 1] === LF && part[last - 2] === CR) last -= 2;
  return last;
}

function put(out: Buffer, at: number, first: number, second: number): number {
  out[at] = first;
  out[at + 1] = second;
  return at + 2;
}
