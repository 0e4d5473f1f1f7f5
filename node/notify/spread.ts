import { createHash } from 'node:crypto';
import { peerKeyOf } from '../identity/peer-id.ts';
import type { Member, Overlay } from '../overlay/overlay.ts';
import { positionOf } from '../overlay/placement.ts';
import { placeKey, windowOf, writeQuorum } from '../store/placement.ts';

/** Copies of a pending notification where the ring has as many nodes (DESIGN §8.2). */
export const pendingCopies = 3;
// How far the search for a living holder goes beyond the proper ones; recipients look as far.
const spares = 3;

/** Where what is pending for a recipient lies. */
export function pendingPlace(recipientKey: Uint8Array): Uint8Array {
  return createHash('sha256').update('pending').update(recipientKey).digest();
}

type Placement = Pick<Overlay, 'closest' | 'isUp' | 'locate' | 'members'>;

/** The members that ought to hold it, up or down. Placed by the store's rule, so that one rule says who keeps what. */
export async function properHolders(overlay: Placement, recipientKey: Uint8Array): Promise<readonly Member[]> {
  return (await placed(overlay, recipientKey)).proper;
}

async function placed(overlay: Placement, recipientKey: Uint8Array): Promise<ReturnType<typeof placeKey>> {
  const closest = (key: Uint8Array, count: number): readonly Member[] => overlay.closest(key, count);
  const place = pendingPlace(recipientKey);
  await overlay.locate(place, windowOf(pendingCopies));
  return placeKey(closest, place, pendingCopies);
}

/** The members that may hold it and answer now, nearest first: also those that stood in for a holder that was down. */
export async function livingHolders(overlay: Placement, recipientKey: Uint8Array): Promise<readonly Member[]> {
  const { proper, spare } = await placed(overlay, recipientKey);
  return [...proper, ...spare].filter((member) => overlay.isUp(member.peerId)).slice(0, pendingCopies + spares);
}

/** Whether a node can be asked now: in a ring in which not everyone is connected to everyone it is dialled, and if need be found, first. */
export async function isThere(overlay: Placement, peerId: string): Promise<boolean> {
  const key = overlay.isUp(peerId) ? undefined : peerKeyOf(peerId);
  if (key !== undefined) await overlay.locate(positionOf(key), 1);
  return overlay.isUp(peerId);
}

/** Not as many copies as it takes; what went wrong at whom is in the message. */
export class SpreadFault extends Error {
  readonly code = 'quorum';

  constructor(copies: number, wanted: number, troubles: readonly string[]) {
    super(`${copies} of ${wanted} copies: ${troubles.join(', ') || 'no other member of the ring answers'}`);
    this.name = 'SpreadFault';
  }
}

interface Spread {
  copies: number;
  underWay: number;
  readonly troubles: string[];
}

/**
 * Offers a copy to the nearest living holders, and to the next one for each that fails. Resolves with the number of
 * copies at the write quorum; those still under way go on by themselves. `offer` gives undefined for "kept", else why not.
 * Throws SpreadFault when nobody is left to ask.
 */
export async function spread(
  overlay: Placement,
  recipientKey: Uint8Array,
  offer: (peerId: string) => Promise<string | undefined>,
): Promise<number> {
  const wanted = writeQuorum(overlay.members().length, pendingCopies);
  const candidates = (await livingHolders(overlay, recipientKey)).values();
  const state: Spread = { copies: 0, underWay: 0, troubles: [] };
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      if (state.copies >= wanted) resolve(state.copies);
      else if (state.underWay === 0) reject(new SpreadFault(state.copies, wanted, state.troubles));
    };
    const offerNext = (): void => {
      const next = candidates.next();
      if (next.done === true) return;
      state.underWay++;
      offer(next.value.peerId)
        .catch((error: unknown) => (error instanceof Error ? error.message : 'it failed'))
        .then((trouble) => {
          state.underWay--;
          if (trouble === undefined) state.copies++;
          else {
            state.troubles.push(`${next.value.peerId.slice(-8)}: ${trouble}`);
            offerNext();
          }
          settle();
        })
        .catch(reject);
    };
    for (let copy = 0; copy < pendingCopies; copy++) offerNext();
    settle();
  });
}
