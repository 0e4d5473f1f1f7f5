import { type Conduct, noConduct } from '../overlay/conduct.ts';
import type { Member, Overlay } from '../overlay/overlay.ts';
import type { Holder } from './holder.ts';
import { type Placement, placeKey, readQuorum, windowOf, writeQuorum } from './placement.ts';
import type { RemoteHolder } from './remote-holder.ts';

/** The ring as the store sees it: who holds what, who is there, and how to ask. */
export class Neighbours {
  readonly copies: number;
  readonly #overlay: Overlay;
  readonly #local: Holder;
  readonly #remote: (peerId: string) => RemoteHolder;
  readonly #conduct: Pick<Conduct, 'isSuspect'>;

  constructor(
    overlay: Overlay,
    copies: number,
    local: Holder,
    remote: (peerId: string) => RemoteHolder,
    conduct: Pick<Conduct, 'isSuspect'> = noConduct,
  ) {
    this.#conduct = conduct;
    this.#overlay = overlay;
    this.copies = copies;
    this.#local = local;
    this.#remote = remote;
  }

  get self(): Member {
    return this.#overlay.self;
  }

  /** Whether this node is one of those that should have the key. */
  isProper(key: Uint8Array): boolean {
    return this.place(key).proper.some((member) => this.isSelf(member));
  }

  members(): number {
    return this.#overlay.members().length;
  }

  /** To be awaited before anything is placed: in a large ring the members near to a key have to be found first. Undefined where all are known. */
  locate(keys: Iterable<Uint8Array>): Promise<unknown> | undefined {
    const looking: Promise<void>[] = [];
    for (const key of keys) {
      const found = this.#overlay.locate(key, windowOf(this.copies));
      if (found !== undefined) looking.push(found);
    }
    return looking.length === 0 ? undefined : Promise.all(looking);
  }

  place(key: Uint8Array): Placement {
    return placeKey((near, count) => this.#overlay.closest(near, count), key, this.copies);
  }

  /** In the order in which they are to be given a copy: proper holders that are up, stand-ins that are up, proper holders that may yet be reached. */
  takers(key: Uint8Array): Member[] {
    const { proper, spare } = this.place(key);
    const up = (member: Member): boolean => this.isUp(member);
    return [...proper.filter(up), ...spare.filter(up), ...proper.filter((member) => !up(member))];
  }

  isSelf(member: Member): boolean {
    return member.peerId === this.#overlay.self.peerId;
  }

  isUp(member: Member): boolean {
    return this.isSelf(member) || this.#overlay.isUp(member.peerId);
  }

  /** Gave false answers several times within the last hour: to be asked when the others have no answer. */
  isSuspect(member: Member): boolean {
    return !this.isSelf(member) && this.#conduct.isSuspect(member.peerId);
  }

  holder(member: Member): Holder {
    return this.isSelf(member) ? this.#local : this.#remote(member.peerId);
  }

  remote(member: Member): RemoteHolder {
    return this.#remote(member.peerId);
  }

  /** The members nearest to a position, this node among them. */
  closest(position: Uint8Array, count: number): readonly Member[] {
    return this.#overlay.closest(position, count);
  }

  others(): Member[] {
    return this.#overlay.members().filter((member) => !this.isSelf(member));
  }

  /** Copies that a write wants, and those that make it succeed. */
  wanted(): { copies: number; quorum: number } {
    const members = this.#overlay.members().length;
    return { copies: Math.min(this.copies, members), quorum: writeQuorum(members, this.copies) };
  }

  /** Proper holders whose answers together cannot have missed an acknowledged write. */
  readQuorum(): number {
    return readQuorum(this.#overlay.members().length, this.copies);
  }
}
