import path from 'node:path';
import { type CertificateAuthority } from '../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import type { Notify } from '../../node/notify/notify.ts';
import { startNotify } from '../../node/notify/start.ts';
import type { Member, Overlay, RequestHandler } from '../../node/overlay/overlay.ts';
import { startOverlay } from '../../node/overlay/start.ts';
import { openStore, type Store } from '../../node/store/store.ts';
import { address, silentLog } from '../node/overlay/fake-overlay.ts';

/** What an evil node does instead of answering; `honestly` is what it would say. */
export type Lie = (body: Uint8Array, from: Member, honestly: () => Promise<Uint8Array>) => Promise<Uint8Array>;

/** A certified member with a real node's floors, whose answers a test can replace. */
export class EvilNode {
  readonly overlay: Overlay;
  /** By method. Empty: it behaves. */
  readonly lies: Map<string, Lie>;
  readonly #store: Store;
  readonly #notify: Notify;

  private constructor(overlay: Overlay, lies: Map<string, Lie>, store: Store, notify: Notify) {
    this.overlay = overlay;
    this.lies = lies;
    this.#store = store;
    this.#notify = notify;
  }

  static async start(
    name: string,
    seed: Uint8Array,
    authority: CertificateAuthority,
    root: string,
    bootstrap: readonly string[],
  ): Promise<EvilNode> {
    const owner = address(`${name}@example.org`);
    const certificate = authority.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 30 });
    const dir = path.join(root, name);
    const overlay = await startOverlay({
      ring: authority.ring,
      peerSeed: seed,
      certificate,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap,
      dir: path.join(dir, 'overlay'),
      revocations: authority.revocations(),
      now: Date.now,
      log: silentLog,
    });
    const lies = new Map<string, Lie>();
    const lying = lyingOverlay(overlay, lies);
    const common = { overlay: lying, now: Date.now, log: silentLog };
    const store = await openStore({ ...common, dir: path.join(dir, 'store'), toldOfOthers: bootstrap.length > 0 });
    const notify = await startNotify({ ...common, store, dir: path.join(dir, 'notify') });
    return new EvilNode(overlay, lies, store, notify);
  }

  get peerId(): string {
    return this.overlay.self.peerId;
  }

  async stop(): Promise<void> {
    await this.#notify.stop();
    await this.#store.stop();
    await this.overlay.stop();
  }
}

/** The overlay as it is, but for what it answers. */
function lyingOverlay(overlay: Overlay, lies: ReadonlyMap<string, Lie>): Overlay {
  const handle = (method: string, handler: RequestHandler): void =>
    overlay.handle(method, async (body, from, signal) => {
      const honestly = async (): Promise<Uint8Array> => handler(body, from, signal);
      return lies.get(method)?.(body, from, honestly) ?? honestly();
    });
  return new Proxy(overlay, {
    get(target, name) {
      if (name === 'handle') return handle;
      const value: unknown = Reflect.get(target, name);
      // Private fields are the target's own.
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
