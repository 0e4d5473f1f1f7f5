import type { Awaited } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';

// Ids and addresses of what a gateway waits for: some 20 MB. The oldest is forgotten first; the node still has it on disk.
const maxExpected = 100_000;

/** Which receipts one user of a door wants to hear of, and who listens. */
export class ReceiptWatch {
  readonly #expected = new Map<string, Awaited>();
  readonly #listeners = new Set<(receipt: Receipt) => void>();

  expect(awaited: readonly Awaited[]): void {
    for (const { id, recipient } of awaited) {
      this.#expected.set(Buffer.from(id).toString('hex'), { id, recipient });
      const oldest = this.#expected.keys().next();
      if (this.#expected.size > maxExpected && oldest.done === false) this.#expected.delete(oldest.value);
    }
  }

  /** Tells the listeners of a receipt that was expected, once; others' receipts are not for them. */
  arrived(receipt: Receipt): void {
    if (!this.#expected.delete(Buffer.from(receipt.id).toString('hex'))) return;
    for (const listener of this.#listeners) listener(receipt);
  }

  /** What is still to come. */
  expected(): readonly Awaited[] {
    return [...this.#expected.values()];
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
