import { Replay, type ReplayReport } from '../../policy/replay.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { loadPolicyFile } from '../process/policy-file.ts';
import { noteAccess } from '../trace/access-log.ts';
import { pastDecisions } from '../trace/decisions.ts';
import { TraceStore } from '../trace/store.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const defaultSince = '30d';

function lengthOf(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const ms = units[unit];
  return amount === undefined || ms === undefined ? undefined : Number(amount) * ms;
}

export const policyReplay: Command = {
  name: 'policy replay',
  summary: 'decide stored mail again with a policy, and show what would change; nothing is delivered or changed',
  details:
    'Decides by what was known then; limits start empty and run by the times of then. Each message is led through connect, mail, rcpt and data.\nSamples are trace ids: `epost explain ID` tells how each was decided. Who looked is written down in trace/access.log.',
  positionals: [{ name: 'FILE', help: 'the new policy (default: the home’s policy.yaml)', optional: true }],
  options: {
    home: homeOption,
    since: {
      value: 'TIME',
      help: `how far back: minutes, hours or days, as 90m, 12h or 7d (default: ${defaultSince}, which is all)`,
      check: (text) => (lengthOf(text) === undefined ? 'a number and m, h or d, such as 7d' : undefined),
    },
    json: jsonOption,
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const file = given.positionals[0] ?? layout.policy;
    const policy = loadPolicyFile(file);
    const since = given.values['since'] ?? defaultSince;
    const store = new TraceStore({
      folder: layout.trace,
      now: Date.now,
      onFault: (fault) => process.stderr.write(`epost: ${String(fault)}\n`),
    });
    try {
      noteAccess(layout.trace, { command: 'policy replay', of: `all since ${since}`, now: Date.now() });
      const replay = new Replay(policy);
      let damaged = 0;
      for (const past of pastDecisions(store, Date.now() - (lengthOf(since) ?? 0), () => (damaged += 1)))
        replay.add(past);
      const report = replay.report();
      if (given.switches.has('json')) printJson({ policy: policy.hash, since, damaged, ...report });
      else print(reportText(report, { file, since, damaged }));
      return exitCodes.done;
    } finally {
      await store.close();
    }
  },
};

function reportText(
  { decided, changed, changes, senders, shadow }: ReplayReport,
  { file, since, damaged }: { readonly file: string; readonly since: string; readonly damaged: number },
): string {
  const passedOver = damaged === 0 ? '' : `; ${damaged} without usable evidence were passed over`;
  const parts = [`${file}: of ${decided} decisions of the last ${since}, ${changed} would be another${passedOver}`];
  if (changes.length > 0)
    parts.push(
      tableText(
        ['COUNT', 'WAS', 'BY RULE', 'WOULD BE', 'BY RULE', 'CLASS', 'SAMPLES'],
        changes.map((change) => [
          String(change.count),
          change.from.verdict,
          change.from.rule,
          change.to.verdict,
          change.to.rule,
          change.class,
          change.samples.join(' '),
        ]),
      ),
      tableText(
        ['COUNT', 'SENDER'],
        senders.map(({ sender, count }) => [String(count), printable(sender)]),
      ),
    );
  if (shadow.length > 0)
    parts.push(
      tableText(
        ['COUNT', 'RULE IN SHADOW MODE', 'SAMPLES'],
        shadow.map(({ rule, count, samples }) => [String(count), rule, samples.join(' ')]),
      ),
    );
  return parts.join('\n\n');
}
