import { parseArgs } from 'node:util';
import { maxMembers } from '../../node/overlay/member-table.ts';
import { desktops } from './churn.ts';
import { lookupTable } from './lookup-table.ts';
import { runStore, type StoreFigures } from './store-run.ts';
import type { WriterFigures } from './writers.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '1000' },
    blocks: { type: 'string', default: '1000' },
    writers: { type: 'string', default: '100' },
    hours: { type: 'string', default: '6' },
    mesh: { type: 'string', default: 'all' },
  },
});
const seed = Number(values.seed);
const nodes = Number(values.nodes);
const blocks = Number(values.blocks);
const writers = Number(values.writers);
const hours = Number(values.hours);

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;

function rows(figures: StoreFigures): [string, string][] {
  return [
    ['the k nearest all down, of all blocks and samples', percent(figures.nearestAllDown)],
    ['no node that is up has a copy', percent(figures.noneUp)],
    ['reads failed', `${figures.readsFailed} of ${figures.reads}`],
    ['read, p50 and p99', `${figures.readMs.at(0.5)} and ${figures.readMs.at(0.99)} ms`],
    ['blocks lost (machines gone for good)', `${figures.lost} (${figures.gone})`],
    ['copies of a block on all disks at the end', figures.copiesPerBlock.toFixed(2)],
    ['blocks on a disk at the end, p50 and most', `${figures.held.at(0.5)} and ${figures.held.at(1)}`],
    ['comparing, per running node and hour', `${Math.round(figures.comparedBytes)} bytes`],
    ['copies made, per running node and hour', figures.copiesMade.toFixed(3)],
    ['requests of the store, per running node and hour', figures.requests.toFixed(1)],
    ...logRows(figures.logs),
    ['looking up, per running node and hour', `${(figures.lookupBytes / 1e6).toFixed(2)} MB`],
  ];
}

function logRows(logs: WriterFigures): [string, string][] {
  return [
    ['records appended, and appends failed', `${logs.appended} and ${logs.failed}`],
    ['append, p50 and p99', `${logs.appendMs.at(0.5)} and ${logs.appendMs.at(0.99)} ms`],
    ['logs that nobody can read for sure at the end', `${logs.unsure} of ${logs.writers}`],
    ['with all back: logs lost, forked; records lost', `${logs.lost}, ${logs.forked}; ${logs.recordsLost}`],
  ];
}

process.stdout.write(
  `seed ${seed}; ${nodes} nodes; ${blocks} blocks; ${writers} logs; ${hours} h after up to 1 h of settling\n` +
    `sessions of ${desktops.sessionHours} h and absences of ${desktops.downHours} h on average, exponential; ` +
    `${percent(desktops.forGood)} of departures for good\n` +
    'one way takes 20 ms (median, log-normal); bandwidth is not modelled; a node that stops is noticed after 30 s\n',
);
const wanted = nodes > maxMembers ? 'routed' : values.mesh;
const full = { copies: 3, mesh: { kind: 'full' } } as const;
const routed = { copies: 3, mesh: { kind: 'routed' } } as const;
// Above the member table's bound nobody knows everyone.
for (const how of [full, { ...full, copies: 5 }, routed]) {
  if (wanted !== 'all' && wanted !== how.mesh.kind) continue;
  const began = process.cpuUsage();
  const figures = await runStore({ seed, nodes, blocks, writers, hours, churn: desktops, ...how });
  const known = how.mesh.kind === 'full' ? 'everyone knows everyone' : 'keys are looked up';
  process.stdout.write(`\nk = ${how.copies}, ${known}\n`);
  for (const [what, figure] of rows(figures)) process.stdout.write(`  ${what.padEnd(52)} ${figure}\n`);
  const { user, system } = process.cpuUsage(began);
  process.stdout.write(`  ${'(computed in)'.padEnd(52)} ${Math.round((user + system) / 1e6)} s of one core\n`);
}

if (wanted === 'all') process.stdout.write(`\n${await lookupTable(seed, [1_000, 10_000])}`);
