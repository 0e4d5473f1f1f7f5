import { readableTexts } from './decoded-text.ts';
import type { Part } from './structure.ts';

// RFC 8970 §3.2: at most 200 characters.
const maxCharacters = 200;
// What is looked at for them: style sheets before the first word are skipped, novels are not read.
const lookedAt = 16_384;

/** The first words of a message, for a list of messages (RFC 8970). Empty where it has none. */
export function previewText(message: Buffer, top: Part): string {
  for (const text of readableTexts(message, top)) {
    const begin = text.slice(0, lookedAt);
    const words = (/<(?:!doctype|html|body|div|p)\b/i.test(begin) ? withoutTags(begin) : begin)
      .replace(/\s+/g, ' ')
      .trim();
    if (words !== '') return Array.from(words).slice(0, maxCharacters).join('').trimEnd();
  }
  return '';
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

function withoutTags(html: string): string {
  let text = '';
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf('<', at);
    text += html.slice(at, open === -1 ? html.length : open);
    if (open === -1) break;
    // What stands in these is for the machine.
    const hidden = /^<(style|script|title|head)\b/i.exec(html.slice(open, open + 10))?.[1];
    const end =
      hidden === undefined ? html.indexOf('>', open) : html.toLowerCase().indexOf(`</${hidden.toLowerCase()}`, open);
    if (end === -1) break;
    at = hidden === undefined ? end + 1 : end;
    if (hidden !== undefined) at = Math.max(at, html.indexOf('>', end) + 1);
    text += ' ';
  }
  return text.replace(/&(amp|lt|gt|quot|apos|nbsp);/g, (_, name: string) => entities[name] ?? ' ');
}
