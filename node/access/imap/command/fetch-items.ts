import type { Partial, Section } from '../message/section.ts';
import { type Scanner, SyntaxFault } from '../wire/scanner.ts';

/** One data item of FETCH (RFC 3501 §6.4.5). RFC822, RFC822.HEADER and RFC822.TEXT are sections under an old name. */
export type FetchItem =
  | { readonly kind: 'flags' | 'uid' | 'internaldate' | 'size' | 'envelope' | 'body' | 'bodystructure' }
  /** RFC 7162 §3.1.4, RFC 8474 §5, RFC 8970. */
  | { readonly kind: 'modseq' | 'emailid' | 'threadid' | 'preview' }
  /** RFC 3516 §4.2, §4.3: a part with its transfer encoding undone, or how many octets that are. */
  | {
      readonly kind: 'binary';
      readonly label: string;
      readonly path: readonly number[];
      readonly partial: Partial | undefined;
      readonly peek: boolean;
    }
  | { readonly kind: 'binary-size'; readonly label: string; readonly path: readonly number[] }
  | {
      readonly kind: 'section';
      /** As the response names it, without the partial. */
      readonly label: string;
      readonly section: Section;
      readonly partial: Partial | undefined;
      /** Leaves \Seen alone. */
      readonly peek: boolean;
    };

// What one FETCH can ask for; a client that reads headers asks for some twenty names at once.
const maxItems = 100;
const maxHeaderNames = 200;
const maxSectionDepth = 60;

const simple: Readonly<Record<string, FetchItem>> = {
  FLAGS: { kind: 'flags' },
  UID: { kind: 'uid' },
  INTERNALDATE: { kind: 'internaldate' },
  'RFC822.SIZE': { kind: 'size' },
  ENVELOPE: { kind: 'envelope' },
  BODYSTRUCTURE: { kind: 'bodystructure' },
  MODSEQ: { kind: 'modseq' },
  EMAILID: { kind: 'emailid' },
  THREADID: { kind: 'threadid' },
  RFC822: old('RFC822', 'all', false),
  'RFC822.HEADER': old('RFC822.HEADER', 'header', true),
  'RFC822.TEXT': old('RFC822.TEXT', 'text', false),
};

const fast = ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE'];
const macros: Readonly<Record<string, readonly string[]>> = {
  FAST: fast,
  ALL: [...fast, 'ENVELOPE'],
  FULL: [...fast, 'ENVELOPE', 'BODY'],
};

function old(label: string, kind: 'all' | 'header' | 'text', peek: boolean): FetchItem {
  return { kind: 'section', label, section: { path: [], text: { kind } }, partial: undefined, peek };
}

/** The argument of FETCH after the set: a macro, an item, or items in brackets. */
export function fetchItems(scanner: Scanner): readonly FetchItem[] {
  if (scanner.nextIs('(')) {
    const items = scanner.list(() => fetchItem(scanner, scanner.name()), maxItems);
    if (items.length === 0) throw new SyntaxFault('FETCH names at least one item');
    return items;
  }
  const name = scanner.name();
  const macro = macros[name];
  if (macro === undefined) return [fetchItem(scanner, name)];
  return macro.map((item) => simple[item] ?? { kind: 'body' });
}

function fetchItem(scanner: Scanner, name: string): FetchItem {
  const known = simple[name];
  if (known !== undefined) return known;
  if (name === 'PREVIEW') return preview(scanner);
  if (name === 'BINARY' || name === 'BINARY.PEEK' || name === 'BINARY.SIZE') return binary(scanner, name);
  if (name !== 'BODY' && name !== 'BODY.PEEK') throw new SyntaxFault(`unknown FETCH item ${name}`);
  if (!scanner.take('[')) {
    if (name === 'BODY') return { kind: 'body' };
    throw new SyntaxFault('BODY.PEEK is followed by [');
  }
  const { label, section } = sectionSpecification(scanner);
  scanner.character(']');
  return { kind: 'section', label: `BODY[${label}]`, section, partial: partial(scanner), peek: name === 'BODY.PEEK' };
}

/** RFC 8970 §3.1: LAZY is a plea not to wait, and ours are made at once or not at all. */
function preview(scanner: Scanner): FetchItem {
  // `PREVIEW (LAZY)`; a lone `PREVIEW (CHANGEDSINCE …)` is left to the modifiers.
  if (scanner.followedBy(' (LAZY)')) scanner.skip(' (LAZY)'.length);
  return { kind: 'preview' };
}

function binary(scanner: Scanner, name: 'BINARY' | 'BINARY.PEEK' | 'BINARY.SIZE'): FetchItem {
  scanner.character('[');
  const words = scanner.nextIs(']') ? '' : scanner.name();
  scanner.character(']');
  if (!/^(?:[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})*)?$/.test(words))
    throw new SyntaxFault('a binary section is a part number');
  const path = words === '' ? [] : words.split('.').map(Number);
  if (path.length > maxSectionDepth) throw new SyntaxFault('the section lies too deep');
  if (name === 'BINARY.SIZE') return { kind: 'binary-size', label: `BINARY.SIZE[${words}]`, path };
  return { kind: 'binary', label: `BINARY[${words}]`, path, partial: partial(scanner), peek: name === 'BINARY.PEEK' };
}

function sectionSpecification(scanner: Scanner): { label: string; section: Section } {
  if (scanner.nextIs(']')) return { label: '', section: { path: [], text: { kind: 'all' } } };
  const words = scanner.name();
  const split = /^((?:[1-9][0-9]{0,8}(?:\.|$))*)(.*)$/.exec(words);
  const path = (split?.[1] ?? '')
    .split('.')
    .filter((part) => part !== '')
    .map(Number);
  if (path.length > maxSectionDepth) throw new SyntaxFault('the section lies too deep');
  const text = split?.[2] ?? '';
  if (text === '' && words.endsWith('.')) throw new SyntaxFault('the section ends in a dot');
  const found = sectionText(scanner, text, path.length > 0);
  const prefix = path.length > 0 && text !== '' ? `${path.join('.')}.` : path.join('.');
  return { label: prefix + found.label, section: { path, text: found.text } };
}

function sectionText(scanner: Scanner, name: string, inPart: boolean): { label: string; text: Section['text'] } {
  switch (name) {
    case '':
      return { label: '', text: { kind: 'all' } };
    case 'HEADER':
      return { label: name, text: { kind: 'header' } };
    case 'TEXT':
      return { label: name, text: { kind: 'text' } };
    case 'HEADER.FIELDS':
    case 'HEADER.FIELDS.NOT':
      return headerFields(scanner, name);
    default:
      // RFC 3501 §6.4.5: MIME is a part's own header, so a message has none.
      if (name === 'MIME' && inPart) return { label: name, text: { kind: 'mime' } };
      throw new SyntaxFault('unknown section');
  }
}

function headerFields(scanner: Scanner, name: string): { label: string; text: Section['text'] } {
  scanner.space();
  const names = scanner.list(() => scanner.astringBytes().toString('latin1'), maxHeaderNames);
  if (!names.every((field) => /^[\x21-\x7e]{1,200}$/.test(field)))
    throw new SyntaxFault('not the name of a header field');
  const shown = names.map((field) => (/^[A-Za-z0-9-]+$/.test(field) ? field : `"${field.replace(/["\\]/g, '\\$&')}"`));
  return { label: `${name} (${shown.join(' ')})`, text: { kind: 'fields', not: name.endsWith('NOT'), names } };
}

function partial(scanner: Scanner): Partial | undefined {
  if (!scanner.take('<')) return undefined;
  const offset = scanner.number();
  scanner.character('.');
  const count = scanner.number();
  scanner.character('>');
  if (count === 0) throw new SyntaxFault('a partial asks for at least one octet');
  return { offset, count };
}
