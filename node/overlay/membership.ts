import type { RevocationState } from '../identity/revocation.ts';
import type { Conduct } from './conduct.ts';
import type { Entry, MemberProof, MemberTable, Offer } from './member-table.ts';
import type { MembershipListeners } from './membership-listeners.ts';
import type { Log, Member } from './overlay.ts';

/** What others do when the membership changes; set once, before anything is learnt. */
export interface MembershipHooks {
  /** A member or a newer record of one: dial it, tell others, keep it. */
  news(entry: Entry): void;
  /** No member any more: cut it. Called before the listeners hear of it. */
  gone(member: Member): void;
  /** A newer revocation list: tell others, keep it. */
  newerList(): void;
}

/** The one place where anything about members is learnt, from admission, gossip or disk: table, revocations, listeners. */
export class Membership {
  readonly table: MemberTable;
  readonly revocations: RevocationState;
  readonly #selfId: string;
  readonly #listeners: MembershipListeners;
  readonly #log: Log;
  readonly #hooks: MembershipHooks;
  readonly #conduct: Conduct;

  constructor(parts: {
    readonly table: MemberTable;
    readonly revocations: RevocationState;
    readonly selfId: string;
    readonly listeners: MembershipListeners;
    readonly log: Log;
    readonly hooks: MembershipHooks;
    readonly conduct: Conduct;
  }) {
    this.table = parts.table;
    this.revocations = parts.revocations;
    this.#selfId = parts.selfId;
    this.#listeners = parts.listeners;
    this.#log = parts.log;
    this.#hooks = parts.hooks;
    this.#conduct = parts.conduct;
  }

  /** `from`: the member that passed it on, if it was not its own. */
  learn(proof: MemberProof, from?: string): Offer {
    const offer = this.table.offer(proof);
    if (offer.kind === 'refused' && offer.forged && from !== undefined)
      this.#conduct.note({ subject: { kind: 'node', name: from }, offence: 'forged-member', what: offer.reason });
    if (offer.kind === 'refused') this.#log.debug({ reason: offer.reason }, 'a member proof was refused');
    if (offer.kind !== 'refused' && offer.displaced !== undefined) this.#displace(offer.displaced);
    if (offer.kind === 'joined' || offer.kind === 'renewed') {
      this.#hooks.news(offer.entry);
      if (offer.kind === 'joined' && offer.entry.member.peerId !== this.#selfId) {
        this.#listeners.tell({ kind: 'joined', member: offer.entry.member });
      }
    }
    return offer;
  }

  #displace(member: Member): void {
    this.#log.warn(
      { peer: member.peerId, owner: member.owner },
      'an identity has more nodes than it may: its oldest is out',
    );
    this.#hooks.gone(member);
    if (member.peerId !== this.#selfId) this.#listeners.tell({ kind: 'left', member });
  }

  learnRevocations(bytes: Uint8Array): void {
    if (this.revocations.offer(bytes) !== 'newer') return;
    this.#log.info({ version: this.revocations.current()?.version }, 'a newer revocation list');
    this.sweep();
    this.#hooks.newerList();
  }

  /** Drops who is revoked or expired. To be called now and then: certificates expire without anyone saying so. */
  sweep(): void {
    for (const { member, revoked } of this.table.sweep()) {
      this.#log.warn({ peer: member.peerId, owner: member.owner, revoked }, 'no longer a member of the ring');
      this.#hooks.gone(member);
      if (member.peerId !== this.#selfId) this.#listeners.tell({ kind: revoked ? 'revoked' : 'left', member });
    }
  }
}
