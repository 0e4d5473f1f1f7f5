/** Run by supervisor.test.ts: as the supervisor, and, forked by it, as a part that needs a moment until it hears SIGHUP. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sayReady } from '../../deploy/process/child-message.ts';
import { Supervised } from '../../deploy/process/supervisor.ts';

if (process.argv[2] === 'node') {
  // Kept alive by the channel to the supervisor.
  process.once('disconnect', () => process.exit(0));
  process.once('SIGTERM', () => process.exit(0));
  setTimeout(() => {
    process.on('SIGHUP', () => process.stderr.write('read again\n'));
    sayReady({ kind: 'ready', role: 'node', listens: {} });
  }, 200);
} else {
  const part = new Supervised('node', [], { info: () => undefined, error: () => undefined });
  const starting = part.start();
  part.reload();
  const { kind } = await starting;
  process.stdout.write(`${kind}\n`);
  // Once more, the usual way; then the end.
  part.reload();
  await sleep(200);
  await part.stop();
}
