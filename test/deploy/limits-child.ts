/** A gateway that takes from one shared bucket for a while, as fast as it can or so many a second; prints how often it could. */
import { setImmediate as turn } from 'node:timers/promises';
import { SharedLimits } from '../../deploy/process/shared-limits.ts';
import { Limits, type Rate } from '../../policy/limits.ts';

const [url = '', forMs = '', rateText = '', perSecond = 'Infinity'] = process.argv.slice(2);
const rate = JSON.parse(rateText) as Rate;
const silent = { info: () => undefined, warn: () => undefined };
const limits = new SharedLimits({ url, name: 'test', own: new Limits(), now: Date.now, log: silent });
// Both begin together, and connected: until then each would limit by itself.
await limits.ready(30_000);
process.stdout.write('ready\n');
await new Promise((resolve) => process.stdin.once('data', resolve));
let taken = 0;
let tried = 0;
const start = Date.now();
while (Date.now() - start < Number(forMs)) {
  const wanted = Math.min(20, ((Date.now() - start) / 1000) * Number(perSecond) - tried);
  for (let n = 0; n < wanted; n += 1) {
    tried += 1;
    if (limits.take('sender', 1, rate, Date.now()).kind === 'within') taken += 1;
  }
  await turn();
}
process.stdout.write(`${JSON.stringify({ taken, start, end: Date.now() })}\n`);
process.exit(0);
