import { messageLookups } from '../../../gateway/dns/message-lookups.ts';
import { type Authentication, authenticate } from '../../../gateway/evidence/authenticate.ts';
import { authorOf } from '../../../gateway/evidence/author.ts';
import { type ZoneEntry, zoneResolver } from './zone.ts';

export interface Conversation {
  readonly ip?: string;
  readonly helo?: string;
  readonly mailFrom?: string;
}

/** What the gateway finds out about a message whose world is this zone; the budget is the one of the product. */
export async function authenticated(
  message: Uint8Array,
  zone: Readonly<Record<string, ZoneEntry>>,
  { ip = '192.0.2.99', helo = 'client.invalid', mailFrom = '' }: Conversation = {},
): Promise<Authentication> {
  const lookups = messageLookups(zoneResolver(zone), { maxLookups: 100, deadline: Date.now() + 60_000, now: Date.now });
  const hostname = 'mx.test';
  const found = await authenticate({ message, ip, helo, mailFrom, hostname, author: authorOf(message), lookups });
  if (found.fault !== undefined) throw found.fault;
  return found;
}

/** A file of vectors as SMTP would carry it: each line end is CRLF. */
export function onTheWire(file: Uint8Array): Buffer {
  return Buffer.from(Buffer.from(file).toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
}
