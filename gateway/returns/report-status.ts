/** The part of a report that is made for programs (RFC 3464): groups of fields, the first about the message, one for each recipient. */
import { isBoundary, latinLines, readBlock, type TextBlock } from './report-lines.ts';

// RFC 6533 §4 is the same in UTF-8.
const statusType = /^content-type:\s*message\/(?:global-)?delivery-status/i;
// A message has up to 100 recipients with most hosts, 1,000 with some.
const maxGroups = 1_001;

/** Of the first such part; none where there is none. */
export function statusGroups(lines: readonly string[], from: number): readonly TextBlock[] {
  // Some hosts send the part alone, as the whole message.
  const start = lines.findIndex((line) => statusType.test(line));
  if (start < 0) return [];
  let top = start;
  while (top > 0 && (lines[top - 1] ?? '') !== '' && !isBoundary(lines[top - 1] ?? '')) top--;
  const head = readBlock(lines, top);
  const begin = Math.max(head.next, start < from ? from : 0);
  const rest = lines.slice(begin);
  const length = rest.findIndex(isBoundary);
  const part = length < 0 ? rest : rest.slice(0, length);
  const body = decoded(part, head.fields.get('content-transfer-encoding') ?? '');
  // A few leave the empty line out that ends the part's header: then its fields stand there.
  return [head.fields, ...groupsOf(body)].slice(0, maxGroups);
}

function groupsOf(lines: readonly string[]): TextBlock[] {
  const groups: TextBlock[] = [];
  for (let at = 0; at < lines.length && groups.length < maxGroups; ) {
    const { fields, next } = readBlock(lines, at);
    if (fields.size > 0) groups.push(...perRecipient(lines.slice(at, next), fields));
    at = next;
  }
  return groups;
}

/** Where the empty lines between the groups are missing, each Final-Recipient begins one. */
function perRecipient(lines: readonly string[], fields: TextBlock): TextBlock[] {
  const starts = lines.flatMap((line, index) => (/^final-recipient\s*:/i.test(line) ? [index] : []));
  if (starts.length < 2) return [fields];
  return [0, ...starts].map((start, index) => readBlock(lines.slice(start, starts[index]), 0).fields);
}

function decoded(lines: readonly string[], encoding: string): readonly string[] {
  if (/base64/i.test(encoding)) return latinLines(Buffer.from(lines.join(''), 'base64'));
  if (!/quoted-printable/i.test(encoding)) return lines;
  const text = lines.join('\n').replaceAll(/=[ \t]*\n/g, '');
  return text
    .replaceAll(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .split('\n');
}
