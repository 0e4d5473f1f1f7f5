import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { MailFault } from './fault.ts';
import { decodeMessageRef, encodeMessageRef, type MessageRef, packedMessageRefBytes } from './message-ref.ts';

/** Parameters that travel with an envelope (RFC 3461 §4, RFC 8689 §2). */
export interface EnvelopeOptions {
  readonly ret?: 'FULL' | 'HDRS' | undefined;
  readonly envid?: string | undefined;
  readonly requireTls?: true | undefined;
}

/** RFC 3461 §4.1 and §4.2, for one recipient. */
export interface RecipientOptions {
  readonly notify: readonly string[];
  readonly orcpt?: string | undefined;
}

/** That the message was not written by who signs, but came to him and goes on: a list, or a forwarding. */
export interface Onward {
  /** Where the proof lies that it came to him (`Opened.proof`); absent where he wrote it himself and expanded a list for it. */
  readonly origin?: MessageRef | undefined;
  /** Octets of fields on top of the message as it was when it came into the ring (onward-fields.ts). */
  readonly added: number;
}

/** A message for the recipient of the notification. */
export interface MailLetter {
  readonly kind: 'mail';
  readonly message: MessageRef;
  /** `from` is empty for the null reverse-path (RFC 5321 §4.5.5). */
  readonly envelope: {
    readonly from: string;
    readonly to: string;
    /** RFC 8689: who carries it on out of the ring requires TLS, too. */
    readonly requireTls?: true | undefined;
  };
  readonly folder: 'inbox' | 'junk';
  readonly trace: string;
  /** The gateway's signed record of what it saw (opaque here). */
  readonly provenance?: Uint8Array | undefined;
  readonly onward?: Onward | undefined;
}

/** A message that the ring's gateway is to carry to the outside. */
export interface RelayLetter {
  readonly kind: 'relay';
  readonly message: MessageRef;
  readonly envelope: {
    readonly from: string;
    /** As the sender wrote them: the case of a foreign local part is not ours to change (RFC 5321 §2.4). */
    readonly to: readonly string[];
    /** By place in `to`; absent where nothing was asked for. */
    readonly dsn?: readonly (RecipientOptions | null)[] | undefined;
  } & EnvelopeOptions;
  readonly trace: string;
  readonly onward?: Onward | undefined;
}

/** The body of a notification of the mail application. */
export type Letter = MailLetter | RelayLetter;

/** A notification's body takes no more (DESIGN §8); the store takes the rest. */
export const maxLetterBytes = 4_096;
/** More recipients of one message go in several letters. */
export const maxRelayRecipients = 20;
// Signed evidence in short; what is longer belongs into the message's header.
const maxProvenanceBytes = 2_560;
// RFC 5321 §4.5.3.1.3 gives a path 256 octets; UTF-8 and our own addresses take up to 320.
const path = z.string().max(320);
const octets = (max: number): z.ZodType<Uint8Array> => z.instanceof(Uint8Array).refine((bytes) => bytes.length <= max);

const message = octets(packedMessageRefBytes).transform(decodeMessageRef);
const trace = z.string().max(64);
const onward = z.strictObject({
  origin: message.optional(),
  // Fields of some lists, one in the other: far below a header's 256 KiB.
  added: z
    .int()
    .min(0)
    .max(64 * 1024),
});
// RFC 3461 §4.4.
const envid = z.string().max(100);
const recipientOptions = z.strictObject({
  notify: z.array(z.enum(['NEVER', 'SUCCESS', 'FAILURE', 'DELAY'])).max(4),
  // RFC 3461 §4.2.
  orcpt: z.string().max(500).optional(),
});

const letter = z.discriminatedUnion('kind', [
  z.strictObject({
    v: z.literal(1),
    kind: z.literal('mail'),
    message,
    envelope: z.strictObject({ from: path, to: path, requireTls: z.literal(true).optional() }),
    folder: z.enum(['inbox', 'junk']),
    trace,
    provenance: octets(maxProvenanceBytes).optional(),
    onward: onward.optional(),
  }),
  z.strictObject({
    v: z.literal(1),
    kind: z.literal('relay'),
    message,
    envelope: z.strictObject({
      from: path,
      to: z.array(path).min(1).max(maxRelayRecipients),
      dsn: z.array(recipientOptions.nullable()).max(maxRelayRecipients).optional(),
      ret: z.enum(['FULL', 'HDRS']).optional(),
      envid: envid.optional(),
      requireTls: z.literal(true).optional(),
    }),
    trace,
    onward: onward.optional(),
  }),
]);

/** Values that are undefined are left out: DAG-CBOR has no word for them. */
function present(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

function plain(value: Letter): Record<string, unknown> {
  const envelope: Record<string, unknown> = present(value.envelope);
  if (value.kind === 'relay' && value.envelope.dsn !== undefined)
    envelope['dsn'] = value.envelope.dsn.map((options) => (options === null ? null : present(options)));
  const { onward: carried } = value;
  const on = carried === undefined ? {} : { onward: plainOnward(carried) };
  return { ...present(value), v: 1, message: encodeMessageRef(value.message), envelope, ...on };
}

function plainOnward({ origin, added }: Onward): Record<string, unknown> {
  return origin === undefined ? { added } : { origin: encodeMessageRef(origin), added };
}

/** Octets of the letter as they would be, whether they fit or not. */
export function letterLength(value: Letter): number {
  return encode(plain(value)).length;
}

/** Throws MailFault `too-large` where it does not fit into a notification. */
export function encodeLetter(value: Letter): Uint8Array {
  const bytes = encode(plain(value));
  if (bytes.length > maxLetterBytes) throw new MailFault('too-large', `a letter of ${bytes.length} octets`);
  return bytes;
}

/** Throws MailFault `damaged` for what {@link encodeLetter} does not make: the sender is a stranger. */
export function decodeLetter(bytes: Uint8Array): Letter {
  if (bytes.length > maxLetterBytes) throw new MailFault('too-large', `a letter of ${bytes.length} octets`);
  try {
    const { v: _, ...read } = letter.parse(decode(bytes));
    return read;
  } catch (cause) {
    throw new MailFault('damaged', 'not a letter', cause);
  }
}
