import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type Handled, localRecipient } from '../../../node/notify/local-recipient.ts';
import type { Notify } from '../../../node/notify/notify.ts';
import { compose, type Opened, type Sealed } from '../../../node/notify/sealed.ts';
import { openSeenIds, type SeenIds } from '../../../node/notify/seen.ts';
import { startNotify } from '../../../node/notify/start.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { Network, type Person, quiet } from './network.ts';

export interface Stop {
  readonly overlay: Overlay;
  readonly dir: string;
  notify: Notify;
}

/** Nodes with their notify floors over a network in memory, on real disks. */
export class Ring {
  readonly network = new Network();
  readonly nodes: Stop[] = [];
  readonly #root: string;
  readonly #seen: SeenIds[] = [];

  private constructor(root: string) {
    this.#root = root;
  }

  static async of(count: number): Promise<Ring> {
    const ring = new Ring(await mkdtemp(path.join(os.tmpdir(), 'epost-notify-')));
    for (let number = 0; number < count; number++) await ring.addNode();
    return ring;
  }

  async addNode(): Promise<Stop> {
    const overlay = this.network.overlay();
    const dir = path.join(this.#root, `node${this.nodes.length}`);
    const node = { overlay, dir, notify: await this.#start(overlay, dir) };
    this.nodes.push(node);
    return node;
  }

  async #start(overlay: Overlay, dir: string): Promise<Notify> {
    return startNotify({ overlay, store: this.network.store, dir, now: this.network.clock, log: quiet });
  }

  node(number: number): Stop {
    const node = this.nodes[number];
    if (node === undefined) throw new Error(`no node ${number}`);
    return node;
  }

  /** Off the network, and its program ended. */
  async down(number: number): Promise<void> {
    const node = this.node(number);
    this.network.set(node.overlay.self.peerId, false);
    await node.notify.stop();
  }

  async up(number: number): Promise<void> {
    const node = this.node(number);
    node.notify = await this.#start(node.overlay, node.dir);
    this.network.set(node.overlay.self.peerId, true);
  }

  /** Has a person's notifications come to this node. */
  attach(
    number: number,
    person: Person,
    handle: (opened: Opened) => Promise<Handled>,
    retired: readonly Person[] = [],
  ): { detach(): void; seen: SeenIds } {
    const seen = openSeenIds({ dir: path.join(this.#root, `seen${this.#seen.length}`), now: this.network.clock });
    this.#seen.push(seen);
    const accept = localRecipient({
      ...person,
      retired,
      trust: this.network.trust,
      seen,
      now: this.network.clock,
      handle,
    });
    const { certificate } = person;
    const recipient = { certificate, retired: retired.map((one) => one.certificate), accept };
    return { detach: this.node(number).notify.attach(recipient), seen };
  }

  letter(from: Person, to: Person, name: string): Sealed {
    return compose({
      from: { certificate: from.certificate, signing: from.keys.signing },
      to: to.certificate,
      id: Buffer.from(name),
      body: Buffer.from(`letter ${name}`),
      now: this.network.now,
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(async ({ notify }) => notify.stop()));
    await Promise.all(this.#seen.map(async (seen) => seen.stop()));
    await rm(this.#root, { recursive: true, force: true });
  }
}

/** Resolves when the condition holds; a test that waits in vain ends by its own time-out. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
