import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { generateIdentityKeys } from '../../node/identity/keys.ts';
import { openLog } from '../../node/log/log.ts';
import { LogDisk } from '../../node/log/log-disk.ts';
import { type ContentRef, getContent, putContent } from '../../node/store/content.ts';
import { openStore, type Store } from '../../node/store/store.ts';
import { address, silentLog } from '../node/overlay/fake-overlay.ts';
import { makeRing } from '../node/overlay/ring-fixture.ts';

// Real nodes in one process (TCP, Noise, Yamux on loopback) with real disks. So three nodes share one core here: on machines of their own
// they are faster. Reads are of blocks that the reader has ("near") or has to fetch ("far").
const lease = { identity: address('alice@example.org'), until: Date.now() + 86_400_000 };
const sizes: readonly [string, number, number, number][] = [
  ['1 KiB', 1024, 2_000, 32],
  ['64 KiB', 60 * 1024, 400, 16],
  ['5 MiB', 5 * 1024 * 1024, 10, 1],
];

interface Figures {
  readonly each: number;
  readonly p50: number;
  readonly p99: number;
}

/** Runs `work` for 0 to count-1, `atOnce` at a time: per second, and how long one takes. */
async function measure(count: number, atOnce: number, work: (index: number) => Promise<unknown>): Promise<Figures> {
  const took: number[] = [];
  let next = 0;
  const begun = performance.now();
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const start = performance.now();
      await work(index);
      took.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const each = (count * 1000) / (performance.now() - begun);
  took.sort((left, right) => left - right);
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  return { each, p50: at(0.5), p99: at(0.99) };
}

function line(what: string, { each, p50, p99 }: Figures, bytes?: number): void {
  const rate = bytes === undefined ? '' : `${((each * bytes) / 1e6).toFixed(1)} MB/s`;
  const figures = [
    `${each.toFixed(each < 100 ? 1 : 0)}/s`,
    rate,
    `p50 ${p50.toFixed(2)} ms`,
    `p99 ${p99.toFixed(2)} ms`,
  ];
  process.stdout.write(`${what.padEnd(52)}  ${figures.filter((part) => part !== '').join('  ')}\n`);
}

async function benchStore(title: string, writer: Store, reader: Store): Promise<void> {
  for (const [name, size, count, atOnce] of sizes) {
    const refs: ContentRef[] = [];
    const bodies = Array.from({ length: count }, () => randomBytes(size));
    const inserted = await measure(count, atOnce, async (index) => {
      refs.push(await putContent(writer, bodies[index] ?? new Uint8Array(), { kind: 'convergent' }, lease));
    });
    line(`${title}: insert ${name}, ${atOnce} at once`, inserted, size);
    const read = await measure(count, atOnce, (index) => getContent(reader, refs[index] ?? never()));
    line(`${title}: read ${name}, ${atOnce} at once`, read, size);
  }
}

async function benchLog(title: string, store: Store, dir: string): Promise<void> {
  const disk = await LogDisk.open(path.join(dir, 'bench-logs'));
  const keys = generateIdentityKeys();
  const log = await openLog({
    store,
    disk,
    signing: keys.signing,
    secret: keys.export().subarray(0, 32),
    name: 'bench',
    owner: lease.identity,
    create: true,
    now: Date.now,
    log: silentLog,
  });
  const record = randomBytes(300);
  line(`${title}: append of 300 B, one at a time`, await measure(300, 1, () => log.append([record])));
  line(`${title}: append of 300 B, 64 at once`, await measure(10_000, 64, () => log.append([record])));
  const start = performance.now();
  let count = 0;
  for await (const _ of log.read(0)) count++;
  process.stdout.write(
    `${`${title}: replay of ${count} records`.padEnd(52)}  ${Math.round((count * 1000) / (performance.now() - start))}/s\n`,
  );
  await log.close();
  await disk.close();
}

function never(): never {
  throw new Error('every insert has made a reference');
}

async function bench(nodes: number, title: string): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-bench-store-'));
  const ring = await makeRing(nodes);
  const stores = await Promise.all(
    ring.nodes.map(({ overlay }, index) =>
      openStore({ overlay, dir: path.join(dir, `${index}`), now: Date.now, log: silentLog }),
    ),
  );
  const [first, last] = [stores[0] ?? never(), stores.at(-1) ?? never()];
  await benchStore(title, first, last);
  await benchLog(title, first, dir);
  for (const store of stores) await store.stop();
  await ring.stop();
  await rm(dir, { recursive: true, force: true });
}

await bench(1, 'one node');
await bench(3, 'three nodes, near');
await bench(5, 'five nodes, near or far');
