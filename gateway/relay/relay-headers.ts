/** The header of an outgoing message put in order (RFC 6409 §8 lets a submission server do so), before it is signed. Pure; the body is not touched. */
import { fieldText, type HeaderBlock, type HeaderField, readHeaderBlock } from '../header-fields.ts';
import { inSlices, joined } from '../slices.ts';

export interface HeaderFacts {
  readonly hostname: string;
  readonly ring: string;
  readonly trace: string;
  readonly now: number;
  /** For a missing Message-ID: unguessable, and the same each time the same request is worked on. */
  readonly uniquePart: string;
}

/**
 * Fields that go no further: Bcc (RFC 5322 §3.6.3: the hidden recipients), Return-Path (RFC 5321 §4.4: the last host's to write), and what only this
 * ring's own gateways may say.
 */
const removed = (name: string): boolean =>
  ['bcc', 'resent-bcc', 'return-path'].includes(name) || name.startsWith('x-epost-');

export interface OrderedMessage {
  /** To be signed; what was given, where nothing had to change. */
  readonly message: Uint8Array;
  /** Of that message. */
  readonly block: HeaderBlock;
  /** To be put on top, above the signatures: each host adds its own trace line there (RFC 5321 §4.4). */
  readonly received: Uint8Array;
}

export async function inOrder(
  message: Uint8Array,
  facts: HeaderFacts,
  block: HeaderBlock = readHeaderBlock(message),
): Promise<OrderedMessage> {
  const { fields, end } = block;
  const kept = fields.filter(({ name }) => !removed(name));
  const added = missingFields(new Set(kept.map(({ name }) => name)), facts);
  const received = Buffer.from(receivedField(facts));
  if (kept.length === fields.length && added === '') return { message, block, received };
  const pieces = kept.map(({ start, end: to }) => message.subarray(start, to));
  const ordered = await joined([...pieces, Buffer.from(added), message.subarray(end)]);
  return { message: ordered, block: readHeaderBlock(ordered), received };
}

/** It says `TLS-Required: No`: reaching its recipients matters more than who listens. Twice is once too often, and no other value has a meaning (RFC 8689 §3). */
export function waivesTls(message: Uint8Array, { fields }: HeaderBlock): boolean {
  const [field, another] = fields.filter(({ name }) => name === 'tls-required');
  return field !== undefined && another === undefined && fieldText(message, field, 20).toLowerCase() === 'no';
}

function missingFields(names: ReadonlySet<string>, { hostname, now, uniquePart }: HeaderFacts): string {
  const date = names.has('date') ? '' : `Date: ${rfc5322Date(now)}\r\n`;
  const id = names.has('message-id') ? '' : `Message-ID: <${uniquePart}@${hostname}>\r\n`;
  return `${date}${id}`;
}

/** Says which ring and which gateway, and nothing of the user's machine: neither its address nor its name. */
function receivedField({ hostname, ring, trace, now }: HeaderFacts): string {
  return `Received: from ${ring} (ePOST ring) by ${hostname}\r\n\tid ${trace.replace(/[^A-Za-z0-9-]/g, '')}; ${rfc5322Date(now)}\r\n`;
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** RFC 5322 §3.3, in UTC. */
export function rfc5322Date(ms: number): string {
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const time = [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map(two).join(':');
  const date = `${days[at.getUTCDay()]}, ${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
  return `${date} ${time} +0000`;
}

export type WireFault = 'bare-newline' | 'line-too-long' | 'header-too-large';

/** RFC 5321 §4.5.3.1.6: 1,000 octets with CRLF. */
const maxLineOctets = 1000;
/** As large as the gateway takes from the Internet. */
const maxHeaderOctets = 256 * 1024;

/**
 * What keeps a message from going over SMTP as it is. Bare CR and LF would be changed on the way, which breaks the signature, and some hosts take them
 * for line ends (SMTP smuggling); one pass.
 */
export async function wireFault(
  message: Uint8Array,
  block: HeaderBlock = readHeaderBlock(message),
): Promise<WireFault | undefined> {
  let fault: WireFault | undefined;
  let lineStart = 0;
  const look = (from: number, to: number): WireFault | undefined => {
    for (let i = from; i < to; i += 1) {
      const byte = message[i];
      if (byte === 13 && message[i + 1] !== 10) return 'bare-newline';
      if (byte !== 10) continue;
      if (message[i - 1] !== 13) return 'bare-newline';
      if (i + 1 - lineStart > maxLineOctets) return 'line-too-long';
      lineStart = i + 1;
    }
    return undefined;
  };
  await inSlices(message, ({ length }, from) => {
    fault ??= look(from, from + length);
  });
  if (fault !== undefined) return fault;
  if (message.length - lineStart > maxLineOctets - 2) return 'line-too-long';
  return block.end > maxHeaderOctets ? 'header-too-large' : undefined;
}

/** RFC 5321 §6.3 suggests a limit of 100; a message has no good reason to pass 50 hosts. */
const maxHops = 50;

/** RFC 5321 §6.3: too many Received fields, or one of this gateway's own for the same trace. */
export function isLooping(message: Uint8Array, hostname: string, block: HeaderBlock): boolean {
  const received = block.fields.filter(({ name }) => name === 'received');
  if (received.length > maxHops) return true;
  const own = received.filter((field) => isOwn(message, field, hostname));
  // Forwarding may bring a message back once or twice for good reasons; a loop does so again and again.
  return own.length > 5;
}

function isOwn(message: Uint8Array, field: HeaderField, hostname: string): boolean {
  return fieldText(message, field, 1000).includes(` by ${hostname} `);
}
