/** The fields that whoever carries a message on puts on top of it, and what fields of a message say of where it has been. Pure. */
import { type Address, domainOf, parseAddress } from '../../../policy/address.ts';
import { fieldsOf, headerBlock, lineEnd } from '../notice-header.ts';

/** What the members of a list are told of it in each message. */
export interface ListFacts {
  readonly address: Address;
  readonly owners: readonly Address[];
  /** Whether members may answer to the list. */
  readonly takesPosts: boolean;
}

/** All that may be added: none of them is read as who wrote a message, to whom, or what it says. */
const allowed: ReadonlySet<string> = new Set([
  'delivered-to',
  'list-id',
  'list-post',
  'list-owner',
  'list-unsubscribe',
  'precedence',
]);

const passedField = 'Delivered-To';

/** For the next copy: that it was at this address. `below` is what others had added. */
export function forwardFields(address: Address, below: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${passedField}: ${address}${lineEnd}`), below]);
}

/**
 * RFC 2369 and RFC 2919, with the trace field by which a loop is known. Of a list that has this one as its member the trace stays, and its own fields give
 * way: a message has one List-Id (RFC 2919 §5).
 */
export function listFields(list: ListFacts, below: Uint8Array): Buffer {
  const [owner = list.address] = list.owners;
  const mailto = (address: string, rest = ''): string => `<mailto:${encodeURI(address).replaceAll('?', '%3F')}${rest}>`;
  const subject = `?subject=${encodeURIComponent(`unsubscribe ${list.address}`)}`;
  const lines = [
    `${passedField}: ${list.address}`,
    `List-Id: <${listId(list.address)}>`,
    // RFC 2369 §3.4: NO where nobody should answer to the list.
    `List-Post: ${list.takesPosts ? mailto(list.address) : 'NO'}`,
    `List-Owner: ${mailto(owner)}`,
    `List-Unsubscribe: ${mailto(owner, subject)}`,
    // RFC 3834 §2: not for answering machines. No standard, and the field they look at.
    'Precedence: list',
    ...passedIn(below).map((address) => `${passedField}: ${address}`),
  ];
  return Buffer.from(lines.map((line) => line + lineEnd).join(''));
}

/** RFC 2919 §2: `name.example.org`; characters that an id cannot have are percent-encoded, which it can. */
function listId(address: Address): string {
  const domain = domainOf(address);
  return `${encodeURIComponent(address.slice(0, -domain.length - 1))}.${domain}`;
}

/** Whether these octets are such fields and nothing else: whole lines, so that what stands below is not changed by them. */
export function areAddedFields(octets: Uint8Array): boolean {
  if (octets.length === 0) return true;
  const text = Buffer.from(octets).toString('latin1');
  if (!text.endsWith(lineEnd)) return false;
  return text
    .slice(0, -lineEnd.length)
    .split(lineEnd)
    .every((line) => {
      const name = /^([!-9;-~]+):[^\r\n\0]*$/.exec(line)?.[1];
      return name !== undefined && allowed.has(name.toLowerCase());
    });
}

function passedIn(header: Uint8Array): readonly string[] {
  return fieldsOf(headerBlock(header), passedField.toLowerCase());
}

/** Whether a message has been at this address before, by its own account: going on would bring it here again and again. */
export function hasPassed(message: Uint8Array, address: Address): boolean {
  return passedIn(message).some((text) => {
    const parsed = parseAddress(text);
    return parsed.kind === 'address' && parsed.address === address;
  });
}

/** RFC 3834 §5: an answer that a program wrote, such as an absence notice. */
export function isAutomaticReply(message: Uint8Array): boolean {
  return fieldsOf(headerBlock(message), 'auto-submitted').some((value) => /^auto-replied\b/i.test(value));
}
