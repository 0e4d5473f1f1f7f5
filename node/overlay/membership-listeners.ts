import type { Log, MembershipChange } from './overlay.ts';

/** Those who want to hear of membership changes. One that throws is logged and hurts nobody else. */
export class MembershipListeners {
  readonly #listeners = new Set<(change: MembershipChange) => void>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add(listener: (change: MembershipChange) => void): () => void {
    const entry = (change: MembershipChange): void => listener(change);
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  tell(change: MembershipChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#log.error(
          { err: error, change: change.kind, peer: change.member.peerId },
          'a membership listener failed',
        );
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}
