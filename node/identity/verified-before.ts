/**
 * What has been read from signed bytes and proven, under exactly these bytes: a ring has few certificates and meets each of
 * them several times with every message. Only what was proven is kept, so that nobody without the authority's key can fill it.
 * What time and revocation do to it is for the reader to judge anew.
 */
export class VerifiedBefore<T> {
  readonly #max: number;
  readonly #kept = new Map<string, T>();

  constructor(max: number) {
    this.#max = max;
  }

  /** What these bytes say under this signer's key: as it was read before, or as `read` says now. Undefined is not kept. */
  find(signer: Uint8Array, bytes: Uint8Array, read: () => T | undefined): T | undefined {
    const name = textOf(signer) + textOf(bytes);
    const found = this.#kept.get(name) ?? read();
    if (found === undefined) return undefined;
    // The newest last: what nobody asks for any more goes first.
    this.#kept.delete(name);
    this.#kept.set(name, found);
    const oldest = this.#kept.size > this.#max ? this.#kept.keys().next().value : undefined;
    if (oldest !== undefined) this.#kept.delete(oldest);
    return found;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
