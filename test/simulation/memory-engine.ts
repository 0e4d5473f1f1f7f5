import type { RootDatabase } from 'lmdb';

interface Range {
  readonly start?: Uint8Array | undefined;
  readonly end?: Uint8Array | undefined;
  readonly limit?: number;
}

type Key = Uint8Array | string;

/** As lmdb orders binary keys: by their bytes. One character a byte keeps that order. */
function nameOf(key: Key): string {
  return typeof key === 'string' ? key : Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

/** One database of the engine: what the product's code asks of lmdb's, kept in memory. Values are copied on their way in. */
class MemoryDatabase {
  /** As lmdb does, keys are given back as they were given: strings, unless the database was opened for binary ones. */
  hasBinaryKeys = false;
  readonly #values = new Map<string, Buffer>();
  #names: string[] = [];

  get(key: Key): Buffer | undefined {
    return this.#values.get(nameOf(key));
  }

  doesExist(key: Key): boolean {
    return this.#values.has(nameOf(key));
  }

  putSync(key: Key, value: Uint8Array): void {
    const name = nameOf(key);
    if (!this.#values.has(name)) this.#names.splice(this.#indexOf(name), 0, name);
    this.#values.set(name, Buffer.from(value));
  }

  removeSync(key: Key): boolean {
    const name = nameOf(key);
    if (!this.#values.delete(name)) return false;
    this.#names.splice(this.#indexOf(name), 1);
    return true;
  }

  async put(key: Key, value: Uint8Array): Promise<boolean> {
    this.putSync(key, value);
    return true;
  }

  async remove(key: Key): Promise<boolean> {
    return this.removeSync(key);
  }

  *getRange(range: Range = {}): Generator<{ key: Buffer; value: Buffer }> {
    for (const key of this.getKeys(range)) yield { key: this.#given(key), value: this.get(key) as Buffer };
  }

  getKeys({ start, end, limit = Number.POSITIVE_INFINITY }: Range = {}): Buffer[] {
    const from = start === undefined ? 0 : this.#indexOf(nameOf(start));
    const to = end === undefined ? this.#names.length : this.#indexOf(nameOf(end));
    return this.#names.slice(from, Math.min(to, from + limit)).map((name) => Buffer.from(name, 'latin1'));
  }

  getKeysCount(range: Range = {}): number {
    return this.getKeys(range).length;
  }

  getCount(range: Range = {}): number {
    return this.getKeysCount(range);
  }

  getStats(): object {
    return {};
  }

  #given(key: Buffer): Buffer {
    return this.hasBinaryKeys ? key : (key.toString() as unknown as Buffer);
  }

  #indexOf(name: string): number {
    let [low, high] = [0, this.#names.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#names[middle] ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * An lmdb environment in memory, as far as the product's disks use one, so that their code runs in a simulated node as it is. A transaction is
 * one step: nothing else runs in it. It outlives the node that has it open, as a disk does.
 */
export class MemoryEngine {
  readonly #databases = new Map<string, MemoryDatabase>();

  openDB(name: string, { keyEncoding }: { keyEncoding?: string } = {}): MemoryDatabase {
    const open = this.#databases.get(name) ?? new MemoryDatabase();
    open.hasBinaryKeys ||= keyEncoding === 'binary';
    this.#databases.set(name, open);
    return open;
  }

  async transaction<T>(work: () => T): Promise<T> {
    return work();
  }

  transactionSync<T>(work: () => T): T {
    return work();
  }

  async close(): Promise<void> {}

  /** As the disks take it; what they use beyond the above is a fault of the first test that runs. */
  asRoot(): RootDatabase<Buffer, string> {
    return this as unknown as RootDatabase<Buffer, string>;
  }
}
