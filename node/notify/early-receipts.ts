import type { Receipt } from './receipt.ts';

// Copies of a burst that are still on their way to the slowest holder: some 10 MB. What is forgotten here costs the
// recipient one more look at a notification that it knows.
const maxEarly = 20_000;

interface Early {
  readonly receipt: Receipt;
  readonly at: number;
}

/** Receipts that came before the copy they answer. In memory only; the longest known is forgotten first. */
export class EarlyReceipts {
  readonly #receipts = new Map<string, Early>();

  keep(signer: Uint8Array, receipt: Receipt, at: number): void {
    this.#receipts.set(nameOf(signer, receipt.id), { receipt, at });
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > maxEarly && oldest.done === false) this.#receipts.delete(oldest.value);
  }

  find(to: Uint8Array, id: Uint8Array): Early | undefined {
    return this.#receipts.get(nameOf(to, id));
  }
}

function nameOf(key: Uint8Array, id: Uint8Array): string {
  return Buffer.concat([key, id]).toString('base64');
}
