/** What arrives at a user or a list, once it is known who brought it into the ring, and what stands against it. */
import type { IdentityCertificate } from '../../identity/certificate.ts';
import type { Handled } from '../../notify/local-recipient.ts';
import type { Opened } from '../../notify/sealed.ts';
import { authorOf } from '../author.ts';
import type { MailLetter } from '../letter.ts';
import type { RingNames } from '../ring-names.ts';
import { sha256InSlices } from '../slices.ts';
import { type Custody, type CustodyParts, custodyOf, isUnchanged, postId } from './custody.ts';

export interface Arrival {
  readonly opened: Opened;
  readonly letter: MailLetter;
  /** How it came, where it was carried on. */
  readonly custody?: Custody | undefined;
  /** Who vouches for the message: who signs, or signed at the beginning. */
  readonly by: IdentityCertificate;
}

const refused = (rule: string): Handled => ({ verdict: 'refused', rule });

/** The arrival, or what to answer where its proofs do not hold or cannot be had now. */
export async function arrivalOf(
  opened: Opened,
  letter: MailLetter,
  parts: CustodyParts,
): Promise<Arrival | { readonly answer: Handled }> {
  if (letter.onward?.origin === undefined) return { opened, letter, by: opened.from };
  const found = await custodyOf(opened.from.address, letter.onward, parts);
  if (found.kind === 'refused') return { answer: refused(found.rule) };
  if (found.kind === 'later') return { answer: { later: found.reason } };
  return { opened, letter, custody: found.custody, by: found.custody.root.opened.from };
}

/** Users and lists speak for themselves alone and are held to it; gateways and services of the ring say what they saw. */
const speaksForItself = ({ kind }: IdentityCertificate): boolean => kind === 'user' || kind === 'list';

/**
 * What stands against a letter, reading its message only where that is needed: envelope sender and author of what somebody signs are himself, or an address
 * that leads to him (his own node checks that too, but it is his). Of what is carried on that holds of who wrote it, and its octets are still his.
 */
export async function objectionTo(
  arrival: Arrival,
  read: () => Promise<Uint8Array>,
  names: Pick<RingNames, 'ownership'>,
): Promise<Handled | undefined> {
  const { letter, opened, custody, by } = arrival;
  const carried = letter.onward;
  if (!speaksForItself(opened.from)) return carried === undefined ? undefined : refused('handed-on-by-a-service');
  const unless = async (address: string, owner: IdentityCertificate, rule: string): Promise<Handled | undefined> => {
    const ownership = await names.ownership(address, owner.address);
    if (ownership === 'unknown') return { later: `whether ${address} is the sender’s could not be found out` };
    return ownership === 'own' ? undefined : refused(rule);
  };
  // A forwarding keeps the sender to whom failures are told; a list is its own.
  if (custody !== undefined && letter.envelope.from !== custody.last.letter.envelope.from) {
    const foreign = await unlessNull(letter, opened.from, unless);
    if (foreign !== undefined) return foreign;
  }
  const bytes = await read();
  if (custody !== undefined && carried !== undefined && !(await isUnchanged(bytes, carried, custody)))
    return refused('handed-on-changed');
  if (!speaksForItself(by)) return undefined;
  const foreign = await unlessNull((custody?.root ?? arrival).letter, by, unless);
  if (foreign !== undefined) return foreign;
  const author = authorOf(bytes);
  if (author.kind === 'unclear') return refused('author-unclear');
  return unless(author.address, by, 'author-is-not-signer');
}

/** The null reverse-path is for automatic answers (RFC 3834 §3.3). */
async function unlessNull(
  { envelope }: MailLetter,
  owner: IdentityCertificate,
  unless: (address: string, owner: IdentityCertificate, rule: string) => Promise<Handled | undefined>,
): Promise<Handled | undefined> {
  return envelope.from === '' ? undefined : unless(envelope.from, owner, 'envelope-sender-is-not-signer');
}

/** Under what its message is known for the same, by whatever way it comes; reads it only where its sender expanded a list himself. */
export async function postIdOf({ letter, by, custody }: Arrival, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
  const first = (custody?.root ?? { letter }).letter;
  const own = first.onward?.added ?? 0;
  if (own === 0) return postId(by.address, first.message.hash);
  const added = custody === undefined ? own : (letter.onward?.added ?? 0) + own;
  return postId(by.address, await sha256InSlices((await read()).subarray(added)));
}
