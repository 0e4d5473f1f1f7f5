import { joined } from '../slices.ts';
import { WireCheck } from './wire-check.ts';

export type Received =
  | { readonly kind: 'complete'; readonly bytes: Uint8Array; readonly wire: WireCheck }
  | { readonly kind: 'too-large' }
  /** Too much other mail was in memory. */
  | { readonly kind: 'no-memory' }
  /** The client went away in the middle. */
  | { readonly kind: 'aborted' };

/** Takes and gives back octets of memory. */
export interface Budget {
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** How many octets of messages are in memory, shared by all sessions. */
export class MemoryBudget implements Budget {
  readonly #maxBytes: number;
  /** By whom; none is kept at zero, so that there are as many as there are messages under way. */
  readonly #shares = new Map<string, number>();
  #used = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get used(): number {
    return this.#used;
  }

  take(bytes: number): boolean {
    if (this.#used + bytes > this.#maxBytes) return false;
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }

  /** The same memory, of which those who go by this name have at most `maxBytes` together: nobody can take it all and then send slowly. */
  shareOf(name: string, maxBytes: number): Budget {
    const used = (): number => this.#shares.get(name) ?? 0;
    return {
      take: (bytes) => {
        if (used() + bytes > maxBytes || !this.take(bytes)) return false;
        this.#shares.set(name, used() + bytes);
        return true;
      },
      give: (bytes) => {
        this.give(bytes);
        const left = used() - bytes;
        if (left > 0) this.#shares.set(name, left);
        else this.#shares.delete(name);
      },
    };
  }
}

// Allocated at a time: large beside what one piece costs, and at first no larger than most mail, of which much is under way at once.
const firstBlockBytes = 8 * 1024;
const blockBytes = 64 * 1024;
// From here on a piece is kept as it came, where no block is being filled, if it is half of the memory that it lies in.
const keptBytes = 4 * 1024;
const crlf = Buffer.from('\r\n');

/**
 * The octets of a message, in blocks of our own unless a piece is large. Small pieces are not kept: a sender who makes them small (a stuffed dot in each
 * line, an octet in each packet) would have us hold a hundred octets for each of his.
 */
class Blocks {
  readonly #blocks: Uint8Array[] = [];
  #last = Buffer.alloc(0);
  /** Octets used of the last block. */
  #used = 0;

  add(part: Uint8Array): void {
    for (let from = 0; from < part.length; ) {
      if (this.#used === this.#last.length) {
        this.#endBlock();
        const rest = part.subarray(from);
        if (rest.length >= keptBytes && 2 * rest.length >= part.buffer.byteLength) {
          this.#blocks.push(rest);
          return;
        }
        this.#last = Buffer.allocUnsafeSlow(this.#blocks.length === 0 ? firstBlockBytes : blockBytes);
      }
      const piece = part.subarray(from, from + this.#last.length - this.#used);
      this.#last.set(piece, this.#used);
      this.#used += piece.length;
      from += piece.length;
    }
  }

  async joined(): Promise<Uint8Array> {
    this.#endBlock();
    const [only = new Uint8Array()] = this.#blocks;
    return this.#blocks.length <= 1 ? only : joined(this.#blocks);
  }

  #endBlock(): void {
    if (this.#used > 0) this.#blocks.push(this.#last.subarray(0, this.#used));
    this.#last = Buffer.alloc(0);
    this.#used = 0;
  }
}

/**
 * A message as it comes in, piece by piece. It is read to its end whatever happens, so that nothing of it is taken for commands, but octets are
 * kept only while it can still be accepted. What was taken from the budget stays taken when it is complete; give back `bytes.length` when done.
 */
export class IncomingMessage {
  readonly #maxBytes: number;
  readonly #budget: Budget;
  readonly #wire = new WireCheck();
  #blocks = new Blocks();
  #size = 0;
  #dropped: 'too-large' | 'no-memory' | undefined;

  constructor(maxBytes: number, budget: Budget) {
    this.#maxBytes = maxBytes;
    this.#budget = budget;
  }

  add(part: Uint8Array): void {
    if (this.#dropped !== undefined) return;
    if (this.#size + part.length > this.#maxBytes) this.#drop('too-large');
    else if (!this.#budget.take(part.length)) this.#drop('no-memory');
    else {
      this.#wire.add(part);
      this.#blocks.add(part);
      this.#size += part.length;
    }
  }

  /** Ends the last line where the sender did not, as chunks may (RFC 3030): whoever hands the message on by lines would do it otherwise. */
  endLine(): void {
    if (!this.#wire.isAtLineStart) this.add(crlf);
  }

  async end(): Promise<Received> {
    if (this.#dropped !== undefined) return { kind: this.#dropped };
    this.#wire.end();
    return { kind: 'complete', bytes: await this.#blocks.joined(), wire: this.#wire };
  }

  /** It will not be complete: the client went away, or thought better of it. */
  abort(): Received {
    this.#drop('too-large');
    return { kind: 'aborted' };
  }

  #drop(why: 'too-large' | 'no-memory'): void {
    this.#budget.give(this.#size);
    this.#blocks = new Blocks();
    this.#size = 0;
    this.#dropped = why;
  }
}
