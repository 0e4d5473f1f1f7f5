import * as cbor from '@ipld/dag-cbor';
import { z } from 'zod';
import { importIdentityKeys } from '../../node/identity/keys.ts';
import { decodeRing } from '../../node/identity/ring.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import { type Choices, configText } from '../config/template.ts';
import { HomeFault } from './fault.ts';
import { writeFileDurably } from './files.ts';
import { type GatewayShare, gatewayChoices, gatewayShareSchema, placeGateway } from './gateway-share.ts';
import type { Layout } from './layout.ts';
import { type NodeCredentials, writeNodeFiles } from './node-files.ts';
import { passwordRecordSchema } from './password.ts';
import { makeHome } from './staging.ts';
import { makeSelfSignedTls } from './tls.ts';
import { maxEarlier } from './user-keys.ts';
import { type LocalUser, placeUser } from './users.ts';

const bytes = (least: number, most: number) =>
  z.instanceof(Uint8Array).refine((value) => value.length >= least && value.length <= most);

const inviteSchema = z.strictObject({
  version: z.literal(1),
  ring: bytes(1, 4_096),
  revocations: bytes(1, 1_048_576),
  seed: bytes(32, 32),
  certificate: bytes(1, 4_096),
  bootstrap: z.array(z.string().max(256)).max(32),
  expiresAt: z.int(),
  user: z
    .strictObject({
      address: z.string().max(320),
      certificate: bytes(1, 4_096),
      keys: bytes(64, 64),
      earlier: z
        .array(z.strictObject({ certificate: bytes(1, 4_096), keys: bytes(64, 64), replacedAt: z.int().nonnegative() }))
        .max(maxEarlier)
        .optional(),
      password: passwordRecordSchema,
      mailbox: z.enum(['new', 'open']),
    })
    .optional(),
  gateway: gatewayShareSchema.optional(),
});

/** What a further machine needs to be a node of the ring; with `user`, that user's mailbox lives there from then on. */
export interface Invite {
  readonly ring: Uint8Array;
  readonly revocations: Uint8Array;
  readonly node: NodeCredentials;
  /** Multiaddrs, with peer ids, of nodes to dial first. */
  readonly bootstrap: readonly string[];
  readonly expiresAt: number;
  readonly user?: LocalUser;
  /** The machine becomes a further gateway of the ring. */
  readonly gateway?: GatewayShare;
}

const prefix = 'epost-invite-1:';
// A ring file, a certificate, a user and a revocation list of 10,000 serials.
const maxTextBytes = 2 * 1_048_576;

/** The invitation as one line of text. It holds private keys: whoever has it is that node. */
export function inviteText(invite: Invite): string {
  const { user, gateway } = invite;
  const encoded = cbor.encode({
    version: 1,
    ring: invite.ring,
    revocations: invite.revocations,
    seed: invite.node.seed,
    certificate: invite.node.certificate,
    bootstrap: [...invite.bootstrap],
    expiresAt: invite.expiresAt,
    ...(gateway === undefined ? {} : { gateway }),
    ...(user === undefined
      ? {}
      : {
          user: {
            address: user.address,
            certificate: user.certificate,
            keys: user.keys.export(),
            ...(user.earlier.length === 0
              ? {}
              : { earlier: user.earlier.map((one) => ({ ...one, keys: one.keys.export() })) }),
            password: user.login.password,
            mailbox: user.login.mailbox,
          },
        }),
  });
  return prefix + Buffer.from(encoded).toString('base64url');
}

/** Reads an invitation; a HomeFault `bad-invite` that says what is wrong with it. */
export function parseInvite(text: string, now: number): Invite {
  const bad = (why: string): HomeFault =>
    new HomeFault(
      'bad-invite',
      `this is no usable invitation: ${why}; make a new one with \`epost node invite\` on the first machine`,
    );
  const found = new RegExp(`${prefix}([A-Za-z0-9_-]+)`).exec(text.slice(0, maxTextBytes));
  if (found === null) throw bad(`found no "${prefix}…" in it`);
  let value: unknown;
  try {
    value = cbor.decode(Buffer.from(found[1] ?? '', 'base64url'));
  } catch (cause) {
    throw new HomeFault('bad-invite', bad('it is cut or damaged').message, { cause });
  }
  const checked = inviteSchema.safeParse(value);
  if (!checked.success) throw bad('it is damaged, or of another version');
  const { user, seed, certificate, gateway, ...common } = checked.data;
  const rest = gateway === undefined ? common : { ...common, gateway };
  if (rest.expiresAt < now) throw bad(`it ran out on ${new Date(rest.expiresAt).toISOString()}`);
  if (user === undefined) return { ...rest, node: { seed, certificate } };
  const address = parseAddress(user.address);
  if (address.kind !== 'address') throw bad(`it names ${user.address}, which is no mail address`);
  const localUser: LocalUser = {
    address: address.address,
    certificate: user.certificate,
    keys: importIdentityKeys(user.keys),
    earlier: (user.earlier ?? []).map((one) => ({ ...one, keys: importIdentityKeys(one.keys) })),
    login: { version: 1, password: user.password, mailbox: user.mailbox },
  };
  return { ...rest, node: { seed, certificate }, user: localUser };
}

/** Makes the home of a further node from an invitation. */
export async function joinHome(
  folder: string,
  invite: Invite,
  choices: Pick<Choices, 'portBase' | 'hostname'> & { readonly passphrase: string | undefined; readonly now: number },
): Promise<{ layout: Layout; user: Address | undefined; domain: string }> {
  const ring = decodeRing(invite.ring);
  if (ring.kind === 'invalid')
    throw new HomeFault(
      'bad-invite',
      `this is no usable invitation: its ring is ${ring.reason}; make a new one with \`epost node invite\``,
    );
  const { name: domain } = ring.ring;
  const { layout } = await makeHome(folder, async (staging) => {
    await writeNodeFiles(staging, invite.node, choices.passphrase);
    writeFileDurably(staging.revocations, invite.revocations);
    writeFileDurably(staging.node.bootstrap, `${JSON.stringify(invite.bootstrap)}\n`);
    if (invite.user !== undefined) await placeUser(staging, invite.user, choices.passphrase);
    await makeSelfSignedTls(staging, choices.hostname, choices.now);
    if (invite.gateway !== undefined) await placeGateway(staging, invite.gateway, choices.passphrase);
    writeFileDurably(
      staging.config,
      invite.gateway === undefined
        ? configText({ ...choices, domain, dns: [], mxPort: 25, postmaster: '', gateway: false })
        : configText({ ...choices, ...gatewayChoices(invite.gateway), domain }),
    );
    writeFileDurably(staging.ring, invite.ring);
  });
  return { layout, user: invite.user?.address, domain };
}
