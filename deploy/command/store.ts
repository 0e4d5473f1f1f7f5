import { setTimeout as sleep } from 'node:timers/promises';
import { askNode } from '../home/ask-node.ts';
import { type Layout, layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import type { StoreCheckReport, StoreCheckState } from '../process/store-check.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';

const options = { home: homeOption, json: jsonOption };
const pollMs = 300;

interface StoreNumbers {
  readonly stats: Readonly<Record<string, number>>;
  readonly accounts: readonly { readonly payer: string; readonly bytes: number }[];
  readonly quota: { readonly identityBytes: number; readonly othersBytes: number };
}

function homeLayout(given: Given): Layout {
  const layout = layoutOf(homeOf(given.values, process.env));
  readRing(layout);
  return layout;
}

function away(given: Given, layout: Layout): number {
  if (given.switches.has('json')) printJson({ running: false });
  process.stderr.write(`epost: no node runs on ${layout.home}; start it with \`epost up --home ${layout.home}\`\n`);
  return exitCodes.unavailable;
}

export const storeStats: Command = {
  name: 'store stats',
  summary: 'what the node of this home keeps for the ring: blocks, leases, trash, and on whose account',
  details:
    'An account is an identity, or "for others by OWNER": what nodes of that owner brought in the names of others who have not confirmed it yet. Bytes are those of whole blocks, counted for everyone who wants them kept.',
  positionals: [],
  options,
  run: async (given) => {
    const layout = homeLayout(given);
    const told = await askNode(layout, 'store-stats', {});
    if (told.kind === 'away') return away(given, layout);
    const { stats, accounts, quota } = told.value as StoreNumbers;
    if (given.switches.has('json')) {
      printJson({ stats, quota, accounts });
      return exitCodes.done;
    }
    print(
      tableText(
        ['WHAT', 'COUNT'],
        Object.entries(stats).map(([name, value]) => [name, `${value}`]),
      ),
    );
    print(
      tableText(
        ['ACCOUNT', 'BYTES', 'OF'],
        accounts.map(({ payer, bytes }) => {
          const forOthers = payer.startsWith('*');
          const whole = forOthers ? quota.othersBytes : quota.identityBytes;
          const share = `${((100 * bytes) / whole).toFixed(1)} %`;
          return [forOthers ? `for others by ${payer.slice(1)}` : payer, `${bytes}`, share];
        }),
      ),
    );
    return exitCodes.done;
  },
};

export const storeVerify: Command = {
  name: 'store verify',
  summary: 'read and hash everything that the running node keeps, and mend it from the other holders',
  details:
    'Compares with the other holders too, gives them what they lack, and sums up the accounts anew. The node goes on serving. Exit code 1: there are damaged copies that no other holder could replace; 4: no node runs, or some holders did not answer.',
  positionals: [],
  options,
  run: async (given) => {
    const layout = homeLayout(given);
    for (let begin = true; ; begin = false) {
      const told = await askNode(layout, 'store-verify', { begin });
      if (told.kind === 'away') return away(given, layout);
      const state = told.value as StoreCheckState;
      if (state.at === 'done') return verified(given, state.report);
      if (state.at === 'failed') throw new Error(`the store could not be verified: ${state.why}`);
      await sleep(pollMs);
    }
  },
};

function verified(given: Given, report: StoreCheckReport): number {
  if (given.switches.has('json')) printJson(report);
  else {
    const { compared, damaged, healed, pushed, unreached, setAside, accountsMended, seconds } = report;
    print(`${compared} blocks, heads and entries in ${seconds} s: ${damaged} damaged, ${healed} of them replaced`);
    if (pushed > 0) print(`${pushed} copies given to holders that lacked them`);
    if (accountsMended > 0) print(`${accountsMended} accounts summed up wrongly; they are right now`);
    if (setAside > 0)
      print(`${setAside} damaged copies are set aside: no other holder had a whole one, or could be asked`);
    if (unreached > 0) print(`${unreached} holders could not be asked; the node tries again by itself`);
  }
  if (report.setAside > 0) return exitCodes.failed;
  return report.unreached > 0 ? exitCodes.unavailable : exitCodes.done;
}
