import { openBullQueue } from '../../queue/bullmq.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Queue, QueueLog } from '../../queue/queue.ts';
import type { GatewaySection } from '../config/schema.ts';
import type { Layout } from '../home/layout.ts';

/** The queue that the configuration names: as the gateway that works it, or as a command that looks and steers. */
export function openQueue(
  layout: Layout,
  section: GatewaySection['queue'],
  options: { readonly role: 'owner' | 'guest'; readonly ring: string; readonly log: QueueLog },
): Promise<Queue> {
  const { role, ring, log } = options;
  const keeping = { doneMs: section.keepFinished, maxAgeMs: section.maxAge };
  if (section.kind === 'redis') {
    const { url } = section;
    return openBullQueue({ url, name: `epost-${ring}`, now: Date.now, random: Math.random, log, keeping });
  }
  const { minFree: minFreeBytes } = section;
  return openEmbeddedQueue({ dir: layout.gateway.queue, role, now: Date.now, log, minFreeBytes, keeping });
}
