import { type ListChange, maxChanged } from '../../node/mail/list/list-state.ts';
import { type ListRecord, maxOwners, type Posting, postings } from '../../node/store/directory.ts';
import { type Address, domainOf } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { type Layout, layoutOf } from '../home/layout.ts';
import { addList, listLists, removeList, renewList } from '../home/lists.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { openAuthority, readRing, saveAuthority } from '../home/ring-files.ts';
import type { ChangeAnswer, ShowAnswer, ShownList } from '../process/list-admin.ts';
import { authorityFor, revokeAndTell, toldLater } from './authority.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseFileOf, passphraseOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';
import { addressesProblem, addressIn, addressWord } from './words.ts';

const common: Readonly<Record<string, Option>> = { home: homeOption, json: jsonOption };
const listWord = addressWord('the address of the list', 'LIST');
const where =
  'Give it on the machine where the list was created, or on that of an owner, whose signature is enough; the node has to run.';
const owner: Option = {
  value: 'ADDRESSES',
  help: `users of the ring, with commas between (${maxOwners} at most): they hear what does not reach members, and may write in its name`,
  check: addressesProblem,
};
const posting: Option = {
  value: 'WHO',
  help: `who may write to it: ${postings.join(', ')} (default: ring)`,
  check: (text) => (isPosting(text) ? undefined : postings.join(' or ')),
};

function isPosting(text: string): text is Posting {
  return postings.some((one) => one === text);
}

function home(given: Given): Layout {
  const layout = layoutOf(homeOf(given.values, process.env));
  readRing(layout);
  return layout;
}

function ownersIn(text: string): Address[] {
  return [...new Set(text.split(',').map(addressIn))];
}

export const listCreate: Command = {
  name: 'list create',
  summary: 'make a mailing list, with an identity of its own, on this machine',
  details: `Needs the ring’s authority. A post by somebody in the ring goes from his own node to the members where they are public, else, and from the Internet, through this machine’s node.
Posts of members on the Internet count where their domain vouches for them (DMARC).`,
  positionals: [listWord],
  options: {
    ...common,
    owner: { ...owner, required: true },
    posting,
    members: {
      value: 'WHO-SEES',
      help: 'public: everybody in the ring can read who belongs to it; private: only this machine (default)',
      check: (text) => (text === 'public' || text === 'private' ? undefined : 'public or private'),
    },
    'passphrase-file': passphraseOption,
  },
  run: async (given) => {
    const layout = home(given);
    const address = addressIn(given.positionals[0]);
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const authority = await openAuthority(layout, passphrase, Date.now);
    const { posting: who = 'ring', members = 'private', owner: names = '' } = given.values;
    const made: ListRecord = {
      owners: ownersIn(names),
      posting: isPosting(who) ? who : 'ring',
      members: members === 'public' ? 'public' : 'private',
    };
    const known = authority.issued().filter(({ kind, revoked }) => kind !== 'node' && !revoked);
    checkNames(address, made.owners, authority.ring.domains, known);
    await addList(layout, authority, { address, made, passphrase });
    saveAuthority(layout, authority);
    await askNode(layout, 'reload', {});
    if (given.switches.has('json')) printJson({ address, ...made });
    else print(`created the list ${address}; add members with: epost list add ${address} ADDRESS,ADDRESS`);
    return exitCodes.done;
  },
};

function checkNames(
  address: Address,
  owners: readonly Address[],
  domains: readonly string[],
  known: readonly { readonly kind: string; readonly address: Address }[],
): void {
  const problem = (path: string, found: string, expected: string, suggestion: string) => ({
    file: 'command line',
    path,
    found,
    expected,
    suggestion,
  });
  const problems = [
    ...(domains.includes(domainOf(address)) && !address.includes('+')
      ? []
      : [
          problem(
            'LIST',
            address,
            `an address without + in ${domains.join(' or ')}`,
            'the ring serves no other domain',
          ),
        ]),
    ...(known.some((one) => one.address === address)
      ? [problem('LIST', address, 'an address that nobody has', 'take another one')]
      : []),
    ...(owners.length > maxOwners
      ? [problem('--owner', `${owners.length}`, `${maxOwners} at most`, 'name fewer')]
      : []),
    ...owners
      .filter((one) => !known.some(({ kind, address: user }) => kind === 'user' && user === one))
      .map((one) => problem('--owner', one, 'a user of the ring', '`epost user list` shows who is')),
  ];
  if (problems.length > 0) throw new InputFault(problems);
}

async function shown(layout: Layout, list?: Address): Promise<readonly ShownList[]> {
  const told = await askNode(layout, 'list-show', list === undefined ? {} : { list });
  if (told.kind === 'away')
    throw new HomeFault('in-use', 'the node of this home does not run; start it with `epost up` or `epost node`');
  const answer = told.value as ShowAnswer;
  if ('trouble' in answer) throw new HomeFault('in-use', `${list ?? 'the list'}: ${answer.trouble}`);
  if (list !== undefined && answer.lists.length === 0)
    throw new HomeFault('no-such-list', `there is no list ${list} in this ring`);
  return answer.lists;
}

export const listShow: Command = {
  name: 'list show',
  summary: 'a mailing list of the ring, or those of this machine',
  positionals: [{ ...listWord, optional: true }],
  options: common,
  run: async (given) => {
    const layout = home(given);
    const [name] = given.positionals;
    const lists = await shown(layout, name === undefined ? undefined : addressIn(name));
    if (given.switches.has('json')) printJson(lists);
    else
      print(
        tableText(
          ['LIST', 'POSTING', 'MEMBERS', 'SEEN BY', 'OWNERS', 'AT HOME'],
          lists.map(({ address, posting: who, members, owners, list, here }) => [
            address,
            who,
            list === undefined ? '?' : String(list.length),
            members === 'public' ? 'the ring' : 'its machine',
            owners.join(' '),
            here ? 'here' : 'elsewhere',
          ]),
        ),
      );
    return exitCodes.done;
  },
};

export const listMembers: Command = {
  name: 'list members',
  summary: 'who belongs to a list: one address a line',
  positionals: [listWord],
  options: common,
  run: async (given) => {
    const address = addressIn(given.positionals[0]);
    const [found] = await shown(home(given), address);
    if (found?.list === undefined)
      throw new HomeFault('not-done', `the members of ${address} are private; ask on the machine where it was created`);
    if (given.switches.has('json')) printJson(found.list);
    else for (const member of found.list) print(member);
    return exitCodes.done;
  },
};

interface Done {
  /** What to say of it beside that it is done. */
  readonly more: string;
  readonly waits: boolean;
  /** Who was to be removed, and was no member. */
  readonly wereNone: readonly string[];
}

async function change(layout: Layout, list: Address, changes: readonly ListChange[]): Promise<Done> {
  const told = await askNode(layout, 'list-change', { list, changes });
  if (told.kind === 'away')
    throw new HomeFault('in-use', 'the node of this home does not run; start it with `epost up` or `epost node`');
  const answer = told.value as ChangeAnswer;
  if ('trouble' in answer) throw new HomeFault('no-such-list', `${list} ${answer.trouble}`);
  if ('waits' in answer)
    return { more: '; its machine does not answer, and will do it when it is back', waits: true, wereNone: [] };
  const { members, wereNone = [] } = answer;
  const has = members === 1 ? '1 member' : `${members} members`;
  return { more: members === 'unknown' ? '' : `, which has ${has} now`, waits: false, wereNone };
}

function changeMembers(kind: 'add' | 'remove', summary: string, done: string): Command {
  return {
    name: `list ${kind}`,
    summary,
    details: `${where} Users, other lists, and addresses on the Internet.`,
    positionals: [
      listWord,
      { name: 'ADDRESSES', help: 'one, or several with commas between', check: addressesProblem },
    ],
    options: common,
    run: async (given) => {
      const [name, words = ''] = given.positionals;
      const list = addressIn(name);
      const all = words.split(',');
      const changes: ListChange[] = [];
      for (let at = 0; at < all.length; at += maxChanged)
        changes.push({ kind, members: all.slice(at, at + maxChanged) });
      const { more, waits, wereNone } = await change(home(given), list, changes);
      const changed = all.filter((one) => !wereNone.includes(one));
      if (given.switches.has('json'))
        printJson({ list, [kind]: changed, waits, ...(wereNone.length === 0 ? {} : { wereNone }) });
      else {
        if (changed.length > 0) print(`${done} ${list}${more}`);
        if (wereNone.length > 0) process.stderr.write(`epost: not on ${list}: ${wereNone.join(', ')}\n`);
      }
      return changed.length > 0 ? exitCodes.done : exitCodes.notFound;
    },
  };
}

export const listAdd = changeMembers('add', 'put somebody on a list', 'added to');
export const listRemove = changeMembers('remove', 'take somebody off a list', 'removed from');

export const listSet: Command = {
  name: 'list set',
  summary: 'change whose a list is, or who may write to it',
  details: where,
  positionals: [listWord],
  options: { ...common, owner, posting },
  run: async (given) => {
    const layout = home(given);
    const list = addressIn(given.positionals[0]);
    const [before] = await shown(layout, list);
    const { posting: who = before?.posting ?? 'ring', owner: names } = given.values;
    const owners = names === undefined ? (before?.owners ?? []) : ownersIn(names);
    const settings = { kind: 'settings', posting: isPosting(who) ? who : 'ring', owners } as const;
    const { more, waits } = await change(layout, list, [settings]);
    if (given.switches.has('json')) printJson({ list, posting: who, owners, waits });
    else print(`${list}: written to by ${who}, owned by ${owners.join(', ')}${more}`);
    return exitCodes.done;
  },
};

export const listRenew: Command = {
  name: 'list renew',
  summary: 'give a list of this machine a new certificate for its keys, before the old one ends',
  details: 'Needs the ring’s authority.',
  positionals: [listWord],
  options: { ...common, 'passphrase-file': passphraseOption },
  run: async (given) => {
    const layout = home(given);
    const address = addressIn(given.positionals[0]);
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const authority = await openAuthority(layout, passphrase, Date.now);
    const until = new Date(await renewList(layout, authority, { address, passphrase })).toISOString();
    await askNode(layout, 'reload', {});
    if (given.switches.has('json')) printJson({ address, until });
    else print(`the certificate of ${address} holds until ${until.slice(0, 10)}`);
    return exitCodes.done;
  },
};

export const listDelete: Command = {
  name: 'list delete',
  summary: 'end a list: its certificate is revoked, and nothing comes to it any more',
  details:
    'Needs the ring’s authority. A revoked certificate never becomes valid again; the address can be given anew.',
  positionals: [listWord],
  options: { ...common, 'passphrase-file': passphraseOption },
  run: async (given) => {
    const layout = home(given);
    const address = addressIn(given.positionals[0]);
    const authority = await authorityFor(given, layout);
    const serials = authority
      .issued()
      .filter((one) => one.kind === 'list' && one.address === address && !one.revoked)
      .map(({ serial }) => serial);
    if (serials.length === 0 && !listLists(layout).includes(address))
      throw new HomeFault('no-such-list', `there is no list ${address} in this ring`);
    const told = await revokeAndTell(layout, authority, serials, () => removeList(layout, address));
    if (given.switches.has('json')) printJson({ address, revoked: serials, told });
    else print(`deleted ${address}${toldLater(told)}`);
    return exitCodes.done;
  },
};
