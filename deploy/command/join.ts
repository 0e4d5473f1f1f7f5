import { existsSync } from 'node:fs';
import { type Address, parseAddress } from '../../policy/address.ts';
import { loadConfig } from '../config/load.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { readHomeFile, writeFileDurably } from '../home/files.ts';
import { gatewayShare } from '../home/gateway-share.ts';
import { inviteText, joinHome, parseInvite } from '../home/invite.ts';
import { type Layout, layoutOf, userFiles } from '../home/layout.ts';
import { issueNode } from '../home/node-files.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { generatePassword } from '../home/password.ts';
import { openAuthority, readBootstrap, readRing, saveAuthority } from '../home/ring-files.ts';
import { addUser, type LocalUser, readUser, removeUser } from '../home/users.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import {
  homeOf,
  homeOption,
  jsonOption,
  numberBetween,
  passphraseFileOf,
  passphraseOption,
  setupOptions,
} from './options.ts';
import { sayListens } from './run.ts';
import { print, printJson } from './screen.ts';
import { readSecretFile } from './secret-input.ts';

const defaultDays = 7;
const dayMs = 86_400_000;

function checkAddress(text: string): string | undefined {
  const parsed = parseAddress(text);
  return parsed.kind === 'address' ? undefined : `a mail address: ${parsed.reason}`;
}

const userOption: Option = {
  value: 'ADDRESS',
  help: 'this user owns the machine; the mailbox lives there from then on (moved, or made with a new password)',
  check: checkAddress,
};

export const nodeInvite: Command = {
  name: 'node invite',
  summary: 'let a further machine into the ring: prints an invitation for `epost join`',
  details:
    'The invitation holds private keys: give it to nobody but the machine it is for. Without --out it is printed.\nWith --gateway it also holds the gateway’s identities, its DKIM keys and the address of the queue: whoever reads it can send as your domain.\nWith --user for somebody whose mailbox is here, it moves: it is closed here at once, and waits for the machine that joins; with --keep it is not closed.',
  positionals: [],
  options: {
    home: homeOption,
    user: userOption,
    keep: { help: 'with --user: the mailbox stays here too, and both machines serve it' },
    gateway: { help: 'the machine becomes a further gateway: the queue must lie in Redis, which both reach' },
    out: { value: 'FILE', help: 'write it there, readable by you alone, instead of printing it' },
    days: { value: 'N', help: `how long it can be used (default: ${defaultDays})`, check: numberBetween(1, 365) },
    'passphrase-file': passphraseOption,
    json: jsonOption,
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const authority = await openAuthority(layout, passphrase, Date.now);
    const bootstrap = await knownNodes(layout);
    const asked = given.values['user'] === undefined ? undefined : parseAddress(given.values['user']);
    const address = asked?.kind === 'address' ? asked.address : undefined;
    if (address !== undefined && !ring.domains.some((domain) => address.endsWith(`@${domain}`))) {
      throw new InputFault([
        {
          file: 'command line',
          path: '--user',
          found: address,
          expected: `an address in ${ring.domains.join(' or ')}`,
          suggestion: 'the ring serves no other domain',
        },
      ]);
    }
    const keeps = given.switches.has('keep');
    if (keeps && (address === undefined || !existsSync(userFiles(layout, address).folder))) {
      throw new InputFault([
        {
          file: 'command line',
          path: '--keep',
          found: address ?? 'no --user',
          expected: '--user with somebody whose mailbox is here',
          suggestion: 'give the invitation on the machine that serves the mailbox',
        },
      ]);
    }
    const gateway = given.switches.has('gateway')
      ? await gatewayShare(layout, loadConfig(layout.config), passphrase)
      : undefined;
    const owned = address === undefined ? undefined : await userFor(layout, authority, address, passphrase);
    const owner = address ?? authority.issued()[0]?.address ?? (`postmaster@${ring.name}` as Address);
    const text = inviteText({
      ring: authority.ringBytes(),
      revocations: readHomeFile(layout.revocations, 'the revocation list'),
      node: issueNode(authority, owner),
      bootstrap,
      expiresAt: Date.now() + Number(given.values['days'] ?? defaultDays) * dayMs,
      ...(owned === undefined ? {} : { user: owned.user }),
      ...(gateway === undefined ? {} : { gateway }),
    });
    saveAuthority(layout, authority);
    // The invitation must be in the owner's hands before the keys leave this home.
    if (given.values['out'] !== undefined) writeFileDurably(given.values['out'], `${text}\n`);
    sayInvite(given, text, owned?.password);
    if (address !== undefined && !keeps) {
      removeUser(layout, address);
      await askNode(layout, 'reload', {});
    }
    return exitCodes.done;
  },
};

/** The user to move, or a new one. */
async function userFor(
  layout: Layout,
  authority: Awaited<ReturnType<typeof openAuthority>>,
  address: Address,
  passphrase: string | undefined,
): Promise<{ user: LocalUser; password: string | undefined }> {
  if (existsSync(userFiles(layout, address).folder)) {
    // What this node has not yet put into the ring must not be left behind: it closes the mailbox before the keys go.
    return { user: await readUser(layout, address, passphrase), password: undefined };
  }
  if (authority.issued().some((one) => one.kind === 'user' && one.address === address && !one.revoked)) {
    throw new HomeFault(
      'no-such-user',
      `the mailbox of ${address} lives on another machine; revoke and add the address, or move it from there`,
    );
  }
  const password = generatePassword();
  return { user: await addUser(layout, authority, { address, password, passphrase }), password };
}

/** Where the ring can be met: the running nodes that this one knows, else what it was told itself. */
async function knownNodes(layout: Layout): Promise<string[]> {
  const told = await askNode(layout, 'status', {});
  if (told.kind === 'away') {
    throw new HomeFault(
      'in-use',
      'the node of this home does not run, so nobody knows where it can be reached; start it with `epost up`, then invite',
    );
  }
  const { peerId, addresses, members } = told.value as {
    peerId: string;
    addresses: string[];
    members: { peerId: string; addresses: string[]; up: boolean }[];
  };
  const full = (id: string, list: readonly string[]): string[] =>
    list.map((one) => (one.includes('/p2p/') ? one : `${one}/p2p/${id}`));
  const others = members
    .filter((member) => member.up && member.peerId !== peerId)
    .flatMap((member) => full(member.peerId, member.addresses));
  return [...full(peerId, addresses), ...others, ...readBootstrap(layout)].slice(0, 32);
}

function sayInvite(given: Given, text: string, password: string | undefined): void {
  const { out } = given.values;
  if (given.switches.has('json'))
    printJson({
      ...(out === undefined ? { invite: text } : { file: out }),
      ...(password === undefined ? {} : { password }),
    });
  else {
    print(out === undefined ? text : `wrote the invitation to ${out}`);
    process.stderr.write(
      `${password === undefined ? '' : `password of ${given.values['user'] ?? ''} (said once): ${password}\n`}It holds private keys. On the other machine: epost join ${out === undefined ? '-' : out} --home DIR\n`,
    );
  }
}

export const join: Command = {
  name: 'join',
  summary: 'make this machine a node of a ring with an invitation, and run it',
  details:
    'Give the invitation as a file, or on standard input with `-`; never as a word, which other users of the machine can see.\nOn later starts: `epost up --home DIR` (or `epost node`).',
  positionals: [{ name: 'INVITE', help: 'the file with the invitation, or - for standard input' }],
  options: {
    home: homeOption,
    'port-base': setupOptions['port-base'] ?? { help: '' },
    hostname: setupOptions['hostname'] ?? { help: '' },
    'set-up-only': { help: 'make the home and do not run it' },
    'passphrase-file': passphraseOption,
    json: jsonOption,
  },
  run: async (given) => {
    const now = Date.now();
    const folder = homeOf(given.values, process.env);
    const invite = parseInvite(
      await readSecretFile(given.positionals[0] ?? '-', {
        word: 'INVITE',
        what: 'the invitation',
        begins: 'epost-invite-',
      }),
      now,
    );
    const passphraseFile = passphraseFileOf(given.values, process.env);
    const joined = await joinHome(folder, invite, {
      portBase: Number(given.values['port-base'] ?? 0),
      hostname: given.values['hostname'] ?? 'localhost',
      passphrase: readPassphrase(passphraseFile),
      now,
    });
    loadConfig(joined.layout.config);
    if (given.switches.has('set-up-only')) {
      if (given.switches.has('json')) printJson({ home: joined.layout.home, domain: joined.domain, user: joined.user });
      else
        print(
          `made ${joined.layout.home}, a node of the ring ${joined.domain}; start it with \`epost up --home ${joined.layout.home}\``,
        );
      return exitCodes.done;
    }
    if (invite.gateway !== undefined) {
      const { runUp } = await import('../process/up.ts');
      return runUp({ folder, made: undefined, json: given.switches.has('json'), overrides: {}, passphraseFile });
    }
    const { runNode } = await import('../process/node-process.ts');
    return runNode({
      folder,
      overrides: {},
      passphraseFile,
      onReady: (listens) =>
        sayListens(
          'node',
          {
            domain: joined.domain,
            home: joined.layout.home,
            ...(joined.user === undefined ? {} : { user: joined.user }),
            ...listens,
          },
          given,
        ),
    });
  },
};
