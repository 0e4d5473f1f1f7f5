import { checkNodeCertificate } from '../../node/identity/certificate.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import type { RingDescriptor } from '../../node/identity/ring.ts';
import { askNode } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { readHomeFile } from '../home/files.ts';
import { type Layout, layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { authorityFor, revokeAndTell, toldLater } from './authority.ts';
import { type Command, exitCodes, type Option } from './line.ts';
import { homeOf, homeOption, jsonOption, passphraseOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const options: Readonly<Record<string, Option>> = {
  home: homeOption,
  'passphrase-file': passphraseOption,
  json: jsonOption,
};

interface SeenMember {
  readonly serial: string;
  readonly peerId: string;
  readonly up: boolean;
  readonly addresses: readonly string[];
}

/** The machines as the running node of this home sees them, by serial; empty where none runs. */
async function seenMembers(layout: Layout): Promise<ReadonlyMap<string, SeenMember>> {
  const told = await askNode(layout, 'status', {});
  const members = told.kind === 'away' ? [] : (told.value as { members: readonly SeenMember[] }).members;
  return new Map(members.map((member) => [member.serial, member]));
}

/** The serial of the machine that the command runs on. */
function ownSerial(layout: Layout, ring: RingDescriptor): string | undefined {
  const bytes = readHomeFile(layout.node.certificate, 'the node certificate');
  const check = checkNodeCertificate(bytes, { ring, revocations: new RevocationState(ring), now: Date.now() });
  return 'certificate' in check ? check.certificate?.serial : undefined;
}

export const nodeList: Command = {
  name: 'node list',
  summary: 'the machines of the ring, by the certificates that the authority of this home has issued',
  details:
    'SEEN and ADDRESS are what the node of this home knows while it runs. Each invitation is a certificate, used or not.',
  positionals: [],
  options,
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const own = ownSerial(layout, readRing(layout));
    const authority = await authorityFor(given, layout);
    const seen = await seenMembers(layout);
    const rows = authority
      .issued()
      .filter(({ kind }) => kind === 'node')
      .map(({ serial, address, notAfter, revoked }) => ({
        serial,
        owner: address,
        state: revoked ? 'revoked' : 'valid',
        until: new Date(notAfter).toISOString(),
        here: serial === own,
        ...placeOf(seen.get(serial)),
      }));
    if (given.switches.has('json')) printJson(rows);
    else
      print(
        tableText(
          ['SERIAL', 'OWNER', 'CERTIFICATE', 'UNTIL', 'SEEN', 'ADDRESS'],
          rows.map((row) => [
            row.serial,
            row.owner,
            row.state,
            row.until.slice(0, 10),
            row.here ? 'this machine' : row.seen,
            printable(row.address),
          ]),
        ),
      );
    return exitCodes.done;
  },
};

function placeOf(member: SeenMember | undefined): { peerId?: string; seen: string; address: string } {
  if (member === undefined) return { seen: '-', address: '' };
  return { peerId: member.peerId, seen: member.up ? 'up' : 'down', address: member.addresses[0] ?? '' };
}

export const nodeRevoke: Command = {
  name: 'node revoke',
  summary: 'put a machine out of the ring for good (lost, stolen, given away)',
  details:
    'Its copies of blocks are made anew elsewhere. The keys of a user whose mailbox lived on it are in other hands then too: revoke the user as well.',
  positionals: [{ name: 'SERIAL', help: 'as `epost node list` shows it' }],
  options,
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const own = ownSerial(layout, readRing(layout));
    const authority = await authorityFor(given, layout);
    const [serial = ''] = given.positionals;
    if (!authority.issued().some((one) => one.kind === 'node' && one.serial === serial && !one.revoked)) {
      throw new HomeFault(
        'no-such-node',
        `no valid node certificate has the serial ${serial}; \`epost node list\` shows them`,
      );
    }
    if (serial === own) {
      throw new HomeFault(
        'own-node',
        'that is this machine, which holds the authority: without it no list of what is revoked is made any more; choose another serial of `epost node list`',
      );
    }
    const told = await revokeAndTell(layout, authority, [serial]);
    if (given.switches.has('json')) printJson({ serial, told });
    else print(`revoked ${serial}${toldLater(told)}`);
    return exitCodes.done;
  },
};
