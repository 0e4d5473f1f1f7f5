import type { IssuedCertificate } from '../../node/identity/authority.ts';
import type { Address } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { layoutOf } from '../home/layout.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { generatePassword } from '../home/password.ts';
import { openAuthority, readRing, saveAuthority } from '../home/ring-files.ts';
import { addUser, listUsers, removeUser, setPassword } from '../home/users.ts';
import { authorityFor, revokeAndTell, toldLater } from './authority.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseFileOf, passphraseOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';
import { readSecretLine } from './secret-input.ts';
import { addressIn, addressWord as addressWordOf } from './words.ts';

const addressWord = addressWordOf('a mail address in a domain of the ring');
const common: Readonly<Record<string, Option>> = { home: homeOption, json: jsonOption };
// NIST SP 800-63B-3 §5.1.1.2: what guessing from outside, which is slowed down, does not reach.
const minPasswordCharacters = 8;
const passwordStdin: Option = {
  help: `read the password (${minPasswordCharacters} characters or more) from standard input instead of making one`,
};

async function passwordOf(given: Given): Promise<string> {
  if (!given.switches.has('password-stdin')) return generatePassword();
  const password = await readSecretLine('new password');
  const { length } = password;
  if (length >= minPasswordCharacters) return password;
  throw new InputFault([
    {
      file: 'standard input',
      path: '',
      found: `a password of ${length} characters`,
      expected: `${minPasswordCharacters} or more`,
      suggestion: 'take a longer one, or leave --password-stdin away and get a good one',
    },
  ]);
}

/** Says the password unless the caller gave it. */
function answer(given: Given, address: Address, password: string, done: string): number {
  const said = given.switches.has('password-stdin') ? undefined : password;
  if (given.switches.has('json')) printJson({ address, ...(said === undefined ? {} : { password: said }) });
  else
    print(
      said === undefined ? `${done} ${address}` : `${done} ${address}\npassword (said once, kept nowhere): ${said}`,
    );
  return exitCodes.done;
}

export const userAdd: Command = {
  name: 'user add',
  summary: 'give an address in the ring to somebody, with a mailbox on this machine',
  positionals: [addressWord],
  options: { ...common, 'passphrase-file': passphraseOption, 'password-stdin': passwordStdin },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const address = addressIn(given.positionals[0]);
    if (!ring.domains.some((domain) => address.endsWith(`@${domain}`))) {
      throw new InputFault([
        {
          file: 'command line',
          path: 'ADDRESS',
          found: address,
          expected: `an address in ${ring.domains.join(' or ')}`,
          suggestion: 'the ring serves no other domain',
        },
      ]);
    }
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const authority = await openAuthority(layout, passphrase, Date.now);
    if (authority.issued().some((one) => one.kind !== 'node' && one.address === address && !one.revoked)) {
      throw new HomeFault(
        'user-exists',
        `${address} is in the ring already; \`epost user passwd\` on the machine with the mailbox sets a new password`,
      );
    }
    const password = await passwordOf(given);
    await addUser(layout, authority, { address, password, passphrase });
    saveAuthority(layout, authority);
    await askNode(layout, 'reload', {});
    return answer(given, address, password, 'added');
  },
};

export const userList: Command = {
  name: 'user list',
  summary: 'the users of the ring (where the authority is), or of this machine',
  positionals: [],
  options: { ...common, 'passphrase-file': passphraseOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const here = listUsers(layout);
    const authority = await authorityFor(given, layout).catch((fault: unknown) => {
      if (fault instanceof HomeFault && fault.code === 'no-authority') return undefined;
      throw fault;
    });
    const certified = authority?.issued().filter(({ kind }) => kind === 'user') ?? [];
    const rows =
      authority === undefined
        ? here.map((address) => ({ address, mailbox: 'here', state: 'unknown here' }))
        : certified.map((one) => ({
            address: one.address,
            mailbox: here.includes(one.address) ? 'here' : 'elsewhere',
            state: one.revoked ? 'revoked' : isReplaced(certified, one) ? 'replaced' : 'valid',
            until: new Date(one.notAfter).toISOString(),
          }));
    if (given.switches.has('json')) printJson(rows);
    else
      print(
        tableText(
          ['ADDRESS', 'MAILBOX', 'CERTIFICATE', 'UNTIL'],
          rows.map((row) => [
            row.address,
            row.mailbox,
            row.state,
            'until' in row ? String(row.until).slice(0, 10) : '',
          ]),
        ),
      );
    return exitCodes.done;
  },
};

/** Whether the address has a later certificate than this one. */
function isReplaced(issued: readonly IssuedCertificate[], one: IssuedCertificate): boolean {
  return issued.findLast(({ kind, address }) => kind === one.kind && address === one.address) !== one;
}

export const userPasswd: Command = {
  name: 'user passwd',
  summary: 'set a new password for a mailbox on this machine',
  positionals: [addressWord],
  options: { ...common, 'password-stdin': passwordStdin },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const address = addressIn(given.positionals[0]);
    const password = await passwordOf(given);
    await setPassword(layout, address, password);
    await askNode(layout, 'reload', {});
    return answer(given, address, password, 'new password for');
  },
};

export const userRevoke: Command = {
  name: 'user revoke',
  summary: 'end somebody’s certificate: no mail in, no mail out, no login, in the whole ring',
  details:
    'The stored mail is not deleted. A revoked certificate never becomes valid again; `epost user add` can give the address anew.\nWith --replaced the user stays, and only the certificates go that he had before `epost user renew`.',
  positionals: [addressWord],
  options: {
    ...common,
    'passphrase-file': passphraseOption,
    replaced: { help: 'only certificates of keys that were replaced by newer ones' },
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const address = addressIn(given.positionals[0]);
    const authority = await authorityFor(given, layout);
    const replaced = given.switches.has('replaced');
    const issued = authority.issued();
    const serials = issued
      .filter((one) => one.kind === 'user' && one.address === address && !one.revoked)
      .filter((one) => !replaced || isReplaced(issued, one))
      .map(({ serial }) => serial);
    if (serials.length === 0)
      throw new HomeFault(
        'no-such-user',
        `${address} has no ${replaced ? 'replaced' : 'valid'} certificate in this ring; \`epost user list\` shows who has`,
      );
    const told = await revokeAndTell(layout, authority, serials, () => {
      if (!replaced) removeUser(layout, address);
    });
    if (given.switches.has('json')) printJson({ address, revoked: serials, told });
    else print(`revoked ${replaced ? 'the earlier certificates of ' : ''}${address}${toldLater(told)}`);
    return exitCodes.done;
  },
};
