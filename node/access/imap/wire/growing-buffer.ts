const initialBytes = 4096;

/** Octets that arrive at one end and leave at the other, in linear time however small the portions are. */
export class GrowingBuffer {
  #bytes = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Up to here no line feed was found; kept so that a line fed octet by octet is not searched again and again. */
  #searched = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  push(chunk: Buffer): void {
    if (this.#end + chunk.length > this.#bytes.length) this.#makeRoom(chunk.length);
    chunk.copy(this.#bytes, this.#end);
    this.#end += chunk.length;
  }

  /** Distance of the first LF from the first octet, or -1. */
  indexOfLineFeed(): number {
    const found = this.#bytes.subarray(0, this.#end).indexOf(0x0a, Math.max(this.#searched, this.#start));
    this.#searched = found === -1 ? this.#end : found;
    return found === -1 ? -1 : found - this.#start;
  }

  /** Removes the first `count` octets and returns a copy that nothing else writes to. */
  take(count: number): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(this.#start, this.#start + count));
    this.#start += count;
    if (this.#start === this.#end) {
      this.#start = this.#end = this.#searched = 0;
      // A literal of megabytes must not stay allocated for the rest of an idle session.
      if (this.#bytes.length > 16 * initialBytes) this.#bytes = Buffer.alloc(0);
    }
    return taken;
  }

  peek(count: number): Buffer {
    return this.#bytes.subarray(this.#start, Math.min(this.#end, this.#start + count));
  }

  #makeRoom(extra: number): void {
    const length = this.length;
    const capacity = Math.max(initialBytes, 2 * length, length + extra);
    const roomy = Buffer.allocUnsafe(capacity);
    this.#bytes.copy(roomy, 0, this.#start, this.#end);
    this.#bytes = roomy;
    this.#searched = Math.max(0, this.#searched - this.#start);
    this.#start = 0;
    this.#end = length;
  }
}
