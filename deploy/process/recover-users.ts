import { z } from 'zod';
import { MailFault } from '../../node/mail/fault.ts';
import type { Mailbox } from '../../node/mail/mailbox.ts';
import type { Recovery } from '../../node/mail/recovery-report.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import type { LocalUsers } from './local-users.ts';

/** What `epost recover` asks: `list` when heads were kept, `keep` them now, or go back `to` a time. */
export const recoverAsked = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('list'), user: z.string().optional() }),
  z.strictObject({ kind: z.literal('keep'), user: z.string().optional() }),
  z.strictObject({
    kind: z.literal('recover'),
    user: z.string().optional(),
    to: z.int().nonnegative(),
    dryRun: z.boolean(),
  }),
]);

/** What becomes of one user. One that cannot be helped keeps no other from it. */
export type UserRecovered = { readonly user: string } & (
  | { readonly trouble: string; readonly isStranger?: true }
  | { readonly backups: readonly number[] }
  | { readonly kept: number }
  | Recovery
);

export async function recoverUsers(users: LocalUsers, args: unknown): Promise<UserRecovered[]> {
  const asked = recoverAsked.parse(args);
  const wanted = asked.user === undefined ? undefined : parseAddress(asked.user);
  const addresses = wanted?.kind === 'address' ? [wanted.address] : users.list().map(({ address }) => address);
  const answers: UserRecovered[] = [];
  for (const user of addresses) answers.push({ user, ...(await oneUser(users, user, asked)) });
  return answers;
}

async function oneUser(
  users: LocalUsers,
  user: Address,
  asked: z.infer<typeof recoverAsked>,
): Promise<{ trouble: string; isStranger?: true } | { backups: readonly number[] } | { kept: number } | Recovery> {
  const mailbox: Mailbox | { readonly trouble: string; readonly isStranger?: true } = users.mailboxOf(user);
  if ('trouble' in mailbox) return mailbox;
  try {
    if (asked.kind === 'list') return { backups: await mailbox.backups() };
    if (asked.kind === 'keep') return { kept: await mailbox.keepHeads() };
    return await mailbox.recover(asked.to, { dryRun: asked.dryRun });
  } catch (fault) {
    if (fault instanceof MailFault) return { trouble: fault.message };
    throw fault;
  }
}
