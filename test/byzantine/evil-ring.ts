import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import { pendingPlace } from '../../node/notify/spread.ts';
import { positionOf } from '../../node/overlay/placement.ts';
import { Machine } from '../machines/machine.ts';
import { testDomain } from '../node/overlay/fake-overlay.ts';
import { EvilNode } from './evil-node.ts';
import type { Asked } from './honest-node.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export type HonestMachine = Machine<Asked>;

/** Three honest machines and two evil ones (k - 1), all certified, all connected. */
export class EvilRing {
  readonly root: string;
  readonly authority: CertificateAuthority;
  readonly honest: readonly [HonestMachine, HonestMachine, HonestMachine];
  evil: readonly EvilNode[] = [];

  private constructor(root: string, authority: CertificateAuthority) {
    this.root = root;
    this.authority = authority;
    const program = new URL('honest-node.ts', import.meta.url);
    const machine = (name: string): HonestMachine => new Machine(name, { authority, root, program });
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
