import type { Domain } from '../../../policy/address.ts';
import type { Ownership } from '../../mail/ring-names.ts';
import { joinedInSlices, sha256InSlices } from '../../mail/slices.ts';
import { type Field, fieldValue, readFields } from '../header/fields.ts';
import { strictMailboxes } from '../header/mailboxes.ts';
import { type Reply, reply } from './reply.ts';
import type { HeaderEnd } from './wire-check.ts';

/** What of the conversation goes into the message. */
export interface Circumstances {
  readonly sender: string;
  readonly hostname: string;
  readonly domain: Domain;
  /** RFC 3848, RFC 6531 §4.3. */
  readonly protocol: 'ESMTPSA' | 'UTF8SMTPSA';
  readonly now: number;
  readonly ownership: (address: string) => Promise<Ownership>;
}

export type Prepared =
  /** `complete`: it had Date and Message-ID of its own. */
  | { readonly kind: 'message'; readonly bytes: Buffer; readonly complete: boolean }
  | { readonly kind: 'refused'; readonly reply: Reply };

/**
 * Makes a submitted message fit to be sent on (RFC 6409 §8): refuses what does not come from its sender, removes Bcc,
 * adds Message-ID and Date where missing and one Received field. All other octets stay as they are.
 * The same message submitted again gives the same octets, so that a repetition after a lost answer doubles nothing.
 */
export async function prepare(message: Buffer, end: HeaderEnd, circumstances: Circumstances): Promise<Prepared> {
  const fields = readFields(message, { start: 0, end: end.fields });
  const problem = await authorProblem(message, fields, circumstances.ownership);
  if (problem !== undefined) return { kind: 'refused', reply: problem };
  const digest = (await sha256InSlices(message, `${circumstances.sender}\0`)).toString('hex').slice(0, 32);
  const added = [received(message, fields, digest, circumstances)];
  if (!fields.some(({ name }) => name === 'date')) added.push(`Date: ${dateOf(circumstances.now)}\r\n`);
  if (!fields.some(({ name }) => name === 'message-id'))
    added.push(`Message-ID: <${digest}@${circumstances.domain}>\r\n`);
  const kept = fields
    .filter(({ name }) => name !== 'bcc' && name !== 'resent-bcc')
    .map(({ start, end: fieldEnd }) => message.subarray(start, fieldEnd));
  const rest = message.subarray(end.fields);
  // A header without the empty line behind it gets one: a field added by the next server must not become text.
  const separator = end.body === end.fields ? ['\r\n'] : [];
  return {
    kind: 'message',
    complete: added.length === 1,
    bytes: await joinedInSlices([
      ...added.map((text) => Buffer.from(text)),
      ...kept,
      ...separator.map((text) => Buffer.from(text)),
      rest,
    ]),
  };
}

/** DESIGN §10 and RFC 6409 §6.1: exactly one From, and nobody's but the sender's own; the same of Sender. */
async function authorProblem(
  message: Buffer,
  fields: readonly Field[],
  ownership: Circumstances['ownership'],
): Promise<Reply | undefined> {
  const named = (name: string): readonly Field[] => fields.filter((field) => field.name === name);
  const [from, second] = named('from');
  if (from === undefined || second !== undefined) return reply(550, '5.7.1', 'a message has exactly one From field');
  const sender = named('sender');
  if (sender.length > 1) return reply(550, '5.7.1', 'a message has at most one Sender field');
  for (const field of [from, ...sender]) {
    const shown = field.name === 'from' ? 'From' : 'Sender';
    const value = Buffer.from(fieldValue(message, field), 'latin1').toString('utf8');
    const addresses = strictMailboxes(value);
    if (addresses === undefined) return reply(550, '5.7.1', `the ${shown} field cannot be read for certain`);
    for (const address of addresses) {
      const whose = await ownership(address);
      if (whose === 'unknown') return undecided(address);
      if (whose === 'foreign')
        return reply(550, '5.7.1', `you may not write as ${address}, which the ${shown} field names`);
    }
  }
  return undefined;
}

/** RFC 3463 §3.5: the directory did not answer; that decides nothing. */
export function undecided(address: string): Reply {
  return reply(451, '4.4.3', `whether you may write as ${address} could not be found out; try again`);
}

/** RFC 5321 §4.4, without the name and address of the user's machine (RFC 6409 §9: they are nobody's business). */
function received(message: Buffer, fields: readonly Field[], digest: string, circumstances: Circumstances): string {
  const at = writtenAt(message, fields, circumstances.now);
  return `Received: by ${circumstances.hostname} (ePOST) with ${circumstances.protocol} id ${digest};\r\n\t${dateOf(at)}\r\n`;
}

const dayMs = 86_400_000;

/**
 * The time that Received names: when the program says that the message was written, as long as that is credible. The
 * clock would give other octets at each repetition, and with them a second copy for every recipient.
 */
function writtenAt(message: Buffer, fields: readonly Field[], now: number): number {
  const date = fields.find(({ name }) => name === 'date');
  const written = date === undefined ? Number.NaN : Date.parse(fieldValue(message, date).replace(/\([^()]*\)/g, ''));
  return written > now - 7 * dayMs && written < now + dayMs ? written : now;
}

/** RFC 5322 §3.3, in UTC. */
function dateOf(at: number): string {
  return new Date(at).toUTCString().replace('GMT', '+0000');
}
