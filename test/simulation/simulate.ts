import { parseArgs } from 'node:util';
import { maxMembers } from '../../node/overlay/member-table.ts';
import { desktops } from './churn.ts';
import { lookupTable } from './lookup-table.ts';
import { runStore, type StoreFigures, settlingMinutes } from './store-run.ts';
import type { WriterFigures } from './writers.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '1000,10000' },
    blocks: { type: 'string', default: '1000' },
    writers: { type: 'string', default: '100' },
    hours: { type: 'string' },
    mesh: { type: 'string', default: 'all' },
  },
});
const seed = Number(values.seed);
const sizes = values.nodes.split(',').map(Number);
const blocks = Number(values.blocks);
const writers = Number(values.writers);
// Some minutes of one core for either.
const hoursOf = (nodes: number): number => Number(values.hours ?? (nodes > maxMembers ? 1 : 6));

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
    ...(figures.lookupBytes === 0 ? [] : lookupRows(figures)),
  ];
}

function lookupRows({ lookupBytes, contacts, known }: StoreFigures): [string, string][] {
  return [
    ['looking up, per running node and hour', `${(lookupBytes / 1e6).toFixed(2)} MB, dialling for it included`],
    ['members that a node keeps, p50 and most', `${contacts.at(0.5)} and ${contacts.at(1)}`],
    ['members that it remembers, p50 and most', `${known.at(0.5)} and ${known.at(1)}`],
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

// A fault is a value in most of what is simulated: where it came from says nothing, and is a tenth of the work.
Error.stackTraceLimit = 0;
process.stdout.write(
  `seed ${seed}; sessions of ${desktops.sessionHours} h and absences of ${desktops.downHours} h on average, exponential; ` +
    `${percent(desktops.forGood)} of departures for good\n` +
    'one way takes 20 ms (median, log-normal); bandwidth is not modelled; a node that stops is noticed after 30 s\n',
);
const full = { copies: 3, mesh: { kind: 'full' } } as const;
const routed = { copies: 3, mesh: { kind: 'routed' } } as const;
for (const nodes of sizes) {
  // Above the member table's bound nobody knows everyone.
  const ways = nodes > maxMembers ? [routed] : [full, { ...full, copies: 5 }, routed];
  for (const how of ways.filter(({ mesh }) => values.mesh === 'all' || values.mesh === mesh.kind)) {
    const began = process.cpuUsage();
    const hours = hoursOf(nodes);
    const figures = await runStore({ seed, nodes, blocks, writers, hours, churn: desktops, ...how });
    const known = how.mesh.kind === 'full' ? 'everyone knows everyone' : 'keys are looked up';
    process.stdout.write(
      `\n${nodes} nodes, k = ${how.copies}, ${known}; ${blocks} blocks, ${writers} logs; ${hours} h after ${settlingMinutes} min of settling\n`,
    );
    for (const [what, figure] of rows(figures)) process.stdout.write(`  ${what.padEnd(52)} ${figure}\n`);
    const { user, system } = process.cpuUsage(began);
    process.stdout.write(`  ${'(computed in)'.padEnd(52)} ${Math.round((user + system) / 1e6)} s of one core\n`);
  }
}

if (values.mesh === 'all') process.stdout.write(`\n${await lookupTable(seed, sizes)}`);
