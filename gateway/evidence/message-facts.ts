import type { Evidence } from '../../policy/evidence.ts';
import { fieldText, type HeaderBlock, readHeaderBlock } from '../header-fields.ts';

// A List-Id is a domain name in brackets with a phrase before it (RFC 2919 §2).
const maxListIdChars = 255;

/** What the header says of the message as such. `asciiOnly`: whoever sent it did not say that its header may have more than ASCII in it. */
export function messageFacts(
  message: Uint8Array,
  block: HeaderBlock = readHeaderBlock(message),
  { asciiOnly = false }: { readonly asciiOnly?: boolean } = {},
): Evidence['message'] {
  const named = (name: string) => block.fields.filter((field) => field.name === name);
  const [listId] = named('list-id');
  const text = listId === undefined ? '' : fieldText(message, listId, 4 * maxListIdChars);
  return {
    bytes: message.length,
    hasMessageId: named('message-id').length > 0,
    receivedCount: named('received').length,
    // RFC 3834 §5: any other value than "no" means that no person sent it.
    autoSubmitted: named('auto-submitted').some((field) => !/^no\b/i.test(fieldText(message, field, 100))),
    // The header has 256 KiB at most, and mostly one.
    eightBitHeader: asciiOnly && message.subarray(0, block.end).some((octet) => octet > 127),
    listId: (/<([^<>]*)>/.exec(text)?.[1] ?? text).trim().slice(0, maxListIdChars).toLowerCase(),
  };
}
