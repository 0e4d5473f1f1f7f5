import { z } from 'zod';

const wish = z.strictObject({
  notify: z.array(z.enum(['NEVER', 'SUCCESS', 'FAILURE', 'DELAY'])),
  orcpt: z.string().optional(),
});

/** What a sender asked to be told about his message (RFC 3461), as a job keeps it. Nothing of it makes us tell anybody who did not prove to be the sender. */
export const wishes = z.strictObject({
  ret: z.enum(['FULL', 'HDRS']).optional(),
  envid: z.string().optional(),
  /** The message came with REQUIRETLS: so do the reports of it (RFC 8689 §5). */
  requireTls: z.literal(true).optional(),
  /** By recipient, as the job names them; one without a wish is not here. */
  recipients: z.record(z.string(), wish),
});

export type Wishes = z.infer<typeof wishes>;
export type Wish = z.infer<typeof wish>;

export type Action = 'failed' | 'delayed' | 'delivered';

const words = { failed: 'FAILURE', delayed: 'DELAY', delivered: 'SUCCESS' } as const;

/** RFC 3461 §4.1. Who said nothing hears of failures (§5.2.2 leaves delays to us: our queue is at the ring, and short). */
export function isWanted(asked: Wish | undefined, action: Action): boolean {
  if (asked === undefined || asked.notify.length === 0) return action === 'failed';
  return asked.notify.includes(words[action]);
}
