/** What an owner asks of a list that lives on another node: changes, in a notification that he signs. */
import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../../identity/canonical.ts';
import { maxBodyBytes } from '../../notify/lifetime.ts';
import { MailFault } from '../fault.ts';
import { changeShape, type ListChange } from './list-state.ts';

const shape = z.strictObject({
  v: z.literal(1),
  kind: z.literal('list-change'),
  /** That the same changes asked for later are another request. */
  at: z.int().nonnegative(),
  changes: z.array(changeShape).min(1).max(20),
});

/** Throws MailFault `too-large` for more than a notification carries. */
export function encodeRequest(changes: readonly ListChange[], at: number): Uint8Array {
  const bytes = encodeCanonical(
    shape.parse({ v: 1, kind: 'list-change', at, changes: changes.map((one) => ({ ...one, v: 1 })) }),
  );
  if (bytes.length > maxBodyBytes) throw new MailFault('too-large', 'more addresses than one request carries');
  return bytes;
}

/** Undefined for what is no such request. */
export function decodeRequest(body: Uint8Array): readonly ListChange[] | undefined {
  const decoded = decodeCanonical(body, maxBodyBytes);
  return decoded.kind === 'invalid' ? undefined : shape.safeParse(decoded.value).data?.changes;
}
