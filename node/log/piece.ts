import { StoreFault } from '../store/fault.ts';
import { LogFault } from './fault.ts';
import type { Entry } from './log-state.ts';
import type { Place } from './place.ts';

/** A group, or what was one: the items between `from` and the end of the entry. */
export interface Piece {
  readonly from: Place;
  readonly entry: Entry;
  readonly lost: boolean;
}

/** Whether what was to be read will not come back by waiting: the ring surely has it no more, or it is not what it must be. */
export function isGone(cause: unknown): boolean {
  if (cause instanceof LogFault) return cause.code === 'damaged';
  return cause instanceof StoreFault && (cause.code === 'missing' || cause.code === 'invalid');
}
