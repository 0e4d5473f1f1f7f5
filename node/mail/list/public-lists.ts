import type { Address } from '../../../policy/address.ts';
import { LogFault } from '../../log/fault.ts';
import type { FollowOptions } from '../../log/following.ts';
import { MailFault } from '../fault.ts';
import type { Clock, Log } from '../mail-post.ts';
import { readPublicList } from './list-log.ts';
import type { ListState } from './list-state.ts';
import type { PublicLists } from './spread.ts';

// Who was put off a list gets none of its posts after this; who writes several in a row has the holders asked once.
const believedMs = 10_000;
// A list of 2,000 members is some 200 KB.
const maxKept = 50;

/** Reads lists whose members are public, from the ring. */
export function publicLists(parts: {
  readonly store: FollowOptions['store'];
  readonly now: Clock;
  readonly log: Log;
}): PublicLists {
  const { store, now, log } = parts;
  const kept = new Map<Address, { readonly at: number; readonly state: ListState | undefined }>();
  return {
    read: async (address, signingKey) => {
      const known = kept.get(address);
      if (known !== undefined && Math.abs(now() - known.at) < believedMs) return known.state;
      try {
        const state = await readPublicList(store, signingKey);
        kept.delete(address);
        kept.set(address, { at: now(), state });
        for (const oldest of kept.keys()) {
          if (kept.size <= maxKept) break;
          kept.delete(oldest);
        }
        return state;
      } catch (fault) {
        if (!(fault instanceof LogFault || fault instanceof MailFault)) throw fault;
        log.warn({ list: address, fault }, 'the members of a list cannot be read now; its own node expands it');
        return undefined;
      }
    },
  };
}
