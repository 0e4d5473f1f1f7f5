/** What went over the lines, by the method of the request it belonged to. */
export class Traffic {
  readonly #methods = new Map<string, { messages: number; bytes: number }>();

  count(method: string, bytes: number): void {
    const known = this.#methods.get(method) ?? { messages: 0, bytes: 0 };
    known.messages += 1;
    known.bytes += bytes;
    this.#methods.set(method, known);
  }

  /** Of all methods whose name begins so. */
  of(...prefixes: readonly string[]): { messages: number; bytes: number } {
    let [messages, bytes] = [0, 0];
    for (const [method, counted] of this.#methods) {
      if (!prefixes.some((prefix) => method.startsWith(prefix))) continue;
      messages += counted.messages;
      bytes += counted.bytes;
    }
    return { messages, bytes };
  }

  methods(): readonly string[] {
    return [...this.#methods.keys()];
  }

  reset(): void {
    this.#methods.clear();
  }
}
