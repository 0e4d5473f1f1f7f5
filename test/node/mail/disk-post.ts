import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { newestHeadsOf } from '../../../node/log/following.ts';
import { openLog } from '../../../node/log/log.ts';
import { LogDisk } from '../../../node/log/log-disk.ts';
import { logReferences } from '../../../node/log/references.ts';
import type { MailPost } from '../../../node/mail/mail-post.ts';
import { openStore, type Store } from '../../../node/store/store.ts';
import { FakeOverlayNetwork, silentLog } from '../overlay/fake-overlay.ts';

/** A ring of one: the real store and logs on a real disk in a temporary folder. */
export class DiskPost {
  readonly dir: string;
  /** It was there before, and is what another process left. */
  readonly existed: boolean;
  readonly #network = new FakeOverlayNetwork();
  #overlay = this.#network.add().overlay;
  #store: Store | undefined;
  #disk: LogDisk | undefined;

  private constructor(dir: string, existed: boolean) {
    this.dir = dir;
    this.existed = existed;
  }

  /** In a new folder, or in that of a process that has ended. */
  static async open(dir?: string): Promise<DiskPost> {
    const existed = dir !== undefined && existsSync(path.join(dir, 'store'));
    const post = new DiskPost(dir ?? (await mkdtemp(path.join(os.tmpdir(), 'epost-mail-'))), existed);
    await post.#start();
    return post;
  }

  async #start(): Promise<void> {
    const folder = path.join(this.dir, 'store');
    this.#store = await openStore({ overlay: this.#overlay, dir: folder, now: Date.now, log: silentLog });
    this.#disk = await LogDisk.open(path.join(this.dir, 'logs'));
  }

  get post(): MailPost {
    const [store, disk] = [this.#store, this.#disk];
    if (store === undefined || disk === undefined) throw new Error('not started');
    return {
      store,
      openLog: async (options) => openLog({ ...options, store, disk, now: Date.now, log: silentLog }),
      logHeads: async ({ signing, secret, name }) => newestHeadsOf({ store, writer: signing.public, secret, name }),
      logReferences: async ({ signing, secret, name }) =>
        logReferences({ store, writer: signing.public, secret, name }),
    };
  }

  /** Stops, and leaves its folder. */
  async halt(): Promise<void> {
    await this.#store?.stop();
    await this.#disk?.close();
  }

  /** Stops and starts the node; `loseLogs`: its own logs' disk is new, so that the ring has to be asked. */
  async restart(options: { loseLogs?: boolean } = {}): Promise<void> {
    await this.halt();
    this.#overlay = this.#network.restart(this.#overlay.self.peerId);
    if (options.loseLogs === true) await rm(path.join(this.dir, 'logs'), { recursive: true });
    await this.#start();
  }

  async stop(): Promise<void> {
    await this.halt();
    await this.#network.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}
