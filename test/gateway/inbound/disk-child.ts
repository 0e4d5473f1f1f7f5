/** Run by disk.test.ts: an MX listener over a queue whose disk is disturbed from outside. The folder, then its settings as JSON. */
import { startUnderTest } from './listener-under-test.ts';

const [dir = '', settings = '{}'] = process.argv.slice(2);
const { decisionMs, slowMs } = JSON.parse(settings) as { decisionMs: number; slowMs: number };
// As deploy/process does it: lmdb rejects promises of its own when a commit fails, beside telling whoever wrote.
process.on('unhandledRejection', () => undefined);
// Ids must not come again in the next life.
let serial = 0;
const { port } = await startUnderTest({
  dir,
  slowMs,
  // As the gateway's process does; whoever runs it starts it again.
  onBroken: () => process.exit(1),
  limits: { decisionMs },
  parts: { newTraceId: () => `t${process.pid}x${(serial += 1)}` },
});
process.stdout.write(`${port}\n`);
