import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { connectDoor } from '../../../node/door/client.ts';
import type { Admin, Door } from '../../../node/door/door.ts';
import { type DoorPost, inProcessDoor } from '../../../node/door/in-process.ts';
import { serveDoor } from '../../../node/door/server.ts';
import type { Block } from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { quiet } from '../notify/network.ts';
import { Ring, until } from '../notify/ring.ts';

/** A node to stand behind a door: a real notify floor in a ring of one, and blocks in memory. */
export class NodeBehind {
  readonly ring: Ring;
  readonly root: string;
  readonly path: string;
  readonly blocks = new Map<string, Uint8Array>();
  readonly calls: unknown[] = [];
  underWay = 0;
  mostUnderWay = 0;
  full = false;
  #server: { stop(): Promise<void> } | undefined;

  private constructor(ring: Ring, root: string) {
    this.ring = ring;
    this.root = root;
    this.path = path.join(root, 'door');
  }

  static async start(): Promise<NodeBehind> {
    return new NodeBehind(await Ring.of(1), await mkdtemp(path.join(os.tmpdir(), 'epost-door-')));
  }

  readonly admin: Admin = {
    echo: async (args) => args,
    broken: async () => {
      throw new TypeError('it broke');
    },
    never: async () => new Promise(() => undefined),
  };

  get post(): DoorPost {
    const { ring, blocks } = this;
    const node = ring.node(0);
    const insert = async (batch: readonly Block[]): Promise<{ copies: number; wanted: number }> => {
      if (this.full) throw new StoreFault('quorum', '1 of 2 copies');
      this.underWay++;
      this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
      await new Promise((resolve) => setTimeout(resolve, 1));
      for (const { key, bytes } of batch) blocks.set(Buffer.from(key).toString('hex'), Uint8Array.from(bytes));
      this.underWay--;
      return { copies: batch.length > 1 ? 3 : 2, wanted: 3 };
    };
    const fetch = async (key: Uint8Array): Promise<Uint8Array> => {
      const block = blocks.get(Buffer.from(key).toString('hex'));
      if (block === undefined) throw new StoreFault('missing', 'no holder has it');
      return block;
    };
    return {
      store: { insert, fetch } as unknown as DoorPost['store'],
      notify: node.notify,
      overlay: node.overlay,
      lookup: ring.network.store.lookupIdentity,
    };
  }

  async serve(): Promise<void> {
    const { path, post, admin } = this;
    this.#server = await serveDoor({ path, post, admin, now: this.ring.network.clock, log: quiet });
  }

  async unserve(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  async open(kind: 'in process' | 'over a socket'): Promise<Door> {
    const now = this.ring.network.clock;
    if (kind === 'in process') return inProcessDoor({ post: this.post, admin: this.admin, now });
    await this.serve();
    const door = connectDoor({ path: this.path, log: quiet, now });
    await until(() => door.connected());
    return door;
  }

  async stop(): Promise<void> {
    await this.unserve();
    await this.ring.close();
    await rm(this.root, { recursive: true, force: true });
  }
}

export function block(bytes: Uint8Array): Block {
  return { key: createHash('sha256').update(bytes).digest(), bytes };
}
