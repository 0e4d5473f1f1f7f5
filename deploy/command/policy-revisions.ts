import { loadPolicy } from '../../policy/load.ts';
import { readyMade } from '../../policy/ready-made.ts';
import { InputFault } from '../config/problem.ts';
import { writeFileDurably } from '../home/files.ts';
import { controlPath, type Layout, layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type ControlAnswer, tellControl } from '../process/control-socket.ts';
import { loadPolicyFile, readPolicyText } from '../process/policy-file.ts';
import { PolicyHistory } from '../process/policy-history.ts';
import { withoutShadow } from '../process/promotion.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';

const common = { home: homeOption, json: jsonOption };
const whenActive = 'A gateway that runs on this home takes it up at once, and no session is lost.';

function problem(found: string, expected: string, suggestion: string): InputFault {
  return new InputFault([{ file: 'command line', path: '', found, expected, suggestion }]);
}

/** Puts a policy into the home, once it is found good, and keeps the one that was there. */
function replace(layout: Layout, text: string, why: string): { hash: string } {
  const history = new PolicyHistory(layout.policyHistory);
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy')
    throw problem(`a policy with ${loaded.problems.length} problems`, 'a good one', 'see `epost policy check FILE`');
  const old = loadPolicy(readPolicyText(layout.policy));
  if (old.kind === 'policy')
    history.keep(old.policy, { file: layout.policy, why: 'found in the home', now: Date.now() });
  writeFileDurably(layout.policy, text);
  history.keep(loaded.policy, { file: layout.policy, why, now: Date.now() });
  return { hash: loaded.policy.hash };
}

async function told(given: Given, layout: Layout, done: string, hash: string): Promise<number> {
  const answer = await tellControl(controlPath(layout), 'reload-policy');
  const active = answer.kind === 'answered' && (answer.value as { policy?: unknown }).policy === hash;
  if (given.switches.has('json')) printJson({ file: layout.policy, hash, active });
  else print(`${done}; ${layout.policy} has hash ${hash.slice(0, 12)} now. ${whenIn(answer, active)}`);
  return exitCodes.done;
}

function whenIn(answer: ControlAnswer, active: boolean): string {
  if (active) return 'The running gateway decides by it from now on.';
  if (answer.kind === 'away') return 'No gateway runs on this home; it is read at the next start.';
  return 'The running gateway has NOT taken it up; its log says why.';
}

function homeLayout(given: Given): Layout {
  const layout = layoutOf(homeOf(given.values, process.env));
  readRing(layout);
  return layout;
}

export const policyInit: Command = {
  name: 'policy init',
  summary: 'begin with a ready-made policy; the one that was in the home is kept in its history',
  details: `${readyMade.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join('\n')}\n${whenActive}`,
  positionals: [
    {
      name: 'NAME',
      help: readyMade.map(({ name }) => name).join(', '),
      check: (text) =>
        readyMade.some(({ name }) => name === text) ? undefined : readyMade.map(({ name }) => name).join(', '),
    },
  ],
  options: { ...common, show: { help: 'print the policy and change nothing' } },
  run: async (given) => {
    const made = readyMade.find(({ name }) => name === given.positionals[0]);
    if (made === undefined) return exitCodes.badInput;
    if (given.switches.has('show')) {
      print(made.text);
      return exitCodes.done;
    }
    const layout = homeLayout(given);
    const { hash } = replace(layout, made.text, `policy init ${made.name}`);
    return told(given, layout, `the ready-made policy ${made.name} is in place`, hash);
  },
};

export const policyHistory: Command = {
  name: 'policy history',
  summary: 'the policies that this home has had: when, by whom, hash',
  positionals: [],
  options: common,
  run: async (given) => {
    const layout = homeLayout(given);
    const revisions = new PolicyHistory(layout.policyHistory).list();
    const { hash: present } = loadPolicyFile(layout.policy);
    if (given.switches.has('json')) printJson({ present, revisions });
    else
      print(
        tableText(
          ['', 'HASH', 'SINCE', 'BY', 'HOW'],
          revisions.map(({ hash, at, author, why }) => [
            hash === present ? '*' : '',
            hash.slice(0, 12),
            at.slice(0, 19),
            author,
            why,
          ]),
        ),
      );
    return exitCodes.done;
  },
};

export const policyRollback: Command = {
  name: 'policy rollback',
  summary: 'bring back a policy that this home has had',
  details: whenActive,
  positionals: [
    {
      name: 'HASH',
      help: 'the first letters of its hash, from `epost policy history`',
      check: (text) => (/^[0-9a-f]{4,64}$/i.test(text) ? undefined : 'four or more letters of a hash'),
    },
  ],
  options: common,
  run: async (given) => {
    const layout = homeLayout(given);
    const history = new PolicyHistory(layout.policyHistory);
    const start = given.positionals[0] ?? '';
    const [revision, ...others] = history.find(start);
    if (revision === undefined) {
      process.stderr.write(
        `epost: no policy of this home has a hash that begins with ${start}; see epost policy history\n`,
      );
      return exitCodes.notFound;
    }
    if (others.length > 0)
      throw problem(`${others.length + 1} policies whose hash begins with ${start}`, 'one', 'give more of its letters');
    const { hash } = replace(layout, history.textOf(revision), `policy rollback ${revision.hash.slice(0, 12)}`);
    return told(given, layout, `the policy of ${revision.at.slice(0, 19)} is back`, hash);
  },
};

export const policyPromote: Command = {
  name: 'policy promote',
  summary: 'make a rule act that is in shadow mode',
  details: `Takes \`mode: shadow\` out of the rule, and leaves everything else in the file as it is, comments included. The file's expectations have to hold with it.\n${whenActive}`,
  positionals: [{ name: 'RULE', help: 'the id of the rule' }],
  options: common,
  run: async (given) => {
    const layout = homeLayout(given);
    const rule = given.positionals[0] ?? '';
    const text = readPolicyText(layout.policy);
    const promoted = withoutShadow(text, rule);
    if (promoted.kind === 'no-such-rule') {
      process.stderr.write(`epost: ${layout.policy} has no rule ${JSON.stringify(rule)}\n`);
      return exitCodes.notFound;
    }
    if (promoted.kind === 'acts-already')
      throw problem(`rule ${rule}, which acts already`, 'a rule with mode: shadow', 'nothing to do');
    const loaded = loadPolicy(promoted.text);
    if (loaded.kind !== 'policy')
      throw new InputFault(
        loaded.problems.map(({ line, column, path, found, expected, suggestion }) => ({
          file: `${layout.policy} with ${rule} promoted`,
          line,
          column,
          path,
          found,
          expected,
          suggestion: suggestion || 'change the rule or the expectation first',
        })),
      );
    const { hash } = replace(layout, promoted.text, `policy promote ${rule}`);
    return told(given, layout, `rule ${rule} acts now`, hash);
  },
};
