import { desktops } from './churn.ts';
import { runLookups } from './lookup-run.ts';

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** Lookups in rings of these sizes, honest and with a quarter lying, as lines of a table. */
export async function lookupTable(seed: number, sizes: readonly number[]): Promise<string> {
  const lines = [
    'lookups of the 3 nearest of all members, up or down; sessions and absences as above; 90 min after 30 min of settling',
    '  nodes   lying   right     hops p50/p99   asked p50/p99   ms p50/p99     contacts p50/most   questions to stay fresh /node h',
  ];
  for (const nodes of sizes)
    for (const liars of [0, 0.25]) {
      const figures = await runLookups({
        seed,
        nodes,
        minutes: 90,
        lookups: 900,
        observed: 50,
        liars,
        churn: desktops,
      });
      const { hops, asked, ms, state } = figures;
      const cells = [
        String(nodes).padStart(7),
        percent(liars).padStart(7),
        percent(figures.right).padStart(8),
        `${hops.at(0.5)} / ${hops.at(0.99)}`.padStart(14),
        `${asked.at(0.5)} / ${asked.at(0.99)}`.padStart(14),
        `${ms.at(0.5)} / ${ms.at(0.99)}`.padStart(14),
        `${state.at(0.5)} / ${state.at(1)}`.padStart(16),
        figures.maintenance.toFixed(0).padStart(10),
      ];
      lines.push(cells.join('  '));
    }
  return `${lines.join('\n')}\n`;
}
