import { maxTargets } from '../../node/mail/forward/instruction.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import type { ForwardAnswer } from '../process/forward-admin.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';
import { addressesProblem, addressIn, addressWord } from './words.ts';

const common: Readonly<Record<string, Option>> = { home: homeOption, json: jsonOption };
const userWord = addressWord('a user whose mailbox lives on this machine');
const details =
  'Give it on the machine that the user’s mailbox lives on, while its node runs; his other machines take it up. What his policy does not put into the inbox is not forwarded.';

async function ask(given: Given, set?: { to: readonly string[]; keep: boolean }): Promise<number> {
  const layout = layoutOf(homeOf(given.values, process.env));
  readRing(layout);
  const user = addressIn(given.positionals[0]);
  const told = await askNode(layout, 'forward', { user, ...(set === undefined ? {} : { set }) });
  if (told.kind === 'away')
    throw new HomeFault('in-use', 'the node of this home does not run; start it with `epost up` or `epost node`');
  const answer = told.value as ForwardAnswer;
  if ('trouble' in answer) {
    if (answer.isStranger === true)
      throw new HomeFault('no-such-user', `${user} ${answer.trouble}; \`epost user list\` shows who has`);
    throw new HomeFault('not-done', `${user}: ${answer.trouble}`);
  }
  if (given.switches.has('json')) printJson({ user, ...answer });
  else if (answer.to.length === 0) print(`mail for ${user} stays here`);
  else print(`mail for ${user} goes to ${answer.to.join(', ')}${answer.keep ? ', and a copy stays' : ''}`);
  return exitCodes.done;
}

export const forwardSet: Command = {
  name: 'forward set',
  summary: 'have a user’s mail sent on, in the ring or to the Internet',
  details: `${details}\nMail that came from the Internet leaves with an ARC seal, and under a return path of this ring.`,
  positionals: [
    userWord,
    { name: 'ADDRESSES', help: `where to: one, or up to ${maxTargets} with commas between`, check: targetsProblem },
  ],
  options: { ...common, 'no-copy': { help: 'keep no copy in the inbox' } },
  run: (given) => ask(given, { to: (given.positionals[1] ?? '').split(','), keep: !given.switches.has('no-copy') }),
};

function targetsProblem(text: string): string | undefined {
  return text.split(',').length > maxTargets ? `${maxTargets} addresses at most` : addressesProblem(text);
}

export const forwardShow: Command = {
  name: 'forward show',
  summary: 'where a user’s mail is sent on to',
  positionals: [userWord],
  options: common,
  run: (given) => ask(given),
};

export const forwardClear: Command = {
  name: 'forward clear',
  summary: 'send a user’s mail on no more',
  details,
  positionals: [userWord],
  options: common,
  run: (given) => ask(given, { to: [], keep: true }),
};
