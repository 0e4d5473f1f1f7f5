import { parseArgs } from 'node:util';
import { desktops } from './churn.ts';
import { lookupTable } from './lookup-table.ts';
import { runStore, type StoreFigures } from './store-run.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '1000' },
    blocks: { type: 'string', default: '1000' },
    hours: { type: 'string', default: '6' },
  },
});
const seed = Number(values.seed);
const nodes = Number(values.nodes);
const blocks = Number(values.blocks);
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
  ];
}

process.stdout.write(
  `seed ${seed}; ${nodes} nodes, every one connected to every one; ${blocks} blocks; ${hours} h after 1 h of settling\n` +
    `sessions of ${desktops.sessionHours} h and absences of ${desktops.downHours} h on average, exponential; ` +
    `${percent(desktops.forGood)} of departures for good\n` +
    'one way takes 20 ms (median, log-normal); bandwidth is not modelled; a node that stops is noticed after 30 s\n',
);
for (const copies of [3, 5]) {
  const figures = await runStore({ seed, nodes, blocks, hours, copies, churn: desktops, mesh: { kind: 'full' } });
  process.stdout.write(`\nk = ${copies}\n`);
  for (const [what, figure] of rows(figures)) process.stdout.write(`  ${what.padEnd(52)} ${figure}\n`);
}

process.stdout.write(`\n${await lookupTable(seed, [1_000, 10_000])}`);
