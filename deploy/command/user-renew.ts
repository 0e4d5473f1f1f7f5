import { existsSync } from 'node:fs';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { checkIdentityCertificate } from '../../node/identity/certificate.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import type { Address } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { writeFileDurably } from '../home/files.ts';
import { layoutOf, userFiles } from '../home/layout.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { openAuthority, readRevocations, readRing, saveAuthority } from '../home/ring-files.ts';
import { issueKeys, keysText, parseKeys, readUserKeys } from '../home/user-keys.ts';
import { renewUser } from '../home/users.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseFileOf, passphraseOption } from './options.ts';
import { print, printJson } from './screen.ts';
import { readSecretFile } from './secret-input.ts';
import { addressIn, addressWord } from './words.ts';

export const userRenew: Command = {
  name: 'user renew',
  summary: 'give a user new keys and a new certificate; the mailbox stays as it is',
  details:
    'Run it where the authority is. A mailbox that this machine serves has the new keys at once. For one that another machine serves (too), take --out: the file\nholds the private keys, and there `epost user take FILE` takes them.\nWhat still waits sealed to the old keys is opened for fifteen days. The old certificate holds until it ends by itself, or until\n`epost user revoke ADDRESS --replaced`: at once where the old keys were stolen, else when the fifteen days are over. Whoever has the keys that the mailbox was made\nwith can read what is stored in it, and write its logs: these keep them for ever.',
  positionals: [addressWord('the user')],
  options: {
    home: homeOption,
    out: { value: 'FILE', help: 'write the new keys there, readable by you alone, for the user’s other machines' },
    'passphrase-file': passphraseOption,
    json: jsonOption,
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const address = addressIn(given.positionals[0]);
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const authority = await openAuthority(layout, passphrase, Date.now);
    const here = existsSync(userFiles(layout, address).folder);
    mustBeUser(authority, address, here);
    const { out } = given.values;
    if (!here && out === undefined)
      throw new InputFault([
        {
          file: 'command line',
          path: '--out',
          found: 'nothing',
          expected: `a file for the keys: the mailbox of ${address} lives on another machine`,
          suggestion: 'bring the file there a safe way, and run `epost user take FILE`',
        },
      ]);
    const fresh = issueKeys(authority, 'user', address);
    saveAuthority(layout, authority);
    if (out !== undefined) writeFileDurably(out, `${keysText({ address, ...fresh })}\n`);
    if (here) {
      await renewUser(layout, address, fresh, { passphrase, now: Date.now() });
      await askNode(layout, 'reload', {});
    }
    if (given.switches.has('json')) printJson({ address, here, ...(out === undefined ? {} : { file: out }) });
    else {
      print(here ? `new keys for ${address}` : `made new keys for ${address}`);
      if (out !== undefined)
        print(
          `they are in ${out}, and whoever reads that file is that user; on the other machine: epost user take ${out}`,
        );
    }
    return exitCodes.done;
  },
};

/** Also one whose certificates have all ended, which the authority then forgets; not one who was revoked. */
function mustBeUser(authority: CertificateAuthority, address: Address, here: boolean): void {
  const his = authority.issued().filter((one) => one.kind === 'user' && one.address === address);
  if (his.some(({ revoked }) => !revoked) || (his.length === 0 && here)) return;
  throw new HomeFault(
    'no-such-user',
    `${address} has no valid certificate in this ring; \`epost user add\` gives the address anew, \`epost user list\` shows who has one`,
  );
}

const fileWord = { word: 'FILE', what: 'the keys', begins: 'epost-keys-' };

export const userTake: Command = {
  name: 'user take',
  summary: 'take a user’s new keys, made by `epost user renew --out FILE`, on a machine that serves the mailbox',
  positionals: [{ name: 'FILE', help: 'the file with the keys, or - for standard input' }],
  options: { home: homeOption, 'passphrase-file': passphraseOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const passphrase = readPassphrase(passphraseFileOf(given.values, process.env));
    const trust = { ring, revocations: new RevocationState(ring, readRevocations(layout)), now: Date.now() };
    const { address, certified, ...fresh } = parseKeys(
      await readSecretFile(given.positionals[0] ?? '-', fileWord),
      trust,
    );
    if (!existsSync(userFiles(layout, address).folder))
      throw new HomeFault('no-such-user', `${address} has no mailbox on this home; \`epost user list\` shows who has`);
    const now = checkIdentityCertificate((await readUserKeys(layout, address, passphrase)).certificate, trust);
    if (now.kind !== 'invalid' && now.certificate.notBefore > certified.notBefore)
      throw new HomeFault(
        'bad-keys',
        `${address} has newer keys here already; make new ones with \`epost user renew\``,
      );
    await renewUser(layout, address, fresh, { passphrase, now: trust.now });
    await askNode(layout, 'reload', {});
    if (given.switches.has('json')) printJson({ address });
    else print(`new keys for ${address}; delete the file that brought them`);
    return exitCodes.done;
  },
};
