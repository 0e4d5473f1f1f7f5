/**
 * A process that adds one job, works it (later, then done), and dies before or after the given change of its disk. Prints `acked` and `worked`.
 * With `hang` it dies by another's hand in the middle of its attempt.
 */
import { writeSync } from 'node:fs';
import { openBullQueue } from '../../queue/bullmq.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import { EmbeddedStore } from '../../queue/embedded-store.ts';
import { job } from './contract.ts';
import { quick, recordingLog } from './quick.ts';

const [kind, place = '', what = '', at = '0'] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);
const die = () => process.kill(process.pid, 'SIGKILL');

let changes = 0;
/** Each of these is one commit. */
for (const name of ['add', 'claim', 'change'] as const) {
  const real = EmbeddedStore.prototype[name] as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperty(EmbeddedStore.prototype, name, {
    value: async function (this: EmbeddedStore, ...args: unknown[]): Promise<unknown> {
      changes += 1;
      const isLast = changes === Number(at);
      if (isLast && what === 'before') die();
      const result = await real.apply(this, args);
      if (isLast && what === 'after') die();
      return result;
    },
  });
}

const common = { now: Date.now, log: recordingLog([]), setbackDelays: quick };
const queue =
  kind === 'embedded'
    ? await openEmbeddedQueue({ ...common, dir: place, role: 'owner' })
    : await openBullQueue({ ...common, url: place, name: 'crash', random: Math.random, takeOverMs: 500 });
queue.work({ match: () => true, concurrency: 1, perLane: 1 }, async ({ attemptCount }) => {
  say(`worked ${attemptCount}`);
  if (what === 'hang') await new Promise(() => undefined);
  return attemptCount === 0 ? { kind: 'later', at: 0, why: 'once more' } : { kind: 'done', why: 'ok' };
});
await queue.add([job('1')], { marks: [{ key: 'm', value: Buffer.from('x'), expiresAt: Date.now() + 60_000 }] });
say('acked');
while ((await queue.counts()).done === 0) {
  await new Promise((resolve) => {
    setTimeout(resolve, 5);
  });
}
say('over');
die();
