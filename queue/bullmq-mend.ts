/**
 * Jobs whose data is no JSON any more. BullMQ cannot read such a job at all: it would come to a worker again and again, and whoever lists jobs would meet
 * it. In place of its data stands what says so; the raw bytes are kept beside it. The worker that meets it sets it aside.
 */
import type { Queue as BullQueue } from 'bullmq';
import type { Redis } from 'ioredis';
import { type BullData, damagedCourse, encodeCourse, fields } from './bullmq-job.ts';

const pageSize = 100;

/** KEYS: jobs. ARGV: the course of a damaged one, now. Gives those that were mended. */
const script = `
local mended = {}
for _, key in ipairs(KEYS) do
  local data, name, at = unpack(redis.call('HMGET', key, 'data', 'name', 'timestamp'))
  local isRead, value = pcall(cjson.decode, data or 'null')
  if data and not (isRead and type(value) == 'table' and type(value.lane) == 'string' and type(value.body) == 'string') then
    local lane = name and string.sub(name, 38) or ''
    local since = tonumber(at) or tonumber(ARGV[2])
    local stand = { lane = lane ~= '' and lane or 'damaged', body = '', about = {}, createdAt = since, dueAt = since }
    redis.call('HSET', key, 'data', cjson.encode(stand), 'epost-damaged', data, '${fields.course}', ARGV[1], '${fields.verdict}', 'failed')
    mended[#mended + 1] = key
  end
end
return mended
`;

/** The keys of those that were damaged. Finished jobs, of which there may be a million, are looked at only where no other was. */
export async function mendDamaged(redis: Redis, bull: BullQueue<BullData>, now: number): Promise<string[]> {
  const course = encodeCourse(damagedCourse(now));
  const mended: string[] = [];
  for (const type of ['wait', 'active', 'delayed', 'failed', 'completed'] as const) {
    if (type === 'completed' && mended.length > 0) break;
    for (let from = 0; ; from += pageSize) {
      const key = bull.toKey(type);
      const to = from + pageSize - 1;
      const command = type === 'wait' || type === 'active' ? 'LRANGE' : 'ZRANGE';
      const ids = (await redis.call(command, key, from, to)) as string[];
      const keys = ids.map((id) => bull.toKey(id));
      if (keys.length > 0) mended.push(...((await redis.eval(script, keys.length, ...keys, course, now)) as string[]));
      if (ids.length < pageSize) break;
    }
  }
  return mended;
}
