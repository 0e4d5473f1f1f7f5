import { type EnvelopeAddress, parseAddresses } from '../../header/addresses.ts';
import { type Field, fieldValue, firstValue } from '../../header/fields.ts';
import { nstring, string } from '../wire/output.ts';

/** ENVELOPE of a header block (RFC 3501 §7.4.2). Never throws. */
export function envelope(message: Buffer, fields: readonly Field[]): string {
  const text = (name: string): string => nstring(firstValue(message, fields, name));
  const people = (name: string): readonly EnvelopeAddress[] =>
    fields.filter((field) => field.name === name).flatMap((field) => parseAddresses(fieldValue(message, field)));
  const from = people('from');
  // The server fills in for Sender and Reply-To that are missing or empty.
  const orFrom = (name: string): readonly EnvelopeAddress[] => {
    const given = people(name);
    return given.length === 0 ? from : given;
  };
  const lists = [from, orFrom('sender'), orFrom('reply-to'), people('to'), people('cc'), people('bcc')].map(
    addressList,
  );
  return `(${text('date')} ${text('subject')} ${lists.join(' ')} ${text('in-reply-to')} ${text('message-id')})`;
}

function addressList(addresses: readonly EnvelopeAddress[]): string {
  return addresses.length === 0 ? 'NIL' : `(${addresses.map(address).join('')})`;
}

function address(entry: EnvelopeAddress): string {
  switch (entry.kind) {
    case 'mailbox':
      return `(${nstring(entry.name)} ${nstring(entry.route)} ${string(entry.local)} ${string(entry.host)})`;
    case 'group-start':
      return `(NIL NIL ${string(entry.name)} NIL)`;
    default:
      return '(NIL NIL NIL NIL)';
  }
}
