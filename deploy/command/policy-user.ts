import { existsSync, rmSync } from 'node:fs';
import { type Address, parseAddress, parseDomain } from '../../policy/address.ts';
import { readyMadeForRecipients } from '../../policy/ready-made.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { syncFolder, writeFileDurably } from '../home/files.ts';
import { type Layout, layoutOf, userFiles } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type PeopleList, withPerson } from '../process/people.ts';
import { policyOf, readPolicyText } from '../process/policy-file.ts';
import { checkPolicyFile } from './check.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';
import { addressWord as addressWordOf } from './words.ts';

const common: Readonly<Record<string, Option>> = { home: homeOption, json: jsonOption };
const where =
  'It is decided by on the machine that the user’s mailbox lives on, which need not be the gateway’s: give the command there. A running node takes it up at once.';
const names = readyMadeForRecipients.map(({ name }) => name);
const addressWord = addressWordOf('a user whose mailbox lives on this machine');

function userOf(given: Given): { layout: Layout; address: Address; file: string } {
  const layout = layoutOf(homeOf(given.values, process.env));
  readRing(layout);
  const parsed = parseAddress(given.positionals[0] ?? '');
  if (parsed.kind !== 'address') throw new TypeError('the address was not checked');
  const { folder, policy } = userFiles(layout, parsed.address);
  if (!existsSync(folder))
    throw new HomeFault(
      'no-such-user',
      `${parsed.address} has no mailbox on this home; \`epost user list\` shows who has`,
    );
  return { layout, address: parsed.address, file: policy };
}

export const policyUserSet: Command = {
  name: 'policy user set',
  summary: 'give a user a policy of his own for what comes to him, once it is found good',
  details: `POLICY is a file, or one of those that are ready-made:\n${readyMadeForRecipients.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`).join('\n')}\nIt can be stricter than the organisation's, or trust a person by name; what it cannot settle stays as the organisation decided.\n${where}`,
  positionals: [addressWord, { name: 'POLICY', help: `a file, or ${names.join(' or ')}` }],
  options: { ...common, show: { help: 'print it and change nothing' } },
  run: async (given) => {
    const { layout, address, file } = userOf(given);
    const [, source = ''] = given.positionals;
    const text = readyMadeForRecipients.find(({ name }) => name === source)?.text ?? readPolicyText(source);
    const { hash } = policyOf(text, source, 'recipient');
    if (given.switches.has('show')) {
      print(text);
      return exitCodes.done;
    }
    const running = await putInPlace(layout, file, text);
    if (given.switches.has('json')) printJson({ address, file, hash, running });
    else
      print(
        `what comes to ${address} is decided by ${file} ${running ? 'from now on' : 'from the next start of the node on'}; hash ${hash.slice(0, 12)}`,
      );
    return exitCodes.done;
  },
};

/** Whether a node runs, and so decides by it from now on. */
async function putInPlace(layout: Layout, file: string, text: string): Promise<boolean> {
  writeFileDurably(file, text);
  return (await askNode(layout, 'reload', {})).kind === 'answered';
}

const verbs: Readonly<Record<'trust' | 'block', { list: PeopleList; summary: string; who: string; details: string }>> =
  {
    trust: {
      list: 'friends',
      summary: 'let one person’s mail to a user into his inbox, whatever the organisation says',
      who: 'the mail address of the person',
      details: 'It counts where the person is proven to have written: by a signature of the ring, or DMARC.',
    },
    block: {
      list: 'blocked',
      summary: 'refuse to a user what one person, or everybody of a domain, writes to him',
      who: 'a mail address, or a domain',
      details:
        'The sender is told that it was refused. Who is trusted now is so no longer; `policy user trust` turns it round.',
    },
  };

/** `policy user trust`, `policy user block`. */
export const policyUserPeople: readonly Command[] = (['trust', 'block'] as const).map((verb) => ({
  name: `policy user ${verb}`,
  summary: verbs[verb].summary,
  details: `${verbs[verb].details}\nA user without a policy of his own gets the ready-made \`people\`, which leaves all else to the organisation.\n${where}`,
  positionals: [addressWord, { name: 'WHO', help: verbs[verb].who, check: (text) => entryOf(text, verb).problem }],
  options: common,
  run: async (given) => {
    const { layout, address, file } = userOf(given);
    const { list } = verbs[verb];
    const { entry } = entryOf(given.positionals[1] ?? '', verb);
    const people = readyMadeForRecipients.find(({ name }) => name === 'people')?.text ?? '';
    const changed = withPerson(existsSync(file) ? readPolicyText(file) : people, list, entry);
    if (changed.kind === 'no-list')
      throw new InputFault([
        {
          file,
          path: `lists.${list}`,
          found: 'no such list, so no rule that would heed an entry',
          expected: `a list \`${list}\` and a rule that asks for it`,
          suggestion: 'see `epost policy user set --help` for those that are ready-made, or edit the file and `set` it',
        },
      ]);
    const running = changed.kind === 'written' && (await setText(layout, file, changed.text));
    if (given.switches.has('json')) printJson({ address, list, entry, changed: changed.kind === 'written', running });
    else if (changed.kind === 'there-already') print(`${entry} is among the ${list} of ${address} already`);
    else
      print(
        `${entry} is among the ${list} of ${address} ${running ? 'from now on' : 'from the next start of the node on'}`,
      );
    return exitCodes.done;
  },
}));

/** Checked whole first: a bad file never replaces a good one. */
async function setText(layout: Layout, file: string, text: string): Promise<boolean> {
  policyOf(text, file, 'recipient');
  return await putInPlace(layout, file, text);
}

// Trust is for a person; a domain can only be blocked.
function entryOf(text: string, verb: 'trust' | 'block'): { entry: string; problem: string | undefined } {
  const parsed = parseAddress(text);
  if (parsed.kind === 'address') return { entry: parsed.address, problem: undefined };
  const domain = verb === 'block' ? parseDomain(text.replace(/^@/, '')) : undefined;
  if (domain !== undefined) return { entry: domain, problem: undefined };
  return { entry: '', problem: verb === 'block' ? 'a mail address or a domain' : `a mail address: ${parsed.reason}` };
}

export const policyUserShow: Command = {
  name: 'policy user show',
  summary: 'a user’s own policy',
  positionals: [addressWord],
  options: common,
  run: async (given) => {
    const { address, file } = userOf(given);
    if (!existsSync(file)) {
      process.stderr.write(`epost: ${address} has no policy of his own; see epost policy user set --help\n`);
      return exitCodes.notFound;
    }
    const text = readPolicyText(file);
    if (given.switches.has('json')) printJson({ address, file, text });
    else print(text);
    return exitCodes.done;
  },
};

export const policyUserCheck: Command = {
  name: 'policy user check',
  summary: 'find everything that is wrong with a file that is to become a user’s own policy',
  positionals: [{ name: 'FILE', help: 'the file' }],
  options: common,
  run: async (given) => checkPolicyFile(given.positionals[0] ?? '', given, 'recipient'),
};

export const policyUserRemove: Command = {
  name: 'policy user remove',
  summary: 'take a user’s own policy away: the organisation’s verdict stands again',
  positionals: [addressWord],
  options: common,
  run: async (given) => {
    const { layout, address, file } = userOf(given);
    if (!existsSync(file))
      throw new InputFault([
        {
          file: 'command line',
          path: 'ADDRESS',
          found: `${address}, who has no policy of his own`,
          expected: 'a user who has one',
          suggestion: 'nothing to do',
        },
      ]);
    rmSync(file);
    syncFolder(userFiles(layout, address).folder);
    await askNode(layout, 'reload', {});
    if (given.switches.has('json')) printJson({ address, file });
    else print(`${address} has no policy of his own any more`);
    return exitCodes.done;
  },
};
