/**
 * What the node of a list does with what comes to it: to the members, each once, where its sender may post; else refused with the rule's name. What nobody
 * wrote for the members (bounces, reports: the null reverse-path) goes to the owners.
 */
import { type Address, parseAddress } from '../../../policy/address.ts';
import type { IdentityCertificate } from '../../identity/certificate.ts';
import { LogFault } from '../../log/fault.ts';
import type { Handled } from '../../notify/local-recipient.ts';
import type { Opened } from '../../notify/sealed.ts';
import type { BlockSource } from '../../store/content.ts';
import { letterOf } from '../delivery.ts';
import { MailFault } from '../fault.ts';
import type { MailLetter } from '../letter.ts';
import { fetchMessage } from '../message.ts';
import { buildNotice, type NoticeRecipient } from '../notice.ts';
import { type Arrival, arrivalOf, objectionTo, postIdOf } from '../onward/arrival.ts';
import type { CustodyParts } from '../onward/custody.ts';
import { hasPassed, isAutomaticReply, listFields } from '../onward/fields.ts';
import { type HandOnParts, handOn } from '../onward/hand-on.ts';
import type { RingNames } from '../ring-names.ts';
import { seenOutside } from '../seen-outside.ts';
import { type Submission, submit } from '../send.ts';
import { decodeRequest } from './list-request.ts';
import { type ListChange, type ListState, mayPost, type Poster } from './list-state.ts';

export interface ListHomeParts extends HandOnParts {
  readonly post: HandOnParts['post'] & { readonly store: BlockSource };
  readonly state: () => ListState;
  /** In the ring when it resolves. Throws MailFault, LogFault. */
  readonly change: (changes: readonly ListChange[]) => Promise<void>;
  readonly names: Pick<RingNames, 'ownership'>;
  readonly custody: Pick<CustodyParts, 'trust'>;
  /** Who reports, in notices to the owners. */
  readonly hostname: string;
}

const refused = (rule: string): Handled => ({ verdict: 'refused', rule });

// Lists that hold each other send a post round until all have had it; which ones had is known for so many posts.
const maxRemembered = 10_000;

export class ListHome {
  readonly #parts: ListHomeParts;
  readonly #had = new Set<string>();

  constructor(parts: ListHomeParts) {
    this.#parts = parts;
  }

  /** Safe to repeat with the same notification. Throws only for what is neither the sender's nor the ring's fault. */
  async take(opened: Opened): Promise<Handled> {
    const { post, names, custody, now } = this.#parts;
    const asked = decodeRequest(opened.body);
    if (asked !== undefined) return this.#change(opened.from, asked);
    const letter = letterOf(opened.body);
    if (letter === undefined) return refused('letter-malformed');
    if (letter.kind === 'relay') return refused('not-a-gateway');
    const arrival = await arrivalOf(opened, letter, { ...custody, store: post.store, now });
    if ('answer' in arrival) return arrival.answer;
    try {
      let fetched: Promise<Uint8Array> | undefined;
      const read = async (): Promise<Uint8Array> => (fetched ??= fetchMessage(post.store, letter.message));
      const objection = await objectionTo(arrival, read, names);
      if (objection !== undefined) return objection;
      return await this.#spread(arrival, await read(), await postIdOf(arrival, read));
    } catch (error) {
      if (!(error instanceof MailFault)) throw error;
      const isFinal = error.code === 'damaged' || error.code === 'too-large';
      return isFinal ? refused('message-damaged') : { later: error.message };
    }
  }

  async #change(from: IdentityCertificate, changes: readonly ListChange[]): Promise<Handled> {
    const { user, state, change, log } = this.#parts;
    if (from.kind !== 'user' || !state().owners.includes(from.address)) return refused('only-owners-change-a-list');
    try {
      await change(changes);
    } catch (error) {
      if (error instanceof MailFault && error.code === 'too-large') return refused('list-full');
      if (error instanceof MailFault || error instanceof LogFault) return { later: error.message };
      throw error;
    }
    log.info({ list: user.address, owner: from.address, changes: changes.length }, 'an owner changed his list');
    return { verdict: 'accepted' };
  }

  /** A notice of ours to the owners, under an id of its own. */
  async tellOwners(notice: Uint8Array, traceId: string): Promise<void> {
    const { state, user } = this.#parts;
    const { owners } = state();
    if (owners.length === 0) return;
    const { recipients } = await submit({
      ...this.#parts,
      envelope: { from: '', to: owners },
      bytes: notice,
      traceId,
    });
    const late = recipients.find(({ outcome }) => outcome.kind === 'try-later');
    if (late !== undefined)
      throw new MailFault('unavailable', `${late.address}, an owner of ${user.address}, could not be told`);
  }

  async #spread(arrival: Arrival, bytes: Uint8Array, id: Uint8Array): Promise<Handled> {
    const { user, state, trace, log } = this.#parts;
    const { letter } = arrival;
    const list = state();
    if (letter.envelope.from === '') return this.#toOwners(arrival, bytes, id);
    const known = Buffer.from(id).toString('hex');
    // By another way: from a list that it is a member of, or in a circle.
    if (this.#had.has(known)) return { verdict: 'accepted' };
    const objection = this.#objection(arrival, bytes, list);
    if (objection !== undefined) {
      trace?.(letter.trace, { what: 'list-refused', list: user.address, rule: objection });
      return refused(objection);
    }
    // Already with those who expanded it themselves, and for them no second errand.
    const to = [...list.members.values()].filter((text) => parseAddress(text).kind === 'address');
    const { address } = user;
    const facts = { address, owners: list.owners, takesPosts: list.posting !== 'owners' };
    const submission = await handOn(this.#parts, arrival, bytes, {
      fields: (below) => listFields(facts, below),
      envelope: { from: address, to },
      post: id,
      note: { list: address },
    });
    const late = laterIn(submission);
    if (late !== undefined) return { later: late };
    await this.#tellOfUnknown(submission, letter, bytes);
    this.#remember(known);
    trace?.(letter.trace, { what: 'list-post', list: address, members: to.length });
    log.info({ trace: letter.trace, list: address, members: to.length }, 'a post went to the members of a list');
    return { verdict: 'accepted' };
  }

  #objection({ letter, by, custody }: Arrival, bytes: Uint8Array, list: ListState): string | undefined {
    const { address } = this.#parts.user;
    if (hasPassed(bytes, address)) return 'mail-loop';
    if (isAutomaticReply(bytes)) return 'automatic-reply-to-list';
    if (letter.folder === 'junk') return 'junk-to-list';
    const poster = posterOf((custody?.root.letter ?? letter).provenance, by);
    return mayPost(list, poster) ? undefined : `list-takes-posts-of-${list.posting}`;
  }

  async #toOwners(arrival: Arrival, bytes: Uint8Array, id: Uint8Array): Promise<Handled> {
    const { state, user } = this.#parts;
    if (hasPassed(bytes, user.address)) return refused('mail-loop');
    const { owners } = state();
    if (owners.length === 0) return { verdict: 'accepted' };
    const submission = await handOn(this.#parts, arrival, bytes, {
      fields: (below) => Buffer.concat([Buffer.from(`Delivered-To: ${user.address}\r\n`), below]),
      envelope: { from: '', to: owners },
      post: id,
    });
    const late = laterIn(submission);
    return late === undefined ? { verdict: 'accepted' } : { later: late };
  }

  /** Members whom the ring does not know (any more). */
  async #tellOfUnknown({ recipients }: Submission, letter: MailLetter, bytes: Uint8Array): Promise<void> {
    const { user, hostname, now } = this.#parts;
    const gone = recipients.filter(({ outcome }) => outcome.kind === 'no-such-user');
    if (gone.length === 0) return;
    const told = gone.map(
      ({ address }): NoticeRecipient => ({
        address,
        action: 'failed',
        status: '5.1.1',
        text: `There is no such user. Take the address out of the list: epost list remove ${user.address} ${address}`,
      }),
    );
    const at = now();
    const notice = buildNotice({
      reportingMta: hostname,
      author: user.address,
      sender: user.address,
      recipients: told,
      originalHeader: bytes,
      arrivedAt: at,
      now: at,
      traceId: letter.trace,
    });
    await this.tellOwners(notice, letter.trace);
  }

  #remember(known: string): void {
    this.#had.add(known);
    const [oldest] = this.#had;
    if (this.#had.size > maxRemembered && oldest !== undefined) this.#had.delete(oldest);
  }
}

function laterIn({ recipients }: Submission): string | undefined {
  for (const { address, outcome } of recipients)
    if (outcome.kind === 'try-later') return `${address}: ${outcome.reason}`;
  return undefined;
}

/** Who wrote it, as far as somebody vouches for that: himself in the ring, DMARC outside. */
function posterOf(provenance: Uint8Array | undefined, by: Arrival['by']): Poster {
  if (by.kind !== 'gateway') return { kind: 'ring', address: by.address };
  const seen = provenance === undefined ? undefined : seenOutside(provenance, by);
  const isProven = seen?.author?.kind === 'single' && seen.dmarc?.result === 'pass';
  const address: Address | undefined = isProven ? addressOf(seen.author?.address ?? '') : undefined;
  return { kind: 'outside', address };
}

function addressOf(text: string): Address | undefined {
  const parsed = parseAddress(text);
  return parsed.kind === 'address' ? parsed.address : undefined;
}
