import { encode } from '@ipld/dag-cbor';
import {
  type Address,
  type Domain,
  domainOf,
  parseAddress,
  parseLiteralAddress,
  withoutTag,
} from '../../policy/address.ts';
import { deriveKey } from '../identity/derive.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import { NotifyFault } from '../notify/fault.ts';
import type { Notify, TraceEvent } from '../notify/notify.ts';
import { compose } from '../notify/sealed.ts';
import type { BlockSink } from '../store/content.ts';
import type { Lookup } from '../store/directory.ts';
import { MailFault } from './fault.ts';
import {
  type EnvelopeOptions,
  encodeLetter,
  type Letter,
  letterLength,
  maxLetterBytes,
  maxRelayRecipients,
  type Onward,
  type RecipientOptions,
  type RelayLetter,
} from './letter.ts';
import { type Clock, type Log, leaseMs, type MailUser, mailboxKeys } from './mail-post.ts';
import { sha256 } from './manifest.ts';
import { storeMessage } from './message.ts';
import type { MessageRef } from './message-ref.ts';
import type { SentBook, SentNote } from './sent-book.ts';
import { sha256InSlices } from './slices.ts';

export type RecipientOutcome =
  /** Safe at the ring. The receipt will come under `id`. */
  | { readonly kind: 'sent'; readonly id: Uint8Array; readonly via: 'ring' | 'gateway' }
  | { readonly kind: 'no-such-user' }
  | { readonly kind: 'try-later'; readonly reason: string };

/** What became of a submitted message, recipient by recipient, in the order given. */
export interface Submission {
  readonly recipients: readonly { readonly address: string; readonly outcome: RecipientOutcome }[];
}

/** What sending needs of a POST node. */
export interface SendPost {
  readonly store: BlockSink;
  readonly notify: Pick<Notify, 'send'>;
  readonly overlay: { readonly ring: Pick<RingDescriptor, 'domains'> };
  /** Who is meant: of an alias, the identity it leads to. */
  lookup(address: Address): Promise<Lookup>;
}

export interface SubmitOptions {
  readonly post: SendPost;
  readonly user: MailUser;
  readonly envelope: {
    /** Empty for the null reverse-path. */
    readonly from: string;
    readonly to: readonly string[];
    readonly dsn?: ReadonlyMap<string, RecipientOptions> | undefined;
  } & EnvelopeOptions;
  readonly bytes: Uint8Array;
  /** The ring's gateway identity: who carries to the outside. */
  readonly gateway: Address;
  readonly now: Clock;
  readonly traceId: string;
  readonly trace?: ((id: string, event: TraceEvent) => void) | undefined;
  readonly log?: Log | undefined;
  /** Where what was sent waits for its receipt (returns.ts); without it nobody is told of refusals. */
  readonly book?: Pick<SentBook, 'note'> | undefined;
  /** Where the message is not the user's own, or goes to a list that he expands. */
  readonly carried?: Carried | undefined;
}

/** A message that is carried on, or sent to the members of a list. */
export interface Carried {
  readonly onward: Onward;
  /** Under what it is known for the same, by whatever way it goes (`postIdOf`). */
  readonly post: Uint8Array;
  /** What to do where it fails, for the one who is told of it (returns.ts). */
  readonly note?: Pick<SentNote, 'forwarded' | 'list'> | undefined;
}

// Lookups and pending copies under way at once: hides round trips, leaves the node room for others.
const recipientsAtOnce = 10;

/** One notification to send: a letter to an identity, for one or more of the recipients. */
type Errand = {
  readonly to: Address;
  readonly via: 'ring' | 'gateway';
  readonly letter: Letter;
  readonly for: readonly number[];
};

const later = (reason: string): RecipientOutcome => ({ kind: 'try-later', reason });

/**
 * Sends a user's message: to recipients in the ring as notifications, to all others through the gateway. Resolves when every `sent` is safe at
 * the write quorum. Ids depend on sender, recipients, envelope and message alone, so that the same submission again (after a lost answer) doubles nothing.
 */
export async function submit(options: SubmitOptions): Promise<Submission> {
  const { envelope } = options;
  const outcomes = envelope.to.map((): RecipientOutcome => ({ kind: 'no-such-user' }));
  const message = await stored(options);
  if (!('hash' in message))
    return submission(
      options,
      envelope.to.map(() => message),
    );
  const errands = errandsFor(options, message);
  for (let from = 0; from < errands.length; from += recipientsAtOnce) {
    await Promise.all(
      errands.slice(from, from + recipientsAtOnce).map(async (errand) => {
        const outcome = await run(options, errand, message.hash);
        for (const place of errand.for) outcomes[place] = outcome;
      }),
    );
  }
  return submission(options, outcomes);
}

function submission(
  { envelope, traceId, trace, log }: SubmitOptions,
  outcomes: readonly RecipientOutcome[],
): Submission {
  const recipients = envelope.to.map((address, i) => ({ address, outcome: outcomes[i] ?? later('not tried') }));
  for (const { address, outcome } of recipients) {
    const facts = outcome.kind === 'sent' ? { via: outcome.via, notification: hex(outcome.id) } : {};
    const reason = outcome.kind === 'try-later' ? { reason: outcome.reason } : {};
    trace?.(traceId, { what: `submission-${outcome.kind}`, recipient: address, ...facts, ...reason });
  }
  const sent = recipients.filter(({ outcome }) => outcome.kind === 'sent').length;
  log?.info({ trace: traceId, from: envelope.from, recipients: recipients.length, sent }, 'a message was submitted');
  return { recipients };
}

/** Stored once for all recipients, under a salt that only this user can make and that is the same each time. */
async function stored({ post, user, bytes, now }: SubmitOptions): Promise<MessageRef | RecipientOutcome> {
  const salt = deriveKey(
    deriveKey(mailboxKeys(user).export(), 'mail/mailbox'),
    'mail/salt',
    await sha256InSlices(bytes),
  );
  try {
    return await storeMessage(post.store, bytes, { salt, lease: { identity: user.address, until: now() + leaseMs } });
  } catch (error) {
    if (error instanceof MailFault && error.code === 'unavailable') return later(error.message);
    throw error;
  }
}

/** Recipients that are no address get no errand: nobody has that name. */
function errandsFor(options: SubmitOptions, message: MessageRef): readonly Errand[] {
  const { post, envelope, gateway, traceId, carried } = options;
  const onward = carried === undefined ? {} : { onward: carried.onward };
  const errands: Errand[] = [];
  const outside: number[] = [];
  envelope.to.forEach((text, place) => {
    const parsed = parseAddress(text);
    if (parsed.kind === 'invalid') {
      if (parseLiteralAddress(text) !== undefined) outside.push(place);
      return;
    }
    if (!isInRing(post.overlay.ring.domains, parsed.address)) {
      outside.push(place);
      return;
    }
    const to = { from: envelope.from, to: text, requireTls: envelope.requireTls };
    const letter: Letter = { kind: 'mail', message, envelope: to, folder: 'inbox', trace: traceId, ...onward };
    errands.push({ to: withoutTag(parsed.address), via: 'ring', letter, for: [place] });
  });
  const relayed = relayLetters(options, message, outside);
  return [
    ...errands,
    ...relayed.map(({ letter, places }) => ({ to: gateway, via: 'gateway' as const, letter, for: places })),
  ];
}

function isInRing(domains: readonly Domain[], address: Address): boolean {
  return domains.includes(domainOf(address));
}

/** As many recipients to a letter as fit, in the order given: the same recipients always make the same letters. */
function relayLetters(
  { envelope, traceId, carried }: SubmitOptions,
  message: MessageRef,
  places: readonly number[],
): readonly { letter: RelayLetter; places: readonly number[] }[] {
  const letterFor = (group: readonly number[]): RelayLetter => {
    const to = group.map((place) => envelope.to[place] ?? '');
    const dsn = to.map((address) => envelope.dsn?.get(address) ?? null);
    const { from, ret, envid, requireTls } = envelope;
    const asked = dsn.some((options) => options !== null) ? { dsn } : {};
    const onward = carried === undefined ? {} : { onward: carried.onward };
    return {
      kind: 'relay',
      message,
      envelope: { from, to, ret, envid, requireTls, ...asked },
      trace: traceId,
      ...onward,
    };
  };
  const groups: number[][] = [];
  for (const place of places) {
    const last = groups.at(-1);
    const more = [...(last ?? []), place];
    if (last !== undefined && more.length <= maxRelayRecipients && letterLength(letterFor(more)) <= maxLetterBytes)
      last.push(place);
    else groups.push([place]);
  }
  return groups.map((group) => ({ letter: letterFor(group), places: group }));
}

/** The sender's name for a notification: all that makes it this one, and nothing that differs when it is sent again (time, trace id). */
function errandName({ user, envelope, carried }: SubmitOptions, { to, letter }: Errand, hash: Uint8Array): Uint8Array {
  const { kind, envelope: inside } = letter;
  // By the post, not by its octets: what is on top of it tells the way it came.
  if (carried !== undefined) return sha256(encode(['carried', kind, user.address, to, inside.to, carried.post]));
  const { ret = null, envid = null, requireTls } = envelope;
  const options = [ret, envid, ...(requireTls === true ? ['REQUIRETLS'] : [])];
  return sha256(encode(['submission', kind, user.address, to, inside.from, inside.to, options, hash]));
}

async function run(options: SubmitOptions, errand: Errand, hash: Uint8Array): Promise<RecipientOutcome> {
  const { post, user, now } = options;
  const found = await post.lookup(errand.to);
  // A missing gateway is no fault of the recipient's name.
  const nobody: RecipientOutcome = errand.via === 'ring' ? { kind: 'no-such-user' } : later('the ring has no gateway');
  if (found.kind === 'unknown') return later(found.reason);
  if (found.kind !== 'found' || (found.certificate.kind === 'gateway') !== (errand.via === 'gateway')) return nobody;
  const sealed = compose({
    from: { certificate: user.certificate, signing: user.keys.signing },
    to: found.certificate,
    id: errandName(options, errand, hash),
    body: encodeLetter(errand.letter),
    now: now(),
  });
  // Before it goes: a receipt may come at once.
  await options.book?.note(sealed.id, noteOf(options, errand, found.certificate.address));
  try {
    const sent = await post.notify.send(sealed);
    return sent.kind === 'pending' ? { kind: 'sent', id: sealed.id, via: errand.via } : later(sent.reason);
  } catch (error) {
    if (error instanceof NotifyFault) return later(error.message);
    throw error;
  }
}

function noteOf({ envelope, bytes, now, traceId, carried }: SubmitOptions, errand: Errand, to: Address): SentNote {
  const recipients = errand.for.map((place) => envelope.to[place] ?? '');
  const asked = recipients.map((address) => envelope.dsn?.get(address) ?? null);
  return {
    to,
    via: errand.via,
    sender: envelope.from,
    recipients,
    envid: envelope.envid,
    dsn: asked.some((options) => options !== null) ? asked : undefined,
    header: bytes,
    at: now(),
    traceId,
    ...carried?.note,
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
