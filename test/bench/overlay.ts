// Prints what the overlay costs: `npx node test/bench/overlay.ts`. Nodes share this process and its cores: figures are pessimistic.
import { makeRing } from '../node/overlay/ring-fixture.ts';

type Row = { readonly what: string; readonly value: string };
const rows: Row[] = [];

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

async function timed(times: number, work: () => Promise<unknown>): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const start = performance.now();
    await work();
    taken.push(performance.now() - start);
  }
  return taken;
}

async function perSecond(forMs: number, inFlight: number, work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let done = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() - start < forMs) {
      await work();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (done * 1000) / (performance.now() - start);
}

const pair = await makeRing(2);
const [asker, answerer] = pair.nodes.map(({ overlay }) => overlay);
if (asker === undefined || answerer === undefined) throw new Error('two nodes were made');
answerer.handle('echo', async (body) => body);
answerer.handle('take', async () => new Uint8Array());
const ask = (method: string, bytes: number) => {
  const body = new Uint8Array(bytes);
  return () => asker.request(answerer.self.peerId, method, body, { timeoutMs: 10_000 });
};

for (const bytes of [1024, 65_000]) {
  await timed(300, ask('take', bytes));
  const taken = await timed(1_000, ask('take', bytes));
  rows.push({
    what: `request of ${bytes} B, one at a time, p50 / p95`,
    value: `${percentile(taken, 0.5).toFixed(2)} / ${percentile(taken, 0.95).toFixed(2)} ms`,
  });
  const rate = await perSecond(2_000, 16, ask('take', bytes));
  rows.push({
    what: `request of ${bytes} B, 16 in flight`,
    value: `${rate.toFixed(0)}/s, ${((rate * bytes) / 1e6).toFixed(0)} MB/s`,
  });
}

const admissions: number[] = [];
for (let n = 0; n < 10; n += 1) {
  const start = performance.now();
  const node = await pair.addNode();
  while (!asker.isUp(node.certificate.peerId)) await new Promise((resolve) => setImmediate(resolve));
  admissions.push(performance.now() - start);
}
rows.push({
  what: 'a node made, started and admitted by the first, p50 / worst',
  value: `${percentile(admissions, 0.5).toFixed(0)} / ${Math.max(...admissions).toFixed(0)} ms`,
});
const meshStart = performance.now();
await pair.allUp();
rows.push({
  what: 'then until all 12 are connected to all',
  value: `${(performance.now() - meshStart).toFixed(0)} ms`,
});
const listed = performance.now();
const victim = pair.nodes.at(-1);
asker.offerRevocations(pair.ca.revoke([victim?.certificate.serial ?? '']));
while (pair.nodes.slice(0, -1).some(({ overlay }) => overlay.isUp(victim?.certificate.peerId ?? ''))) {
  await new Promise((resolve) => setImmediate(resolve));
}
rows.push({
  what: 'a revoked node is cut off by all 11 others',
  value: `${(performance.now() - listed).toFixed(0)} ms`,
});
const key = new Uint8Array(32).fill(7);
const placed = await timed(2_000, async () => asker.closest(key, 3));
rows.push({ what: 'closest(key, 3) among 11', value: `${(percentile(placed, 0.5) * 1000).toFixed(0)} µs` });
rows.push({ what: 'memory of this process, 12 nodes', value: `${(process.memoryUsage().rss / 1e6).toFixed(0)} MB` });
await pair.stop();

for (const { what, value } of rows) process.stdout.write(`${what.padEnd(64)} ${value}\n`);
