import type { Mailbox } from '../../node/mail/mailbox.ts';
import { mailboxSize } from '../../node/mail/mailbox-size.ts';
import type { Store } from '../../node/store/store.ts';

export interface QuotaFigure {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

// Programs ask at every folder that they open; what somebody has just deleted shows this much later at most.
const freshMs = 5_000;

/**
 * What a user is told of his quota (RFC 9208). Used is the larger of two figures: what his folders show, each message once; and what this node, as one of
 * the ring's holders, has on his account, as a part of what it lets him have. The first is what a person can do something about. The second is what
 * refuses him, it also has logs and what he deleted that no lease has let go of yet: he is not told of room that there is not.
 */
export class UserQuota {
  readonly #mailbox: Mailbox;
  readonly #store: Pick<Store, 'account'>;
  readonly #limitBytes: number;
  readonly #now: () => number;
  #last: { readonly at: number; readonly figure: Promise<QuotaFigure> } | undefined;

  constructor(parts: {
    readonly mailbox: Mailbox;
    readonly store: Pick<Store, 'account'>;
    readonly limitBytes: number;
    readonly now: () => number;
  }) {
    this.#mailbox = parts.mailbox;
    this.#store = parts.store;
    this.#limitBytes = parts.limitBytes;
    this.#now = parts.now;
  }

  async figure(): Promise<QuotaFigure> {
    const now = this.#now();
    // A clock that was set back makes it old as well.
    if (this.#last !== undefined && Math.abs(now - this.#last.at) < freshMs) return this.#last.figure;
    const figure = this.#count();
    this.#last = { at: now, figure };
    try {
      return await figure;
    } catch (fault) {
      if (this.#last.figure === figure) this.#last = undefined;
      throw fault;
    }
  }

  async #count(): Promise<QuotaFigure> {
    const shown = await mailboxSize(this.#mailbox);
    const { bytes, allowance } = await this.#store.account(this.#mailbox.address);
    const held = Math.round((this.#limitBytes * bytes) / allowance);
    return { usedBytes: Math.max(shown, held), limitBytes: this.#limitBytes };
  }
}
