/**
 * Jobs whose lane has no place now, out of the way of the others: BullMQ has one list for all lanes, and a deep one in front would be put off job by job
 * before another's turn came. Parked jobs are delayed ones of BullMQ and come back by themselves after a while, should everybody die; which of a lane they
 * are lies in Redis, so that whichever gateway has a place takes the next.
 */
import type { Redis } from 'ioredis';

/** A lane without a place, and how long its jobs stay parked unless they are called back. */
export interface FullLane {
  readonly lane: string;
  readonly leastMs: number;
  readonly mostMs: number;
}

/** Some milliseconds of Redis' time, in which nobody else is served. */
const sweptAtOnce = 1_000;
/** By then the last of them has come back by time. */
const knownForSeconds = 3_600;
/** BullMQ counts jobs of one millisecond in the lowest twelve bits of the time. */
const scorePerMs = 0x1000;

/** KEYS: wait, delayed, marker. ARGV: prefix of keys, how many to look at, now, then lanes, each with its least and most time. Gives how many were looked at, and the lanes parked. */
const sweepScript = `
local least, most = {}, {}
for i = 4, #ARGV, 3 do least[ARGV[i]], most[ARGV[i]] = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]) end
local ids = redis.call('RPOP', KEYS[1], ARGV[2])
if not ids then return {0} end
local kept, lanes, seen = {}, {}, {}
for i, id in ipairs(ids) do
  local name = redis.call('HGET', ARGV[1] .. id, 'name')
  local lane = name and string.sub(name, 38) or ''
  if least[lane] then
    local delay = math.floor(least[lane] + (most[lane] - least[lane]) * i / #ids)
    redis.call('ZADD', KEYS[2], (tonumber(ARGV[3]) + delay) * ${scorePerMs}, id)
    redis.call('HSET', ARGV[1] .. id, 'delay', delay)
    local parked = ARGV[1] .. 'epost-parked:' .. lane
    redis.call('ZADD', parked, ARGV[3], id)
    if not seen[lane] then
      lanes[#lanes + 1] = lane
      redis.call('EXPIRE', parked, ${knownForSeconds})
    end
    seen[lane] = true
  else kept[#kept + 1] = id end
end
for i = #kept, 1, -1 do redis.call('RPUSH', KEYS[1], kept[i]) end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if first[2] then redis.call('ZADD', KEYS[3], tonumber(first[2]) / ${scorePerMs}, '1') end
return {#ids - #kept, unpack(lanes)}
`;

/** KEYS: parked, delayed, wait, marker. ARGV: prefix of keys, how many. Those that came back by time meanwhile are passed over. */
const callBackScript = `
local called, tried = 0, 0
while called < tonumber(ARGV[2]) and tried < ${sweptAtOnce} do
  local id = redis.call('ZPOPMIN', KEYS[1])[1]
  if not id then break end
  tried = tried + 1
  if redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('HSET', ARGV[1] .. id, 'delay', 0)
    redis.call('RPUSH', KEYS[3], id)
    called = called + 1
  end
end
if called > 0 then redis.call('ZADD', KEYS[4], 0, '0') end
return called
`;

export class BullParking {
  readonly #redis: Redis;
  readonly #keyOf: (name: string) => string;

  constructor(redis: Redis, keyOf: (name: string) => string) {
    this.#redis = redis;
    this.#keyOf = keyOf;
  }

  /** Notes a job that its worker puts off. */
  async park(lane: string, bullId: string, now: number): Promise<void> {
    const key = this.#parkedKey(lane);
    await this.#redis.multi().zadd(key, now, bullId).expire(key, knownForSeconds).exec();
  }

  /** It was given a place. */
  async left(lane: string, bullId: string): Promise<void> {
    await this.#redis.zrem(this.#parkedKey(lane), bullId);
  }

  /** Parks what lies in front and belongs to these lanes, of a thousand jobs; of which there were some, and whether all were such, so that more may lie behind. */
  async sweepAside(
    full: readonly FullLane[],
    now: number,
  ): Promise<{ readonly lanes: string[]; readonly isFull: boolean }> {
    const keys = ['wait', 'delayed', 'marker'].map(this.#keyOf);
    const lanes = full.flatMap(({ lane, leastMs, mostMs }) => [lane, leastMs, mostMs]);
    const answer = await this.#redis.eval(sweepScript, 3, ...keys, this.#keyOf(''), sweptAtOnce, now, ...lanes);
    const [count, ...parked] = answer as [number, ...string[]];
    return { lanes: parked, isFull: count === sweptAtOnce };
  }

  /** Up to so many parked jobs of the lane are worked next; how many there were. */
  async callBack(lane: string, atMost: number): Promise<number> {
    const keys = [this.#parkedKey(lane), ...['delayed', 'wait', 'marker'].map(this.#keyOf)];
    return (await this.#redis.eval(callBackScript, 4, ...keys, this.#keyOf(''), atMost)) as number;
  }

  async callBackAll(lane: string): Promise<void> {
    // oxlint-disable-next-line no-await-in-loop -- so that others are served between
    while ((await this.callBack(lane, sweptAtOnce)) > 0);
  }

  #parkedKey(lane: string): string {
    return this.#keyOf(`epost-parked:${lane}`);
  }
}

/** What a job is called in BullMQ: a name of its own, by which adding finds out whether it was new, and the lane, for the script above. */
export function bullName(uuid: string, lane: string): string {
  return `${uuid} ${lane}`;
}
