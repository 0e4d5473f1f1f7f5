import type { Handled } from '../notify/local-recipient.ts';
import type { Opened } from '../notify/sealed.ts';
import { MailFault } from './fault.ts';
import type { Folder } from './folder.ts';
import type { Forwarder } from './forward/forwarder.ts';
import { decodeLetter, type Letter, type MailLetter } from './letter.ts';
import type { Mailbox } from './mailbox.ts';
import { type Arrival, arrivalOf, objectionTo, postIdOf } from './onward/arrival.ts';
import type { CustodyParts } from './onward/custody.ts';
import type { Placement, RecipientControl } from './recipient-control.ts';
import type { RingNames } from './ring-names.ts';

const refused = (rule: string): Handled => ({ verdict: 'refused', rule });

export interface DeliveryParts {
  readonly names: Pick<RingNames, 'ownership'>;
  /** Asked before anything of the message is fetched; without it the organisation's verdict stands. */
  readonly control?: RecipientControl | undefined;
  /** What the proofs of letters that were carried on are checked with; without it none is taken. */
  readonly custody?: CustodyParts | undefined;
  readonly forwarder?: Forwarder | undefined;
  /** Told what a gateway put its name to, when its message is in a folder: the record and the certificate, so that it can be verified here later. */
  readonly kept?: ((what: VouchedFor) => void) | undefined;
}

/** How a message came in, as the gateway that took it says (gateway/provenance.ts). */
export interface VouchedFor {
  readonly trace: string;
  readonly provenance: Uint8Array;
  readonly certificate: Uint8Array;
}

/**
 * What a recipient's node does with a notification: into a folder, forwarded, refused with the rule's name, or asked again later. Idempotent by the
 * notification's id; what comes by several ways (written to and on a list) is one message. Throws only for what is neither the sender's nor the ring's fault.
 *
 * A user speaks for himself alone: envelope sender and author of what he signs are his own address, or an alias or list that is his, or it is refused (his own
 * node checks that too, but it is his). Lists and forwardings prove what they carry on (onward/). Gateways and services say what they saw.
 */
export function deliverTo(mailbox: Mailbox, parts: DeliveryParts): (opened: Opened) => Promise<Handled> {
  const { names, control, custody, forwarder, kept } = parts;
  return async (opened) => {
    const letter = letterOf(opened.body);
    if (letter === undefined) return refused('letter-malformed');
    if (letter.kind === 'relay') return refused('not-a-gateway');
    if (letter.onward?.origin !== undefined && custody === undefined) return refused('handed-on-without-proof');
    const found =
      custody === undefined ? { opened, letter, by: opened.from } : await arrivalOf(opened, letter, custody);
    if ('answer' in found) return found.answer;
    const vouched = asVouched(found);
    const placement = (await control?.place(vouched.letter, vouched.opened)) ?? organisations(letter);
    if (placement.kind === 'refuse') return refused(placement.rule);
    if (placement.kind === 'later') return { later: placement.reason };
    try {
      const read = async (): Promise<Uint8Array> => mailbox.read(letter.message);
      const objection = await objectionTo(found, read, names);
      if (objection !== undefined) return objection;
      const id = await postIdOf(found, read);
      const passed = placement.placing === 'accept' ? await forwarder?.forward(found, read, id) : undefined;
      if (passed?.kind === 'later') return { later: passed.reason };
      if (passed?.kind === 'forwarded' && !passed.keep) return { verdict: 'accepted' };
      // Leased in the recipient's name before the receipt: nobody else will refresh it.
      await Promise.all([
        mailbox.keep(letter.message),
        insert(await targetOf(mailbox, placement.placing), vouched.letter, { id, at: opened.at }),
      ]);
      if (placement.placing === 'accept' && placement.author !== undefined) await control?.welcomed(placement.author);
      const { opened: from, letter: told } = vouched;
      if (from.from.kind === 'gateway' && told.provenance !== undefined)
        kept?.({ trace: told.trace, provenance: told.provenance, certificate: from.from.bytes });
      return { verdict: 'accepted' };
    } catch (error) {
      return answerTo(error);
    }
  };
}

/** Undefined for what is none. */
export function letterOf(body: Uint8Array): Letter | undefined {
  try {
    return decodeLetter(body);
  } catch (error) {
    if (error instanceof MailFault) return undefined;
    throw error;
  }
}

/** A letter that was carried on, as if it had come from whoever brought its message into the ring: that is whom policy is about. */
function asVouched({ opened, letter, custody, by }: Arrival): { readonly opened: Opened; readonly letter: MailLetter } {
  if (custody === undefined) return { opened, letter };
  const { provenance } = custody.root.letter;
  return { opened: { ...opened, from: by }, letter: { ...letter, provenance } };
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

async function insert(folder: Folder, letter: MailLetter, { id, at }: Pick<Opened, 'id' | 'at'>): Promise<void> {
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
