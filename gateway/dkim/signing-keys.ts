/** The keys that sign now, followed while the gateway runs: a rotation by command takes effect without a restart. */
import { stat } from 'node:fs/promises';
import { readSigningKeys } from './key-stages.ts';
import type { DkimKey } from './keys.ts';

export interface SigningKeysOptions {
  readonly dir: string;
  /** Told of what was read again, and of what could not be: the keys from before then go on signing. */
  readonly onChange: (selectors: readonly string[]) => void;
  readonly onFault: (fault: unknown) => void;
}

// A switch may wait a minute: the old keys are good for a week more. One stat of a folder costs nothing.
const lookMs = 60_000;

export class SigningKeys {
  readonly #options: SigningKeysOptions;
  readonly #timer: NodeJS.Timeout;
  #keys: readonly DkimKey[];
  #changedAt: number;

  private constructor(options: SigningKeysOptions, keys: readonly DkimKey[], changedAt: number) {
    this.#options = options;
    this.#keys = keys;
    this.#changedAt = changedAt;
    this.#timer = setInterval(() => this.#look(), lookMs);
    this.#timer.unref();
  }

  /** Throws DkimFault where there is no key to sign with. */
  static async open(options: SigningKeysOptions): Promise<SigningKeys> {
    const changedAt = await changeTime(options.dir);
    return new SigningKeys(options, await readSigningKeys(options.dir), changedAt);
  }

  current(): readonly DkimKey[] {
    return this.#keys;
  }

  /** Reads the keys again if the folder changed. Never rejects. */
  async refresh(): Promise<void> {
    try {
      const changedAt = await changeTime(this.#options.dir);
      if (changedAt === this.#changedAt) return;
      this.#keys = await readSigningKeys(this.#options.dir);
      this.#changedAt = changedAt;
      this.#options.onChange(this.#keys.map(({ selector }) => selector));
    } catch (fault) {
      this.#options.onFault(fault);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    // It never rejects.
    this.refresh().catch(this.#options.onFault);
  }
}

/** Every step of a rotation renames a file into the folder or out of it, and so changes its time. */
async function changeTime(dir: string): Promise<number> {
  return (await stat(dir)).mtimeMs;
}
