import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import { type IdentityKeys, signingKeyFromSeed } from '../../node/identity/keys.ts';
import type { Address } from '../../policy/address.ts';
import { address, issueUser } from '../node/overlay/fake-overlay.ts';
import type { Given } from './post-program.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A user's machine: a node in a process of its own, which can be asked, killed, and started again with all it had. */
export class Machine<Asked extends object> {
  readonly owner: Address;
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
  readonly peerKey: Uint8Array;
  readonly #program: URL;
  readonly #given: Omit<Given, 'bootstrap'>;
  #child: ChildProcess | undefined;
  /** Where it listens since its last start, as a multiaddr with its peer id. */
  at = '';

  /** `program` is one that was made with {@link runProgram}. */
  constructor(name: string, options: { authority: CertificateAuthority; root: string; program: URL }) {
    const { authority, root } = options;
    this.owner = address(`${name}@example.org`);
    this.#program = options.program;
    const { keys, certificate } = issueUser(authority, this.owner);
    this.keys = keys;
    this.certificate = certificate;
    const seed = randomBytes(32);
    this.peerKey = signingKeyFromSeed(seed).public;
    this.#given = {
      ring: hex(authority.ringBytes()),
      revocations: hex(authority.revocations()),
      seed: hex(seed),
      node: hex(authority.issueNode({ peerKey: this.peerKey, owner: this.owner, days: 30 }).bytes),
      certificate: hex(certificate.bytes),
      keys: hex(keys.export()),
      dir: path.join(root, name),
    };
  }

  get peerId(): string {
    return this.at.slice(this.at.lastIndexOf('/') + 1);
  }

  async start(bootstrap: readonly string[]): Promise<void> {
    this.#child = fork(this.#program);
    this.at = String(await this.#say({ ...this.#given, bootstrap }));
  }

  async ask<T = unknown>(asked: Asked): Promise<T> {
    return (await this.#say(asked)) as T;
  }

  /** kill -9, if it runs. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async #say(message: object): Promise<unknown> {
    const child = this.#child;
    if (child === undefined) throw new Error('it does not run');
    child.send(message);
    const gone = new AbortController();
    try {
      const [said] = (await Promise.race([
        once(child, 'message', { signal: gone.signal }),
        once(child, 'exit', { signal: gone.signal }).then(() => [{ fault: 'it ended' }]),
      ])) as [{ answer?: unknown; fault?: string }];
      if (said.fault !== undefined) throw new Error(said.fault);
      return said.answer;
    } finally {
      gone.abort();
    }
  }
}
