import type { Queue } from '../../queue/queue.ts';
import { gatewaySection } from '../config/gateway-section.ts';
import { loadConfig } from '../config/load.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { stderrLog } from '../process/log.ts';
import { openQueue } from '../process/open-queue.ts';
import type { Given, Option } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';

export const queueOptions: Readonly<Record<string, Option>> = { home: homeOption, json: jsonOption };

/** The queue of the home, to look and to steer, for as long as `use` takes. */
export async function withQueue(given: Given, use: (queue: Queue) => Promise<number>): Promise<number> {
  const layout = layoutOf(homeOf(given.values, process.env));
  const ring = readRing(layout);
  const section = gatewaySection(loadConfig(layout.config), layout.config);
  const queue = await openQueue(layout, section.queue, {
    role: 'guest',
    ring: ring.name,
    log: stderrLog('error'),
  });
  try {
    return await use(queue);
  } finally {
    await queue.close();
  }
}
