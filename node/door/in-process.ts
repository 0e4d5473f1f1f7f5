import type { Address } from '../../policy/address.ts';
import type { Trust } from '../identity/certificate.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import type { Awaited, Clock, Recipient, SendResult } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import type { Sealed } from '../notify/sealed.ts';
import type { Post } from '../post/post.ts';
import type { Block, Lease } from '../store/content.ts';
import type { Lookup } from '../store/directory.ts';
import type { Admin, Door } from './door.ts';
import { DoorFault } from './fault.ts';
import { ReceiptWatch } from './receipt-watch.ts';

/** The floors of a node that a door opens to. */
export type DoorPost = Pick<Post, 'store' | 'notify' | 'lookup'> & {
  readonly overlay: Pick<Post['overlay'], 'ring' | 'revocations'>;
};

class InProcessDoor implements Door {
  readonly #post: DoorPost;
  readonly #admin: Admin;
  readonly #now: Clock;
  readonly #watch = new ReceiptWatch();
  readonly #undo = new Set<() => void>();
  #open = true;

  constructor(options: { post: DoorPost; admin: Admin; now: Clock }) {
    this.#post = options.post;
    this.#admin = options.admin;
    this.#now = options.now;
    this.#undo.add(options.post.notify.onReceipt((receipt) => this.#watch.arrived(receipt)));
  }

  #here(): DoorPost {
    if (!this.#open) throw new DoorFault('closed', 'the door was closed');
    return this.#post;
  }

  async insert(blocks: readonly Block[], lease: Lease): Promise<{ copies: number; wanted: number }> {
    return this.#here().store.insert(blocks, lease);
  }

  async fetch(key: Uint8Array): Promise<Uint8Array> {
    return this.#here().store.fetch(key);
  }

  async lookup(address: Address): Promise<Lookup> {
    // As over a socket: no answer to a look-up is never "nobody".
    if (!this.#open) return { kind: 'unknown', reason: 'the door was closed' };
    return this.#post.lookup(address);
  }

  async notify(sealed: Sealed): Promise<SendResult> {
    this.#watch.expect([sealed]);
    return this.#here().notify.send(sealed);
  }

  attach(recipient: Recipient): () => void {
    const detach = this.#here().notify.attach(recipient);
    this.#undo.add(detach);
    return () => {
      this.#undo.delete(detach);
      detach();
    };
  }

  async watch(awaited: readonly Awaited[]): Promise<void> {
    this.#watch.expect(awaited);
    for (const receipt of await this.#here().notify.watch(awaited)) this.#watch.arrived(receipt);
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    return this.#watch.onReceipt(listener);
  }

  async call(method: string, args: unknown): Promise<unknown> {
    this.#here();
    if (!Object.hasOwn(this.#admin, method)) throw new DoorFault('no-such-method', `the node has no method ${method}`);
    try {
      return await this.#admin[method]?.(args);
    } catch (error) {
      throw new DoorFault('failed', error instanceof Error ? error.message : `${method} failed`, { cause: error });
    }
  }

  async ring(): Promise<RingDescriptor> {
    return this.#here().overlay.ring;
  }

  async trust(): Promise<Trust> {
    const { overlay } = this.#here();
    return { ring: overlay.ring, revocations: overlay.revocations(), now: this.#now() };
  }

  connected(): boolean {
    return this.#open;
  }

  async close(): Promise<void> {
    this.#open = false;
    for (const undo of this.#undo) undo();
    this.#undo.clear();
  }
}

/** The door of a node in this very process. */
export function inProcessDoor(options: { readonly post: DoorPost; readonly admin: Admin; readonly now: Clock }): Door {
  return new InProcessDoor(options);
}
