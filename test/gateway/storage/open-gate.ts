import type { StorageGate } from '../../../gateway/storage/gate.ts';

/** For what is tried apart from any disk: a gate that is never shut. */
export const openGate: StorageGate = {
  shut: () => undefined,
  watched: (write) => write,
  whenOpen: (worker) => worker,
  stop: () => Promise.resolve(),
};
