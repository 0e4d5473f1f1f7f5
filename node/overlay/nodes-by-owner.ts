import type { NodeCertificate } from '../identity/certificate.ts';
import type { Member } from './overlay.ts';

type Counted = Pick<NodeCertificate, 'peerId' | 'notBefore' | 'serial'>;

/** Which nodes each identity has, to hold it to its bound. Everyone who knows the same certificates comes to the same answer. */
export class NodesByOwner {
  readonly #nodes = new Map<string, Map<string, Counted>>();

  add({ owner, certificate }: Member): void {
    const nodes = this.#nodes.get(owner) ?? new Map<string, Counted>();
    this.#nodes.set(owner, nodes.set(certificate.peerId, certificate));
  }

  remove({ owner, peerId }: Member): void {
    const nodes = this.#nodes.get(owner);
    nodes?.delete(peerId);
    if (nodes?.size === 0) this.#nodes.delete(owner);
  }

  /**
   * The node of this owner that is one too many with `fresh`, if any: the one certified first, for what an authority grants now it means more than
   * what it granted years ago, and an owner who is at his bound can go on with a new machine. May be `fresh` itself. `counts` says who is a member now.
   */
  surplus(fresh: NodeCertificate, most: number, counts: (peerId: string) => boolean): string | undefined {
    const others = [...(this.#nodes.get(fresh.owner)?.values() ?? [])].filter(
      ({ peerId }) => peerId !== fresh.peerId && counts(peerId),
    );
    if (others.length < most) return undefined;
    return [...others, fresh].reduce((oldest, one) => (isEarlier(one, oldest) ? one : oldest)).peerId;
  }
}

function isEarlier(left: Counted, right: Counted): boolean {
  return left.notBefore < right.notBefore || (left.notBefore === right.notBefore && left.serial < right.serial);
}
