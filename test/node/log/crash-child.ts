import path from 'node:path';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { openLog } from '../../../node/log/log.ts';
import { LogDisk } from '../../../node/log/log-disk.ts';
import { openStore } from '../../../node/store/store.ts';
import { address, FakeOverlayNetwork, silentLog } from '../overlay/fake-overlay.ts';

// Appends until it is killed, and prints the number of each record that was acknowledged. Argument: the folder to work in.
const dir = process.argv[2] ?? '';
const network = new FakeOverlayNetwork();
const { overlay } = network.add();
const store = await openStore({ overlay, dir: path.join(dir, 'store'), now: Date.now, log: silentLog });
const log = await openLog({
  store,
  disk: await LogDisk.open(path.join(dir, 'logs')),
  signing: signingKeyFromSeed(new Uint8Array(32).fill(1)),
  secret: new Uint8Array(32).fill(2),
  name: 'crash',
  owner: address('alice@example.org'),
  create: true,
  now: Date.now,
  log: silentLog,
});
process.stdout.write(`start ${log.length}\n`);

async function writer(): Promise<void> {
  for (;;) {
    const text = `record ${Math.random()} ${'x'.repeat(300)}`;
    const { first } = await log.append([Buffer.from(text)]);
    process.stdout.write(`${first} ${text}\n`);
  }
}
await Promise.all(Array.from({ length: 8 }, writer));
