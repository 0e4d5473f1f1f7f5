/**
 * Writing to a job only while it is ours. A process that was cut off from Redis for longer than its lease comes back with what it still means to say of a
 * job that another has finished meanwhile: that must change nothing.
 */
import type { Redis } from 'ioredis';
import { fields } from './bullmq-job.ts';

/** BullMQ keeps the token of whoever works a job under this name, and lets it run out. */
function lockOf(key: string): string {
  return `${key}:lock`;
}

/** KEYS: lock, job. ARGV: the token or '', what `started` must be or '', how many fields are set, those, and those to remove. */
const script = `
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], '${fields.started}') ~= ARGV[2] then return 0 end
local sets = tonumber(ARGV[3])
for i = 1, sets do redis.call('HSET', KEYS[2], ARGV[2 + 2 * i], ARGV[3 + 2 * i]) end
for i = 4 + 2 * sets, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
return 1
`;

/** The job is another's now: whatever we found out about it does not count. */
export class LostLease extends Error {
  override readonly name = 'LostLease';
}

export type Fence =
  /** We hold the job's lock. */
  | { readonly token: string }
  /** The attempt that we began is the one being made. That may be so after the lock ran out: then what it came to is still worth knowing. */
  | { readonly started: string };

/** Sets and removes fields of the job's hash at once. Throws LostLease where the fence does not hold. */
export async function writeFenced(
  redis: Redis,
  key: string,
  fence: Fence,
  set: Readonly<Record<string, string | number>>,
  remove: readonly string[] = [],
): Promise<void> {
  const pairs = Object.entries(set);
  const held = 'token' in fence ? [fence.token, ''] : ['', fence.started];
  const written = await redis.eval(script, 2, lockOf(key), key, ...held, pairs.length, ...pairs.flat(), ...remove);
  if (written !== 1) throw new LostLease('another gateway has taken this job over');
}
