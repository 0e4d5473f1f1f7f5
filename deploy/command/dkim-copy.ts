import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { copyOfKeys, takeCopy } from '../../gateway/dkim/shared-keys.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { type IdentityKeys, importIdentityKeys } from '../../node/identity/keys.ts';
import { open, seal } from '../../node/identity/seal.ts';
import { decodeSigned, encodeSigned, signBytes, verifySigned } from '../../node/identity/signed.ts';
import { InputFault } from '../config/problem.ts';
import { layoutOf, runFolder } from '../home/layout.ts';
import { acquireLock } from '../home/lock.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseFileOf, passphraseOption } from './options.ts';
import { print, printJson } from './screen.ts';

const tag = 'dkim-keys/1';
const context = Buffer.from('epost/dkim-keys/1');
/** Some hundreds of keys. */
const maxCopyBytes = 1_048_576;
const options = { home: homeOption, 'passphrase-file': passphraseOption, json: jsonOption };

export const dkimExport: Command = {
  name: 'dkim export',
  summary: 'print the DKIM keys for the ring’s other gateway, which takes them with `epost dkim import`',
  details: `The gateways of a ring sign with the same keys. After a step of \`epost dkim rotate\` on one of them:
  epost dkim export --home HERE > keys    and there    epost dkim import keys --home THERE
What is printed is signed by and sealed to the identity that the ring's gateways share: nobody else can read it, or make it.`,
  positionals: [],
  options,
  run: async (given) => {
    const keys = await gatewayKeys(given);
    const signed = encodeSigned(signBytes(tag, await copyOfKeys(folderOf(given)), keys.signing));
    const sealed = Buffer.from(seal(keys.sealing.public, signed, context)).toString('base64');
    if (given.switches.has('json')) printJson({ sealed });
    else print(sealed);
    return exitCodes.done;
  },
};

export const dkimImport: Command = {
  name: 'dkim import',
  summary: 'take over the DKIM keys that another gateway of the ring exported, and their stages',
  details:
    'Of a key that both have, the stage counts that it came to last. A running gateway takes it up within a minute. Doing it twice is harmless.',
  positionals: [{ name: 'FILE', help: 'what `epost dkim export` printed, or - for standard input' }],
  options,
  run: async (given) => {
    const file = given.positionals[0] ?? '-';
    const copy = opened(await textOf(file), await gatewayKeys(given), file);
    const lock = await acquireLock(
      `${runFolder(layoutOf(homeOf(given.values, process.env)))}/dkim.lock`,
      'a rotation of DKIM keys',
    );
    try {
      const changed = await takeCopy(folderOf(given), copy);
      if (given.switches.has('json')) printJson({ changed });
      else print(changed.length === 0 ? 'nothing is new in it' : `taken over: ${changed.join(', ')}`);
    } finally {
      await lock.release();
    }
    return exitCodes.done;
  },
};

function folderOf({ values }: Given): string {
  return layoutOf(homeOf(values, process.env)).gateway.dkim;
}

async function gatewayKeys({ values }: Given): Promise<IdentityKeys> {
  const passphrase = readPassphrase(passphraseFileOf(values, process.env));
  const { key } = layoutOf(homeOf(values, process.env)).gateway;
  const secrecy = passphrase === undefined ? {} : { passphrase };
  return importIdentityKeys(await readKeyFile(key, { kind: 'identity', ...secrecy }));
}

async function textOf(file: string): Promise<string> {
  if (file === '-') return text(process.stdin);
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw fault(file, `no readable file (${cause.code ?? 'error'})`);
  });
}

function opened(copy: string, keys: IdentityKeys, file: string): Uint8Array {
  const bytes = open(keys.sealing, Buffer.from(copy.trim(), 'base64'), context);
  const signed = bytes === undefined ? undefined : decodeSigned(bytes, maxCopyBytes);
  const isOurs = signed !== undefined && Buffer.from(signed.signer).equals(keys.signing.public);
  if (!isOurs || !verifySigned(tag, signed)) throw fault(file, 'something that was not sealed for this gateway');
  return signed.payload;
}

function fault(file: string, found: string): InputFault {
  const expected = 'what `epost dkim export` printed on another gateway of the same ring';
  return new InputFault([{ file, path: '', found, expected, suggestion: 'export it again there, and copy it whole' }]);
}
