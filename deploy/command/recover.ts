import { z } from 'zod';
import { parseAddress } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time as people write it: 2026-11-20T06:00 (of this machine), with Z in UTC, or how long ago (6h). Undefined for anything else. */
export function timeOf(text: string, now: number): number | undefined {
  const ago = /^(\d{1,6})([mhd])$/.exec(text);
  if (ago !== null) return now - Number(ago[1]) * (unitMs[ago[2] ?? ''] ?? 0);
  if (!/^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) return undefined;
  const at = Date.parse(text.replace(' ', 'T'));
  return Number.isNaN(at) ? undefined : at;
}

const folderShape = z.object({
  name: z.string(),
  broughtBack: z.number(),
  setAside: z.number(),
  flagged: z.number(),
  made: z.boolean(),
  trouble: z.string().optional(),
});
const answerShape = z.array(
  z.object({
    user: z.string(),
    trouble: z.string().optional(),
    isStranger: z.literal(true).optional(),
    backups: z.array(z.number()).optional(),
    kept: z.number().optional(),
    at: z.number().optional(),
    aside: z.string().optional(),
    folders: z.array(folderShape).optional(),
  }),
);
type Answer = z.infer<typeof answerShape>[number];

export const recover: Command = {
  name: 'recover',
  summary: 'make mailboxes what they were at a time in the last seven days',
  details: [
    'The heads of all folders are kept every six hours, for seven days. Without --to the times are listed.',
    'Messages that have gone since come back, flags and folders become what they were, and what came since is moved to a folder of its own',
    '("Set aside …"). Nothing is rolled back: the changes are added, every machine and program of the user sees them, and the state just before is',
    'kept as one more time to go back to. --dry-run says what would change. The node of the home must run.',
  ].join('\n'),
  positionals: [],
  options: {
    home: homeOption,
    to: {
      value: 'TIME',
      help: '2026-11-20T06:00 (of this machine; with Z in UTC), or how long ago: 30m, 6h, 2d',
      check: (text) =>
        timeOf(text, Date.now()) === undefined ? 'a time such as 2026-11-20T06:00, or 30m, 6h or 2d' : undefined,
    },
    user: {
      value: 'ADDRESS',
      help: 'only this user (default: all with a mailbox on this machine)',
      check: (text) => (parseAddress(text).kind === 'address' ? undefined : 'a mail address'),
    },
    'dry-run': { help: 'change nothing, say what would change' },
    keep: { help: 'keep the heads as they are now, whatever the hour' },
    json: jsonOption,
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const told = await askNode(layout, 'recover', question(given));
    if (told.kind === 'away') {
      process.stderr.write(`epost: no node runs on ${layout.home}; start it with \`epost up --home ${layout.home}\`\n`);
      return exitCodes.unavailable;
    }
    const answers = answerShape.parse(told.value);
    if (given.switches.has('json')) printJson({ users: answers });
    else for (const answer of answers) print(textOf(answer, given.switches.has('dry-run')));
    if (answers.some(({ isStranger }) => isStranger)) return exitCodes.notFound;
    const troubled = answers.some(
      ({ trouble, folders }) => trouble !== undefined || folders?.some((one) => one.trouble),
    );
    return troubled ? exitCodes.failed : exitCodes.done;
  },
};

function question(given: Given): Readonly<Record<string, unknown>> {
  const { to, user } = given.values;
  const who = user === undefined ? {} : { user };
  if (given.switches.has('keep') && to !== undefined)
    throw new InputFault([
      {
        file: 'command line',
        path: '--keep',
        found: 'both --keep and --to',
        expected: 'one of them',
        suggestion: 'going back keeps what is there now anyway',
      },
    ]);
  if (given.switches.has('keep')) return { kind: 'keep', ...who };
  if (to === undefined) return { kind: 'list', ...who };
  return { kind: 'recover', ...who, to: timeOf(to, Date.now()) ?? 0, dryRun: given.switches.has('dry-run') };
}

const shown = (at: number): string => new Date(at).toISOString();

function textOf({ user, trouble, backups, kept, at, aside, folders }: Answer, dryRun: boolean): string {
  if (trouble !== undefined) return `${user}: ${printable(trouble)}`;
  if (kept !== undefined) return `${user}: kept as of ${shown(kept)}`;
  if (backups !== undefined)
    return backups.length === 0
      ? `${user}: nothing is kept yet; a node begins a minute after it has started`
      : `${user}: can go back to\n${backups.map((one) => `  ${shown(one)}`).join('\n')}`;
  const changed = (folders ?? []).filter(
    (one) => one.trouble !== undefined || one.made || one.broughtBack + one.setAside + one.flagged > 0,
  );
  const title = `${user}: ${dryRun ? 'would go' : 'went'} back to ${shown(at ?? 0)}`;
  if (changed.length === 0) return `${title}; nothing is different`;
  const rows = changed.map((one) => [
    printable(one.name),
    `${one.broughtBack}`,
    `${one.setAside}`,
    `${one.flagged}`,
    one.trouble ?? (one.made ? 'made again' : ''),
  ]);
  const table = tableText(['FOLDER', 'BROUGHT BACK', 'SET ASIDE', 'FLAGS', ''], rows);
  const where = changed.some(({ setAside }) => setAside > 0) ? `\nset aside in: ${printable(aside ?? '')}` : '';
  return `${title}\n${table}${where}`;
}
