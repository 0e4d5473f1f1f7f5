import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { InputFault } from '../config/problem.ts';
import type { Config } from '../config/schema.ts';
import type { Layout } from '../home/layout.ts';

/** Key and certificate from the configured PEM files, read again on demand; a bad new pair never replaces a good one. */
export class TlsFiles {
  readonly #certificate: string;
  readonly #key: string;
  #current: SecureContextOptions;
  readonly #listeners = new Set<() => void>();

  constructor(layout: Layout, config: Config) {
    this.#certificate = path.resolve(layout.home, config.tls.certificate);
    this.#key = path.resolve(layout.home, config.tls.key);
    this.#current = this.#read();
  }

  readonly current = (): SecureContextOptions => this.#current;

  readonly onChange = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Reads the files again; throws an InputFault and keeps what it had where they cannot be used. */
  reload(): void {
    this.#current = this.#read();
    for (const listener of this.#listeners) listener();
  }

  #read(): SecureContextOptions {
    const problem = (file: string, found: string): InputFault =>
      new InputFault([
        {
          file,
          path: 'tls',
          found,
          expected: 'a PEM file',
          suggestion: 'correct tls: in epost.yaml, or restore the file',
        },
      ]);
    for (const file of [this.#certificate, this.#key]) if (!existsSync(file)) throw problem(file, 'no file');
    const options = { cert: readFileSync(this.#certificate), key: readFileSync(this.#key) };
    try {
      createSecureContext(options);
    } catch (cause) {
      throw problem(this.#certificate, `a certificate and key that TLS does not take (${(cause as Error).message})`);
    }
    return options;
  }
}
