import { z } from 'zod';
import type { Place } from '../log/place.ts';

const count = z.int().nonnegative();

/** A place in a log as a kept state names it. */
export const placeFields = z.strictObject({
  seq: count,
  chain: z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === 16),
  numbers: count,
  height: count,
});

export function placeOf({ seq, chain, numbers, height }: z.infer<typeof placeFields>): Place {
  return { seq, chain, numbers, height };
}
