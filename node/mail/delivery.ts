import type { IdentityCertificate } from '../identity/certificate.ts';
import type { Handled } from '../notify/local-recipient.ts';
import type { Opened } from '../notify/sealed.ts';
import { authorOf } from './author.ts';
import { MailFault } from './fault.ts';
import type { Folder } from './folder.ts';
import { decodeLetter, type Letter, type MailLetter } from './letter.ts';
import type { Mailbox } from './mailbox.ts';
import type { Placement, RecipientControl } from './recipient-control.ts';
import type { RingNames } from './ring-names.ts';

const refused = (rule: string): Handled => ({ verdict: 'refused', rule });

/**
 * What a recipient's node does with a notification: into a folder, refused with the rule's name, or asked again later. `control` is asked before
 * anything of the message is fetched; without it the organisation's verdict stands.
 * Idempotent by the notification's id. Throws only for what is neither the sender's nor the ring's fault.
 *
 * A user speaks for himself alone: envelope sender and author of what he signs are his own address, or an alias that leads to him, or
 * it is refused (his own node checks that too, but it is his). Gateways, lists and services carry what others wrote.
 */
export function deliverTo(
  mailbox: Mailbox,
  names: Pick<RingNames, 'ownership'>,
  control?: RecipientControl,
): (opened: Opened) => Promise<Handled> {
  return async (opened) => {
    const letter = letterOf(opened.body);
    if (letter === undefined) return refused('letter-malformed');
    if (letter.kind === 'relay') return refused('not-a-gateway');
    const placement = (await control?.place(letter, opened)) ?? organisations(letter);
    if (placement.kind === 'refuse') return refused(placement.rule);
    if (placement.kind === 'later') return { later: placement.reason };
    try {
      const objection =
        opened.from.kind === 'user' ? await objectionTo({ mailbox, names }, letter, opened.from) : undefined;
      if (objection !== undefined) return objection;
      // Leased in the recipient's name before the receipt: nobody else will refresh it.
      await Promise.all([
        mailbox.keep(letter.message),
        insert(await targetOf(mailbox, placement.placing), letter, opened),
      ]);
      if (placement.placing === 'accept') await control?.welcomed(letter, opened);
      return { verdict: 'accepted' };
    } catch (error) {
      return answerTo(error);
    }
  };
}

function letterOf(body: Uint8Array): Letter | undefined {
  try {
    return decodeLetter(body);
  } catch (error) {
    if (error instanceof MailFault) return undefined;
    throw error;
  }
}

/** What stands against a user's letter. */
async function objectionTo(
  { mailbox, names }: { readonly mailbox: Mailbox; readonly names: Pick<RingNames, 'ownership'> },
  { envelope, message }: MailLetter,
  sender: IdentityCertificate,
): Promise<Handled | undefined> {
  const unless = async (address: string, rule: string): Promise<Handled | undefined> => {
    const ownership = await names.ownership(address, sender.address);
    if (ownership === 'unknown') return { later: `whether ${address} is the sender’s could not be found out` };
    return ownership === 'own' ? undefined : refused(rule);
  };
  // The null reverse-path is for automatic answers (RFC 3834 §3.3).
  const envelopeObjection =
    envelope.from === '' ? undefined : await unless(envelope.from, 'envelope-sender-is-not-signer');
  if (envelopeObjection !== undefined) return envelopeObjection;
  const author = authorOf(await mailbox.read(message));
  if (author.kind === 'unclear') return refused('author-unclear');
  return unless(author.address, 'author-is-not-signer');
}

function organisations({ folder }: MailLetter): Placement & { readonly kind: 'place' } {
  return { kind: 'place', placing: folder === 'junk' ? 'junk' : 'accept' };
}

/** Folders of a recipient's own policy; they are made when the first letter comes there. */
const ownFolders = { introduce: 'Introductions', quarantine: 'Quarantine' } as const;

async function targetOf(
  mailbox: Mailbox,
  placing: (Placement & { readonly kind: 'place' })['placing'],
): Promise<Folder> {
  const junk = (): string => mailbox.folders().find(({ specialUse }) => specialUse === '\\Junk')?.name ?? 'Junk';
  const name = placing === 'accept' ? 'INBOX' : placing === 'junk' ? junk() : ownFolders[placing];
  const found = await mailbox.folder(name);
  if (found !== undefined) return found;
  // The user removed it, or never had it; what does not belong into the inbox must not get there for that.
  await mailbox.create(name);
  const made = await mailbox.folder(name);
  if (made === undefined) throw new MailFault('unavailable', `the folder ${name} could not be made`);
  return made;
}

async function insert(folder: Folder, letter: MailLetter, { id, at }: Opened): Promise<void> {
  const { message: ref, envelope, trace, provenance } = letter;
  await folder.insertRef({ id, ref, internalDate: at, envelopeFrom: envelope.from, trace, provenance });
}

/** `missing` is asked again too: while nodes come and go, the proper holders may not have got their copies yet. */
function answerTo(error: unknown): Handled {
  if (!(error instanceof MailFault)) throw error;
  switch (error.code) {
    case 'damaged':
    case 'too-large':
      return refused('message-damaged');
    case 'unavailable':
    case 'missing':
    // He may make room; what comes meanwhile waits as pending, and its sender is told when its time is over.
    case 'quota':
    case 'folder-gone':
      return { later: error.message };
    default:
      throw error;
  }
}
