import { decodeCanonical, encodeCanonical } from '../../../node/identity/canonical.ts';
import { Handlers } from '../../../node/overlay/handlers.ts';
import type { Member, RequestHandler } from '../../../node/overlay/overlay.ts';
import { positionOf } from '../../../node/overlay/placement.ts';

type Handle = (this: Handlers, name: string, handler: RequestHandler) => void;

const method = 'overlay/near';
const maxBytes = 2 ** 20;

/**
 * From now on every node that this process starts lies when it is asked who is nearest to a key, in another way each time: it names only the other
 * liars, nobody, or more than it was asked for; sends what cannot be read; refuses; or is silent. `peerKeys` are those of the liars.
 */
export function lieInLookups(peerKeys: readonly Uint8Array[]): void {
  const honest: RequestHandler[] = [];
  /** What each of them truly says of itself: its own certificate and record. */
  const proofs = async (from: Member, signal: AbortSignal): Promise<unknown[]> => {
    const own = peerKeys.map(async (key, at) => {
      const body = encodeCanonical({ key: positionOf(key), count: 1 });
      const answer = decodeCanonical((await honest[at]?.(body, from, signal)) ?? new Uint8Array(), maxBytes);
      return answer.kind === 'decoded' ? (answer.value as { proofs: unknown[] }).proofs : [];
    });
    return (await Promise.all(own)).flat();
  };
  const lies: readonly ((named: unknown[]) => Promise<Uint8Array>)[] = [
    async (named) => encodeCanonical({ proofs: named }),
    async () => encodeCanonical({ proofs: [] }),
    async (named) => encodeCanonical({ proofs: Array.from({ length: 60 }, (_, n) => named[n % named.length]) }),
    async () => Buffer.from('garbage'),
    async () => Promise.reject(new Error('no')),
    async () => new Promise(() => undefined),
  ];
  let asked = 0;
  const lying = (handler: RequestHandler): RequestHandler => {
    honest.push(handler);
    return async (_body, from, signal) => {
      asked += 1;
      return lies[asked % lies.length]?.(await proofs(from, signal)) ?? new Uint8Array();
    };
  };
  const { value: handle } = Object.getOwnPropertyDescriptor(Handlers.prototype, 'handle') as { value: Handle };
  Handlers.prototype.handle = function instead(this: Handlers, name: string, handler: RequestHandler): void {
    handle.call(this, name, name === method ? lying(handler) : handler);
  };
}
