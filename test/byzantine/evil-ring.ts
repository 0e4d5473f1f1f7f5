import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import { type IdentityKeys, signingKeyFromSeed } from '../../node/identity/keys.ts';
import { pendingPlace } from '../../node/notify/spread.ts';
import { positionOf } from '../../node/overlay/placement.ts';
import type { Address } from '../../policy/address.ts';
import { address, issueUser, testDomain } from '../node/overlay/fake-overlay.ts';
import { EvilNode } from './evil-node.ts';
import type { Asked, HonestNode } from './honest-node.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** An honest user's node, in a process of its own. */
export class HonestMachine {
  readonly owner: Address;
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
  readonly peerKey: Uint8Array;
  readonly #given: Omit<HonestNode, 'bootstrap'>;
  #child: ChildProcess | undefined;
  at = '';

  constructor(name: string, authority: CertificateAuthority, root: string) {
    this.owner = address(`${name}@example.org`);
    const { keys, certificate } = issueUser(authority, this.owner);
    this.keys = keys;
    this.certificate = certificate;
    const seed = randomBytes(32);
    const peerKey = signingKeyFromSeed(seed).public;
    this.peerKey = peerKey;
    this.#given = {
      ring: hex(authority.ringBytes()),
      revocations: hex(authority.revocations()),
      seed: hex(seed),
      node: hex(authority.issueNode({ peerKey, owner: this.owner, days: 30 }).bytes),
      certificate: hex(certificate.bytes),
      keys: hex(keys.export()),
      dir: path.join(root, name),
    };
  }

  get peerId(): string {
    return this.at.slice(this.at.lastIndexOf('/') + 1);
  }

  async start(bootstrap: readonly string[]): Promise<void> {
    this.#child = fork(new URL('honest-node.ts', import.meta.url));
    this.at = String(await this.#say({ ...this.#given, bootstrap }));
  }

  async ask<T>(asked: Asked): Promise<T> {
    return (await this.#say(asked)) as T;
  }

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

/** Three honest machines and two evil ones (k - 1), all certified, all connected. */
export class EvilRing {
  readonly root: string;
  readonly authority: CertificateAuthority;
  readonly honest: readonly [HonestMachine, HonestMachine, HonestMachine];
  evil: readonly EvilNode[] = [];

  private constructor(root: string, authority: CertificateAuthority) {
    this.root = root;
    this.authority = authority;
    const machine = (name: string): HonestMachine => new HonestMachine(name, authority, root);
    this.honest = [machine('alice'), machine('bob'), machine('carol')];
  }

  static async start(): Promise<EvilRing> {
    const root = await mkdtemp(path.join(os.tmpdir(), 'epost-byzantine-'));
    const ring = new EvilRing(root, CertificateAuthority.create(testDomain, [], Date.now));
    const [alice, ...others] = ring.honest;
    await alice.start([]);
    await Promise.all([
      ...others.map(async (machine) => machine.start([alice.at])),
      ...['mallory', 'trudy'].map(async (name) => {
        ring.evil = [...ring.evil, await EvilNode.start(name, ring.#nearSeed(), ring.authority, root, [alice.at])];
      }),
    ]);
    await ring.whenWhole();
    return ring;
  }

  /** A seed whose node lies nearer than every honest one to where bob's pending notifications lie: both evil nodes hold them, and one honest one. */
  #nearSeed(): Uint8Array {
    const place = pendingPlace(this.honest[1].certificate.signingKey);
    const distance = (position: Uint8Array): string => hex(position.map((byte, at) => byte ^ (place[at] ?? 0)));
    const nearest = this.honest.map(({ peerKey }) => distance(positionOf(peerKey))).sort()[0] ?? '';
    for (;;) {
      const seed = Uint8Array.from(randomBytes(32));
      if (distance(positionOf(signingKeyFromSeed(seed).public)) < nearest) return seed;
    }
  }

  /** Resolves when every honest node has a connection to every other node. */
  async whenWhole(): Promise<void> {
    for (const machine of this.honest)
      for (;;) {
        const members = await machine.ask<{ up: boolean }[]>({ ask: 'members' });
        if (members.length >= 5 && members.every(({ up }) => up)) break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
  }

  /** All evil nodes tell this lie, and no other. */
  lie(method: string, lie: Parameters<EvilNode['lies']['set']>[1]): void {
    for (const { lies } of this.evil) lies.set(method, lie);
  }

  behave(): void {
    for (const { lies } of this.evil) lies.clear();
  }

  async stop(): Promise<void> {
    await Promise.all(this.honest.map(async (machine) => machine.end()));
    await Promise.all(this.evil.map(async (node) => node.stop()));
    await rm(this.root, { recursive: true, force: true });
  }
}
