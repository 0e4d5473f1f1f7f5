import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { openLog } from '../../../node/log/log.ts';
import { LogDisk } from '../../../node/log/log-disk.ts';
import { openStore } from '../../../node/store/store.ts';
import { address, FakeOverlayNetwork, silentLog } from '../overlay/fake-overlay.ts';

const child = fileURLToPath(new URL('./crash-child.ts', import.meta.url));
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-crash-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Runs the child until it has acknowledged so many records, then kills it as a power cut would end it. */
async function appendAndDie(acknowledgements: number, acked: Map<number, string>): Promise<number> {
  const running = spawn(process.execPath, [child, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  let start = -1;
  let seen = 0;
  for await (const line of createInterface({ input: running.stdout })) {
    const space = line.indexOf(' ');
    if (line.startsWith('start')) start = Number(line.slice(space + 1));
    // The last line may be cut off: a whole one ends in x.
    else if (line.endsWith('x'.repeat(300))) {
      acked.set(Number(line.slice(0, space)), line.slice(space + 1));
      if (++seen >= acknowledgements) running.kill('SIGKILL');
    }
  }
  if (running.exitCode === null && running.signalCode === null) await once(running, 'exit');
  return start;
}

async function recovered(): Promise<string[]> {
  const network = new FakeOverlayNetwork();
  const { overlay } = network.add();
  const store = await openStore({ overlay, dir: path.join(dir, 'store'), now: Date.now, log: silentLog });
  const disk = await LogDisk.open(path.join(dir, 'logs'));
  const log = await openLog({
    store,
    disk,
    signing: signingKeyFromSeed(new Uint8Array(32).fill(1)),
    secret: new Uint8Array(32).fill(2),
    name: 'crash',
    owner: address('alice@example.org'),
    create: false,
    now: Date.now,
    log: silentLog,
  });
  const read: string[] = [];
  for await (const item of log.read(0)) if (item.kind === 'record') read.push(Buffer.from(item.record).toString());
  await log.close();
  await store.stop();
  await disk.close();
  return read;
}

it('every record that was acknowledged before kill -9 is there, at its number, however often it happens', async () => {
  const acked = new Map<number, string>();
  for (const [round, count] of [40, 3, 150, 60].entries()) {
    const start = await appendAndDie(count, acked);
    expect(start).toBeGreaterThanOrEqual(round === 0 ? 0 : 40);
  }
  const log = await recovered();
  expect(acked.size).toBeGreaterThanOrEqual(253);
  for (const [seq, text] of acked) expect(log[seq]).toBe(text);
});
