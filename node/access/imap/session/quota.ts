import type { Command } from '../command/command.ts';
import { shownName } from './folders.ts';
import { type Completion, type LoggedIn, no, ok, type Session } from './session.ts';

/** RFC 9208: one root for all folders of a user. */
const root = '"mailbox"';

export async function quota(
  session: Session,
  { account }: LoggedIn,
  command: Extract<Command, { name: 'getquota' | 'getquotaroot' }>,
): Promise<Completion> {
  const { writer } = session.connection;
  if (command.name === 'getquota' && command.root !== 'mailbox')
    return no('there is no such quota root', 'NONEXISTENT');
  const counted = await account.quota?.();
  if (command.name === 'getquotaroot') {
    if ((await account.mailbox.folder(command.mailbox)) === undefined)
      return no('there is no such folder', 'NONEXISTENT');
    const named = shownName(session, command.mailbox);
    await writer.line(counted === undefined ? `* QUOTAROOT ${named}` : `* QUOTAROOT ${named} ${root}`);
  }
  if (counted !== undefined) {
    // RFC 9208 §5.1: STORAGE counts in units of 1,024 octets.
    const [used, limit] = [counted.usedBytes, counted.limitBytes].map((bytes) => Math.ceil(bytes / 1024));
    await writer.line(`* QUOTA ${root} (STORAGE ${used} ${limit})`);
  } else if (command.name === 'getquota') return no('nobody counts here', 'NONEXISTENT');
  return ok('that is how it stands');
}
