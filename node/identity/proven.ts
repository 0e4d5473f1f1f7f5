import { hash } from 'node:crypto';

/**
 * Names of signatures that held, or were made here. Whether a signature holds depends on key, text and signature alone, and a node meets most of them several
 * times: a head when it is written, kept and compared, a receipt when it is made, sent and taken, a directory entry with every block. A look
 * costs a twentieth of a verification. What does not hold is never kept, so strangers fill this only with what they can sign, and it is bounded.
 */
export class Proven {
  readonly #max: number;
  readonly #names = new Set<string>();

  constructor(max: number) {
    this.#max = max;
  }

  has(name: string): boolean {
    if (!this.#names.delete(name)) return false;
    this.#names.add(name);
    return true;
  }

  /** The newest last: what nobody asks for any more goes first. */
  add(name: string): void {
    this.#names.delete(name);
    this.#names.add(name);
    const oldest = this.#names.size > this.#max ? this.#names.values().next().value : undefined;
    if (oldest !== undefined) this.#names.delete(oldest);
  }
}

/** SHA-256 over all that decides whether a signature holds; key and signature have fixed lengths, so that no two say the same. */
export function nameOfSignature(signer: Uint8Array, signature: Uint8Array, text: Uint8Array): string {
  return hash('sha256', Buffer.concat([signer, signature, text]), 'binary');
}
