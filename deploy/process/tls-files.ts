import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { InputFault } from '../config/problem.ts';
import type { Config } from '../config/schema.ts';
import type { Layout } from '../home/layout.ts';

interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

/** What the listeners get: the first pair, and the others for those that know of names (SNI). */
export interface PemOptions extends SecureContextOptions {
  readonly others: readonly SecureContextOptions[];
}

/** Keys and certificates from the configured PEM files, read again on demand; bad new ones never replace good ones. */
export class TlsFiles {
  readonly #first: PemPair;
  readonly #others: readonly PemPair[];
  #current: PemOptions;
  readonly #listeners = new Set<() => void>();

  constructor(layout: Layout, config: Config) {
    const resolved = ({ certificate, key }: PemPair): PemPair => ({
      certificate: path.resolve(layout.home, certificate),
      key: path.resolve(layout.home, key),
    });
    this.#first = resolved(config.tls);
    this.#others = config.tls.others.map(resolved);
    this.#current = this.#read();
  }

  readonly current = (): PemOptions => this.#current;

  readonly onChange = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Reads the files again; throws an InputFault and keeps what it had where they cannot be used. */
  reload(): void {
    this.#current = this.#read();
    for (const listener of this.#listeners) listener();
  }

  #read(): PemOptions {
    return { ...readPair(this.#first), others: this.#others.map(readPair) };
  }
}

/** Throws an InputFault where TLS does not take the pair. */
function readPair({ certificate, key }: PemPair): SecureContextOptions {
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
  for (const file of [certificate, key]) if (!existsSync(file)) throw problem(file, 'no file');
  const options = { cert: readFileSync(certificate), key: readFileSync(key) };
  try {
    createSecureContext(options);
  } catch (cause) {
    throw problem(certificate, `a certificate and key that TLS does not take (${(cause as Error).message})`);
  }
  return options;
}
