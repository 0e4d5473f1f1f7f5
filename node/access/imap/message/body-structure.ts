import { firstValue } from '../../header/fields.ts';
import { nstring, string } from '../wire/output.ts';
import { type ContentType, parseParameterised } from './content-type.ts';
import { envelope } from './envelope.ts';
import type { Part } from './structure.ts';

/** BODYSTRUCTURE of a part, or BODY when `extended` is false (RFC 3501 §7.4.2). Never throws. */
export function bodyStructure(message: Buffer, part: Part, extended: boolean): string {
  if (part.content.kind === 'multipart') {
    const parts = part.content.parts.map((child) => bodyStructure(message, child, extended)).join('');
    const tail = extended ? ` ${parameters(part.type.parameters)} ${extension(message, part)}` : '';
    return `(${parts} ${string(part.type.subtype)}${tail})`;
  }
  const [type, subtype] = shownType(part);
  const common = `${string(type)} ${string(subtype)} ${basicFields(message, part)}`;
  const tail = extended ? ` ${nstring(value(message, part, 'content-md5'))} ${extension(message, part)}` : '';
  return `(${common}${specific(message, part, type, extended)}${tail})`;
}

/** A multipart or embedded message that could not be opened (too deep, no boundary) is octets: its own grammar needs children. */
function shownType(part: Part): [string, string] {
  if (part.content.kind === 'leaf' && (part.type.type === 'multipart' || isMessage(part.type))) {
    return ['application', 'octet-stream'];
  }
  return [part.type.type, part.type.subtype];
}

function isMessage(type: ContentType): boolean {
  return type.type === 'message' && (type.subtype === 'rfc822' || type.subtype === 'global');
}

function specific(message: Buffer, part: Part, type: string, extended: boolean): string {
  if (part.content.kind === 'message') {
    const inner = part.content.message;
    const structure = bodyStructure(message, inner, extended);
    return ` ${envelope(message, inner.fields)} ${structure} ${lines(message, part)}`;
  }
  return type === 'text' ? ` ${lines(message, part)}` : '';
}

function basicFields(message: Buffer, part: Part): string {
  const encoding = firstWord(value(message, part, 'content-transfer-encoding')) ?? '7bit';
  const id = nstring(value(message, part, 'content-id'));
  const description = nstring(value(message, part, 'content-description'));
  return `${parameters(part.type.parameters)} ${id} ${description} ${string(encoding)} ${part.body.end - part.body.start}`;
}

function firstWord(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const { value } = parseParameterised(text);
  return value === '' ? undefined : value;
}

/** body-fld-dsp, body-fld-lang, body-fld-loc. */
function extension(message: Buffer, part: Part): string {
  const disposition = value(message, part, 'content-disposition');
  const languages = (value(message, part, 'content-language') ?? '').split(',').map((tag) => tag.trim());
  const named = languages.filter((tag) => tag !== '').slice(0, 20);
  const language =
    named.length === 0 ? 'NIL' : named.length === 1 ? string(named[0] ?? '') : `(${named.map(string).join(' ')})`;
  return `${shownDisposition(disposition)} ${language} ${nstring(value(message, part, 'content-location'))}`;
}

function shownDisposition(text: string | undefined): string {
  if (text === undefined) return 'NIL';
  const { value, parameters: given } = parseParameterised(text);
  return value === '' ? 'NIL' : `(${string(value)} ${parameters(given)})`;
}

function parameters(given: ContentType['parameters']): string {
  return given.length === 0 ? 'NIL' : `(${given.map(([name, value]) => `${string(name)} ${string(value)}`).join(' ')})`;
}

function value(message: Buffer, part: Part, name: string): string | undefined {
  return firstValue(message, part.fields, name);
}

function lines(message: Buffer, part: Part): number {
  let count = 0;
  let at = message.indexOf(0x0a, part.body.start);
  while (at !== -1 && at < part.body.end) {
    count += 1;
    at = message.indexOf(0x0a, at + 1);
  }
  return count;
}
