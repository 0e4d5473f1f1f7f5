import { defaultNodesPerIdentity, maxNodesPerIdentity } from '../../node/identity/ring.ts';
import { type Domain, parseDomain } from '../../policy/address.ts';
import { createHome, isHome, type NewHome } from '../home/create.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { runUp } from '../process/up.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { homeOf, numberBetween, passphraseFileOf, setupOptions } from './options.ts';
import { print, printJson } from './screen.ts';

const defaultDomain = 'example.org' as Domain;

/** Makes the home that the options describe. */
async function homeFromOptions(given: Given): Promise<NewHome> {
  const { values } = given;
  const domain = parseDomain(values['domain'] ?? defaultDomain) ?? defaultDomain;
  return createHome(homeOf(values, process.env), {
    domain,
    hostname: values['hostname'] ?? `mx.${domain}`,
    portBase: Number(values['port-base'] ?? 0),
    dns: values['dns'] === undefined ? [] : [values['dns']],
    smarthost: values['smarthost'],
    redisUrl: values['redis-url'],
    mxPort: Number(values['mx-port'] ?? 25),
    passphrase: readPassphrase(passphraseFileOf(values, process.env)),
    ...(values['nodes-per-identity'] === undefined ? {} : { nodesPerIdentity: Number(values['nodes-per-identity']) }),
    ...(values['users'] === undefined ? {} : { users: values['users'].split(',') }),
    now: Date.now(),
  });
}

const userOption: Option = {
  value: 'NAME,NAME',
  help: 'the first users (default: alice,bob)',
  check: (text) =>
    /^[A-Za-z0-9._+-]{1,64}(?:,[A-Za-z0-9._+-]{1,64}){0,99}$/.test(text)
      ? undefined
      : 'names before the @, with commas between',
};

const nodesOption: Option = {
  value: 'N',
  help: `how many machines one user of the ring may have, for good (default: ${defaultNodesPerIdentity})`,
  check: numberBetween(1, maxNodesPerIdentity),
};

export const init: Command = {
  name: 'init',
  summary: 'make a ring: authority, first node, gateway, users, keys, configuration, policy',
  details: 'Starts nothing. `epost up` on an empty folder does the same and starts.',
  positionals: [],
  options: { ...setupOptions, users: userOption, 'nodes-per-identity': nodesOption },
  run: async (given) => {
    const made = await homeFromOptions(given);
    const { home } = made.layout;
    const passphraseFile = passphraseFileOf(given.values, process.env);
    const secrecy = passphraseFile === undefined ? '' : ` --passphrase-file ${passphraseFile}`;
    if (given.switches.has('json')) printJson({ home, domain: made.domain, users: made.users });
    else {
      print(
        [
          `made the ring ${made.domain} in ${home}`,
          ...made.users.map(({ address, password }) => `  ${address}  password: ${password}`),
          'The passwords are said once and kept nowhere; `epost user passwd ADDRESS` makes new ones.',
          `next:                      npx epost up --home ${home}${secrecy}`,
          `for each further machine:  npx epost node invite --home ${home}${secrecy} --out FILE   and there: npx epost join FILE`,
          `for mail from outside:     npx epost dns --home ${home}`,
        ].join('\n'),
      );
    }
    return exitCodes.done;
  },
};

export const up: Command = {
  name: 'up',
  summary: 'run the node and the gateway of this machine; makes the home on the first start',
  details:
    'Prints, when ready, what listens where; with --json as one line. On a home that exists the options change this run, not epost.yaml.\nSIGTERM stops cleanly within 10 s; SIGHUP reads policy and TLS files again; kill -9 loses nothing that was acknowledged.',
  positionals: [],
  options: { ...setupOptions, users: userOption, 'nodes-per-identity': nodesOption },
  run: async (given) => {
    const folder = homeOf(given.values, process.env);
    const made = isHome(folder) ? undefined : await homeFromOptions(given);
    return runUp({
      folder,
      made,
      json: given.switches.has('json'),
      overrides: made === undefined ? overridesIn(given) : {},
      passphraseFile: passphraseFileOf(given.values, process.env),
    });
  },
};

/** The options that `up` hands on to its processes. */
export function overridesIn(given: Given): Readonly<Record<string, string>> {
  const {
    home: _home,
    'passphrase-file': _passphrase,
    users: _users,
    'nodes-per-identity': _nodes,
    ...overrides
  } = given.values;
  return overrides;
}
