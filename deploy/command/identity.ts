import { maxStandings } from '../../node/identity/revocation.ts';
import { parseAddress, parseDomain } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { authorityFor, keepAndTell, toldLater } from './authority.ts';
import { type Command, exitCodes, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';

const options: Readonly<Record<string, Option>> = {
  home: homeOption,
  'passphrase-file': passphraseOption,
  json: jsonOption,
};
const reach =
  'The word stands in the authority’s signed list of what is revoked: nodes pass it on at once, and gateways ask their node for it every few seconds. A node that was away hears it when it is back.';
const whom = {
  name: 'NAME',
  help: 'an address, or a domain or ring for everybody there',
  check: (text: string): string | undefined =>
    nameOf(text) === undefined ? 'a mail address, or a domain or ring' : undefined,
};

function nameOf(text: string): string | undefined {
  const parsed = parseAddress(text);
  return parsed.kind === 'address' ? parsed.address : parseDomain(text);
}

const verbs = {
  block: {
    what: 'blocked',
    done: 'blocked',
    summary: 'take nothing more from an identity, or from all of a ring, at any gateway or node',
    details:
      'Gateways relay nothing for it, and no node takes its notifications; its sender is told. Its certificate stays; `epost identity release` takes it back.',
  },
  slow: {
    what: 'slowed',
    done: 'slowed',
    summary: 'take little from an identity, or from all of a ring, at any gateway or node',
    details:
      'A node takes 20 notifications an hour of it and lets the rest wait; at the gateway the policy says what is done (identity.standing), the standard one holds what is over 20 recipients an hour.',
  },
  release: {
    what: 'good',
    done: 'released',
    summary: 'let an identity or ring that was blocked or slowed do as before',
    details: 'What is held in a queue stays held: see `epost queue release`.',
  },
} as const;

/** `identity block`, `identity slow`, `identity release`. */
export const identityStandings: readonly Command[] = (Object.keys(verbs) as (keyof typeof verbs)[]).map((verb) => ({
  name: `identity ${verb}`,
  summary: verbs[verb].summary,
  details: `${verbs[verb].details}\n${reach}`,
  positionals: [whom],
  options,
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const name = nameOf(given.positionals[0] ?? '') ?? '';
    const authority = await authorityFor(given, layout);
    const known = authority.standings().some((one) => one.name === name);
    if (verb === 'release' && !known) {
      process.stderr.write(`epost: ${name} is neither blocked nor slowed; see epost identity list\n`);
      return exitCodes.notFound;
    }
    if (verb !== 'release' && !known && authority.standings().length >= maxStandings)
      throw new InputFault([
        {
          file: 'command line',
          path: 'NAME',
          found: `one more than the ${maxStandings} names that the list holds`,
          expected: 'an identity of a ring; strangers of the Internet are for `lists:` in the policy',
          suggestion: 'release some, or revoke those certificates for good (`epost user revoke`)',
        },
      ]);
    const told = await keepAndTell(layout, authority, authority.setStanding(name, verbs[verb].what));
    if (given.switches.has('json')) printJson({ name, standing: verbs[verb].what, told });
    else print(`${verbs[verb].done} ${name}${toldLater(told)}`);
    return exitCodes.done;
  },
}));

export const identityList: Command = {
  name: 'identity list',
  summary: 'which identities and rings are blocked or slowed',
  positionals: [],
  options,
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const standings = (await authorityFor(given, layout)).standings();
    if (given.switches.has('json')) printJson(standings);
    else
      print(
        tableText(
          ['NAME', 'STANDING'],
          standings.map(({ name, what }) => [name, what]),
        ),
      );
    return exitCodes.done;
  },
};
