/** A process that adds and works until it is killed. Prints `acked ID` when a job is acknowledged, `worked ID` when an attempt ends. */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBullQueue } from '../../queue/bullmq.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import { job } from './contract.ts';
import { quick, recordingLog } from './quick.ts';

const [kind, place = '', round] = process.argv.slice(2);
// Synchronously: a line that was printed before the kill must reach the parent.
const say = (line: string) => writeSync(1, `${line}\n`);

const common = { now: Date.now, log: recordingLog([]), setbackDelays: quick };
const queue =
  kind === 'embedded'
    ? await openEmbeddedQueue({ ...common, dir: place, role: 'owner' })
    : await openBullQueue({ ...common, url: place, name: 'kill', random: Math.random, takeOverMs: 500 });

queue.work({ match: () => true, concurrency: 8, perLane: 4 }, async ({ id }) => {
  await sleep(Math.random() * 5);
  say(`worked ${id}`);
  return { kind: 'done', why: 'ok' };
});
say('ready');
for (let n = 0; ; n += 1) {
  const ids = Array.from({ length: 5 }, (_, i) => `${round}-${n}-${i}`);
  // Now and then a body that is kept in a file.
  const body = n % 10 === 0 && kind === 'embedded' ? Buffer.alloc(300_000, n) : Buffer.from(`${n}`);
  await queue.add(ids.map((id, i) => job(id, { lane: `lane${i}`, body })));
  for (const id of ids) say(`acked ${id}`);
  await sleep(2);
}
