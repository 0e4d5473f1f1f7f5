/** Lets work through in order as long as all that is under way together stays below a number of bytes; one piece always goes. */
export class ByteGate {
  readonly #limit: number;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  #inside = 0;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((enter) => {
      this.#waiting.push({ bytes, enter });
      this.#admit();
    });
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      this.#bytes -= bytes;
      this.#admit();
    }
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#inside > 0 && this.#bytes + next.bytes > this.#limit) return;
      this.#waiting.shift();
      this.#inside += 1;
      this.#bytes += next.bytes;
      next.enter();
    }
  }
}
