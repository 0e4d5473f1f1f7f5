/** Whether a Redis server keeps what it acknowledges. */
import type { Redis } from 'ioredis';
import type { QueueHealth } from './queue.ts';

/** Setting, wanted value, and what goes wrong otherwise. */
const wanted: readonly [setting: string, value: string, otherwise: string][] = [
  ['appendonly', 'yes', 'a restart loses acknowledged jobs'],
  ['appendfsync', 'always', 'a power cut loses the last second of acknowledged jobs'],
  ['maxmemory-policy', 'noeviction', 'a full memory silently deletes jobs'],
];

/** Not ok if Redis does not answer, would lose jobs, or does not let us find out. */
export async function redisHealth(redis: Redis): Promise<QueueHealth> {
  for (const [setting, value, otherwise] of wanted) {
    const answer = await ask(redis, setting);
    if ('why' in answer) return { ok: false, why: answer.why };
    if (answer.value !== value) {
      const found = `Redis has ${setting} ${answer.value}, not ${value}: ${otherwise}`;
      return { ok: false, why: `${found}; set it in redis.conf` };
    }
  }
  return { ok: true };
}

async function ask(redis: Redis, setting: string): Promise<{ value: string } | { why: string }> {
  try {
    const answer = (await redis.config('GET', setting)) as readonly string[];
    return { value: answer[1] ?? 'unknown' };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { why: `Redis does not say what ${setting} is (${reason}), so whether it keeps jobs is unknown` };
  }
}
