import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { vi } from 'vitest';
import type { Overlay, RequestHandler } from '../../../node/overlay/overlay.ts';
import { sha256 } from '../../../node/store/block-cipher.ts';
import type { Block, Lease } from '../../../node/store/content.ts';
import { openStore, type Store, type StoreOptions } from '../../../node/store/store.ts';
import { address, type FakeOverlay, FakeOverlayNetwork, silentLog } from '../overlay/fake-overlay.ts';

export const lease: Lease = { identity: address('alice@example.org'), until: 2_000_000_000_000 };

export function blockOf(text: string | Uint8Array): Block {
  const bytes = Buffer.from(text);
  return { key: sha256(bytes), bytes };
}

export interface StoreNode {
  readonly peerId: string;
  overlay: FakeOverlay;
  store: Store;
  readonly dir: string;
  /** Methods that this node answers otherwise than an honest one would. */
  readonly lies: Map<string, (body: Uint8Array) => Promise<Uint8Array>>;
}

/** The overlay of a node whose answers can be replaced by lies. */
function lyingOverlay(overlay: FakeOverlay, lies: StoreNode['lies']): Overlay {
  return new Proxy(overlay, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'handle')
        return (method: string, handler: RequestHandler) => {
          target.handle(method, (body, from, signal) => lies.get(method)?.(body) ?? handler(body, from, signal));
        };
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

type StoreSettings = Pick<StoreOptions, 'quota' | 'patience'>;

/** Real stores on real disks around an overlay in memory. */
export class StoreRing {
  readonly network: FakeOverlayNetwork;
  readonly nodes: StoreNode[] = [];
  readonly #dir: string;

  readonly #settings: StoreSettings;

  private constructor(dir: string, now: () => number, settings: StoreSettings) {
    this.#dir = dir;
    this.#settings = settings;
    this.network = new FakeOverlayNetwork(now);
  }

  static async of(size: number, options: { now?: () => number } & StoreSettings = {}): Promise<StoreRing> {
    const { now = Date.now, ...settings } = options;
    const ring = new StoreRing(await mkdtemp(path.join(os.tmpdir(), 'epost-store-')), now, settings);
    for (const { overlay } of ring.network.addMany(size)) await ring.#open(overlay);
    return ring;
  }

  node(index: number): StoreNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  /** One more member, with an empty disk. */
  async join(): Promise<StoreNode> {
    return this.#open(this.network.add().overlay);
  }

  async kill(index: number): Promise<void> {
    this.network.kill(this.node(index).peerId);
    await this.node(index).store.stop();
  }

  /** Starts a killed node again, with its disk or without. */
  async restart(index: number, disk: 'kept' | 'lost' = 'kept'): Promise<void> {
    const node = this.node(index);
    if (disk === 'lost') await rm(node.dir, { recursive: true });
    node.overlay = this.network.restart(node.peerId);
    node.store = await this.#store(node.overlay, node.dir, node.lies);
  }

  /** How many of the nodes that run have the block on their disk. */
  copies(key: Uint8Array): number {
    return this.nodes.filter(({ overlay, store }) => overlay.alive && store.has(key)).length;
  }

  async stop(): Promise<void> {
    for (const { store } of this.nodes) await store.stop();
    await this.network.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #open(overlay: FakeOverlay): Promise<StoreNode> {
    const { peerId } = overlay.self;
    const dir = path.join(this.#dir, peerId);
    const lies: StoreNode['lies'] = new Map();
    const node = { peerId, overlay, dir, lies, store: await this.#store(overlay, dir, lies) };
    this.nodes.push(node);
    return node;
  }

  #store(overlay: FakeOverlay, dir: string, lies: StoreNode['lies']): Promise<Store> {
    const parts = { overlay: lyingOverlay(overlay, lies), dir, now: this.network.now, log: silentLog };
    return openStore({ ...parts, ...this.#settings });
  }
}

/** Holds some time from now; for what happens in the background. */
export const soon = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 10_000, interval: 25 });
