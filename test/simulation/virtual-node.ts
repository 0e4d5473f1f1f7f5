import type { Member } from '../../node/overlay/overlay.ts';
import type { Block, Lease } from '../../node/store/content.ts';
import { diskOn } from '../../node/store/disk.ts';
import { type Store, storeOn } from '../../node/store/store.ts';
import { silentLog } from '../node/overlay/fake-overlay.ts';
import { MemoryEngine } from './memory-engine.ts';
import type { VirtualNetwork } from './virtual-network.ts';
import { VirtualOverlay } from './virtual-overlay.ts';

/** A machine: the real store on a disk in memory, which outlives crashes unless the machine is gone for good. */
export class VirtualNode {
  readonly member: Member;
  readonly disk = new MemoryEngine();
  readonly #network: VirtualNetwork;
  readonly #copies: number;
  #running: { readonly overlay: VirtualOverlay; readonly store: Store } | undefined;

  constructor(network: VirtualNetwork, copies: number) {
    this.#network = network;
    this.#copies = copies;
    this.member = network.admit();
  }

  get store(): Store | undefined {
    return this.#running?.store;
  }

  /** `before`: it has run for long when the simulation begins, knows the others, and was given its copies at some time. */
  start(before = false): void {
    const overlay = new VirtualOverlay(this.#network, this.member);
    const disk = diskOn(this.disk.asRoot());
    if (before) this.disk.openDB('facts').putSync('settled', Uint8Array.of(1));
    const { now } = this.#network.time;
    const store = storeOn({ overlay, now, log: silentLog, copies: this.#copies, toldOfOthers: true }, disk);
    this.#running = { overlay, store };
    this.#network.up(overlay, before);
    overlay.routing?.run(overlay, before);
  }

  /** As if the plug were pulled. What ran on it ends without a word to anyone. `before`: it was down long before the simulation begins. */
  crash(before = false): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.#network.down(running.overlay, before);
    running.store.stop().catch((error: unknown) => {
      throw error; // Nothing on a disk in memory can fail: a bug, which ends the simulation.
    });
  }

  /** Puts a block on its disk, as if it had been brought at some time before. */
  async deal(block: Block, lease: Lease): Promise<void> {
    const { identity, until } = lease;
    const leases = [{ identity, until, reserve: false, payer: identity }];
    const terms = { now: this.#network.time.now(), payer: identity, allowance: () => Number.POSITIVE_INFINITY };
    const put = await diskOn(this.disk.asRoot()).blocks.put([{ ...block, leases }], terms);
    if (put.kind !== 'kept') throw new Error('it was not kept');
  }

  /** Whether a head lies on its disk. */
  hasHeads(): boolean {
    return this.disk.openDB('heads').getCount() > 0;
  }

  /** Keys of all blocks that lie on its disk, whether it runs or not. */
  blockKeys(): readonly Uint8Array[] {
    return this.disk.openDB('blocks').getKeys();
  }
}
