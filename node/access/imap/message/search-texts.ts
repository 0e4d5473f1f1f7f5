import { type TextColumn, type Texts, textColumns } from '../../../mail/text-columns.ts';
import { fieldValue, readFields } from '../../header/fields.ts';
import { decodeWords } from './decoded-text.ts';

/** Case means nothing (RFC 3501 §6.4.4), in any script. */
export function folded(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

/** The field's values as searches compare them. */
export function headerTexts(header: Buffer, name: string): readonly string[] {
  return readFields(header, { start: 0, end: header.length }, name)
    .filter((field) => field.name === name)
    .map((field) => folded(decodeWords(fieldValue(header, field))));
}

/** The day that the Date field names, in its own zone, in ms; undefined when there is none (RFC 3501 §6.4.4, SENTON). */
export function sentDay(header: Buffer): number | undefined {
  const [value] = headerTexts(header, 'date');
  const match = value === undefined ? null : /(\d{1,2})\s+([a-z]{3})[a-z]*\s+(\d{4})/.exec(value);
  if (match === null) return undefined;
  const day = Date.parse(`${match[1]} ${match[2]} ${match[3]} 00:00:00 GMT`);
  return Number.isNaN(day) ? undefined : day;
}

/** All that is kept of a header for searches. */
export function searchTexts(header: Buffer): Texts {
  const texts: Record<TextColumn, readonly string[]> = { ...nothing };
  for (const field of readFields(header, { start: 0, end: header.length })) {
    if (!isColumn(field.name)) continue;
    texts[field.name] = [...texts[field.name], folded(decodeWords(fieldValue(header, field)))];
  }
  const day = sentDay(header);
  return { ...texts, sent: day === undefined ? [] : [String(day)] };
}

const nothing = Object.fromEntries(textColumns.map((column) => [column, []])) as unknown as Texts;

/** Whether texts of this field are kept. */
export function isColumn(field: string): field is Exclude<TextColumn, 'sent'> {
  return field !== 'sent' && (textColumns as readonly string[]).includes(field);
}
