/** Small things the queue's tests share: short delays and a log that can be read. */
import type { SetbackDelays } from '../../queue/course.ts';
import type { QueueLog } from '../../queue/queue.ts';

export const quick: SetbackDelays = { thrownMs: [5, 5, 5, 5], crashedMs: [0, 0, 0, 0] };

export function recordingLog(lines: string[]): QueueLog {
  const write = (facts: Readonly<Record<string, unknown>>, message: string) => {
    lines.push(`${message} ${JSON.stringify(facts)}`);
  };
  return { info: write, warn: write, error: write };
}
