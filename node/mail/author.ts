import { type Address, parseAddress } from '../../policy/address.ts';

export type Author =
  | { readonly kind: 'single'; readonly address: Address }
  | { readonly kind: 'unclear'; readonly reason: string };

// The header block that is looked at (DESIGN §14: 256 KiB) and one field of it.
const maxHeaderOctets = 256 * 1024;
const maxFieldOctets = 2_000;

// Each character belongs to exactly one of these, so that reading is linear. A comment that holds what looks like an address is not read.
const token = /([ \t]+)|(\([^()<>@,;:"\\]*\))|"((?:[^"\\]|\\.)*)"|([^\s()<>[\]:;@\\,"]+)|([<>@])/suy;

const unclear = (reason: string): Author => ({ kind: 'unclear', reason });

/**
 * The one mailbox in the one From field (RFC 5322 §3.6.2) of a message written inside the ring. Strict: whatever two readers could read
 * differently is `unclear`. Never throws; linear.
 */
export function authorOf(message: Uint8Array): Author {
  const fields = fromFields(message);
  const [value] = fields;
  if (value === undefined) return unclear('there is no From field');
  if (fields.length > 1) return unclear('there are several From fields');
  if (value.length > maxFieldOctets) return unclear('the From field is too long');
  return readMailbox(value);
}

/** Values of the From fields, unfolded. The header ends at the first empty line, whatever its line ends. */
function fromFields(message: Uint8Array): readonly string[] {
  const text = Buffer.from(message.buffer, message.byteOffset, Math.min(message.length, maxHeaderOctets)).toString();
  const fields: string[] = [];
  let inFrom = false;
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line === '') break;
    if (/^[ \t]/.test(line)) {
      if (inFrom) fields.push((fields.pop() ?? '') + line);
      continue;
    }
    inFrom = /^from[ \t]*:/i.test(line);
    if (inFrom) fields.push(line.slice(line.indexOf(':') + 1));
  }
  return fields;
}

/** `local@domain`, `<local@domain>` or a display name before that; comments only where nobody can take them for something else. */
function readMailbox(value: string): Author {
  const parts: string[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < value.length) {
    const match = token.exec(value);
    if (match === null) return unclear('the From field cannot be read in one way only');
    const [whole, space, comment, quoted, atom] = match;
    if (space !== undefined || comment !== undefined) continue;
    parts.push(quoted === undefined ? (atom ?? whole) : '"');
  }
  const angle = parts.indexOf('<');
  const inside = angle < 0 ? parts : parts.slice(angle + 1, -1);
  if (angle >= 0 && (parts.at(-1) !== '>' || parts.slice(0, angle).some((part) => part === '@' || part === '>')))
    return unclear('the From field names more than a mailbox');
  const [local, at, domain] = inside;
  if (inside.length !== 3 || at !== '@') return unclear('the From field does not name exactly one mailbox');
  const parsed = parseAddress(`${local}@${domain}`);
  if (parsed.kind === 'invalid') return unclear(parsed.reason);
  return { kind: 'single', address: parsed.address };
}
