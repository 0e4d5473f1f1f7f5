import type { MemoryPost } from './memory-post.ts';

export interface HeldWrites {
  /** From now on a head that is written waits. */
  hold(): void;
  /** Resolves when one waits. */
  waiting(): Promise<void>;
  /** Lets them go. */
  release(): void;
}

/** Makes the logs that are opened from now on wait with their appends when told to, as they do for a slow disk. */
export function holdWrites(post: MemoryPost): HeldWrites {
  let gate: PromiseWithResolvers<void> | undefined;
  let arrived = Promise.withResolvers<void>();
  post.beforeAppend = async () => {
    if (gate === undefined) return;
    arrived.resolve();
    await gate.promise;
  };
  return {
    hold() {
      gate = Promise.withResolvers();
      arrived = Promise.withResolvers();
    },
    waiting: async () => await arrived.promise,
    release() {
      gate?.resolve();
      gate = undefined;
    },
  };
}
