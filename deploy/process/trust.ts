import type { Trust } from '../../node/identity/certificate.ts';
import type { Overlay } from '../../node/overlay/overlay.ts';

/** What certificates are judged by right now, on a node. */
export function trustOf(overlay: Overlay, now: () => number): Trust {
  return { ring: overlay.ring, revocations: overlay.revocations(), now: now() };
}
