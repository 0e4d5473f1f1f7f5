import { type Field, firstValue, lineAfter, type Range, readFields } from '../../header/fields.ts';
import { type ContentType, parameter, parseContentType } from './content-type.ts';

/** A part of a message, all of it as byte ranges into the message. */
export interface Part {
  /** With the empty line that ends it. */
  readonly header: Range;
  readonly fields: readonly Field[];
  /** Without the line end before the boundary, which belongs to the boundary (RFC 2046 §5.1.1). */
  readonly body: Range;
  readonly type: ContentType;
  readonly content:
    | { readonly kind: 'leaf' }
    | { readonly kind: 'multipart'; readonly parts: readonly Part[] }
    | { readonly kind: 'message'; readonly message: Part };
}

// DESIGN §14. What lies deeper or comes later stays part of the leaf around it.
const maxDepth = 50;
const maxParts = 1_000;
// RFC 2046 §5.1.1 allows 70; real mail has more.
const maxBoundaryBytes = 250;

interface Draft {
  header: Range;
  fields: readonly Field[];
  bodyStart: number;
  bodyEnd: number;
  type: ContentType;
  content: { kind: 'leaf' } | { kind: 'multipart'; parts: Draft[] } | { kind: 'message'; message: Draft };
}

interface OpenMultipart {
  readonly boundary: string;
  readonly draft: Draft;
  /** The entities inside the current child that end with it: the child, and messages embedded in it. */
  current: Draft[];
  readonly depth: number;
}

/** The MIME structure of a message (RFC 2045, RFC 2046). One pass, linear whatever the nesting; tolerant; never throws. */
export function parseStructure(message: Buffer): Part {
  return finished(new Pass(message).run(), message.length);
}

class Pass {
  readonly #message: Buffer;
  readonly #open: OpenMultipart[] = [];
  /** Boundary to its place in `#open`; an inner one that repeats an outer one hides it. */
  readonly #places = new Map<string, number>();
  #parts = 0;

  constructor(message: Buffer) {
    this.#message = message;
  }

  run(): Draft {
    const top: Draft[] = [];
    let at = this.#enter(0, top, 0, false);
    for (;;) {
      const delimiter = this.#nextDelimiter(at);
      if (delimiter === undefined) break;
      at = this.#pass(delimiter);
    }
    this.#closeTo(0, this.#message.length);
    for (const draft of top) draft.bodyEnd = this.#message.length;
    return top[0]!;
  }

  /** Opens the entity at `at` and those embedded in it; gives where to look for the next delimiter. */
  #enter(at: number, current: Draft[], depth: number, inDigest: boolean): number {
    const draft = this.#header(at, inDigest);
    this.#parts += 1;
    current.push(draft);
    const { type } = draft;
    if (depth < maxDepth && this.#parts < maxParts) {
      if (type.type === 'message' && (type.subtype === 'rfc822' || type.subtype === 'global')) {
        const end = this.#enter(draft.bodyStart, current, depth + 1, false);
        const inner = current[current.indexOf(draft) + 1];
        if (inner !== undefined) draft.content = { kind: 'message', message: inner };
        return end;
      }
      const boundary = type.type === 'multipart' ? parameter(type, 'boundary')?.trimEnd() : undefined;
      if (boundary !== undefined && boundary !== '' && boundary.length <= maxBoundaryBytes) {
        draft.content = { kind: 'multipart', parts: [] };
        this.#places.set(boundary, this.#open.length);
        this.#open.push({ boundary, draft, current: [], depth });
      }
    }
    return draft.bodyStart;
  }

  /** Ends what the delimiter ends and begins what it begins. */
  #pass(found: { place: number; closes: boolean; start: number; next: number }): number {
    this.#closeTo(found.place + 1, found.start);
    const open = this.#open[found.place]!;
    this.#endChild(open, found.start);
    if (found.closes || this.#parts >= maxParts) {
      if (found.closes) this.#forget(found.place);
      return found.next;
    }
    const inDigest = open.draft.type.subtype === 'digest';
    const at = this.#enter(found.next, open.current, open.depth + 1, inDigest);
    if (open.draft.content.kind === 'multipart') open.draft.content.parts.push(open.current[0]!);
    return at;
  }

  #endChild(open: OpenMultipart, delimiterStart: number): void {
    for (const draft of open.current) draft.bodyEnd = Math.max(draft.bodyStart, this.#beforeLineEnd(delimiterStart));
    open.current = [];
  }

  #closeTo(length: number, delimiterStart: number): void {
    while (this.#open.length > length) {
      const open = this.#open[this.#open.length - 1]!;
      const end = delimiterStart;
      for (const draft of open.current) {
        draft.bodyEnd = Math.max(draft.bodyStart, end === this.#message.length ? end : this.#beforeLineEnd(end));
      }
      this.#forget(this.#open.length - 1);
    }
  }

  #forget(place: number): void {
    for (const { boundary } of this.#open.splice(place)) this.#places.delete(boundary);
    this.#open.forEach(({ boundary }, index) => this.#places.set(boundary, index));
  }

  #beforeLineEnd(at: number): number {
    if (this.#message[at - 1] !== 0x0a) return at;
    return this.#message[at - 2] === 0x0d ? at - 2 : at - 1;
  }

  /** The header block at `at`: up to and with the empty line, or up to a delimiter that cuts it short. */
  #header(at: number, inDigest: boolean): Draft {
    const end = this.#message.length;
    let line = at;
    let fieldsEnd = end;
    while (line < end) {
      const next = lineAfter(this.#message, line, end);
      if (isEmptyLine(this.#message, line, next)) {
        fieldsEnd = line;
        line = next;
        break;
      }
      if (this.#delimiterAt(line, next) !== undefined) {
        fieldsEnd = line;
        break;
      }
      line = next;
    }
    const fields = readFields(this.#message, { start: at, end: Math.min(fieldsEnd, line) });
    const type = parseContentType(firstValue(this.#message, fields, 'content-type'), inDigest);
    return { header: { start: at, end: line }, fields, bodyStart: line, bodyEnd: end, type, content: { kind: 'leaf' } };
  }

  /** The first line at or after `from`, itself the start of a line, that is a delimiter of an open multipart. */
  #nextDelimiter(from: number): { place: number; closes: boolean; start: number; next: number } | undefined {
    let line = from;
    while (this.#open.length > 0 && line < this.#message.length) {
      if (this.#message[line] === 0x2d && this.#message[line + 1] === 0x2d) {
        const next = lineAfter(this.#message, line, this.#message.length);
        const found = this.#delimiterAt(line, next);
        if (found !== undefined) return { ...found, start: line, next };
      }
      const found = this.#message.indexOf('\n--', line, 'latin1');
      if (found === -1) return undefined;
      line = found + 1;
    }
    return undefined;
  }

  #delimiterAt(start: number, end: number): { place: number; closes: boolean } | undefined {
    if (this.#message[start] !== 0x2d || this.#message[start + 1] !== 0x2d) return undefined;
    // Blanks after a boundary are padding (RFC 2046 §5.1.1); a line longer than any boundary with padding is none.
    if (end - start > maxBoundaryBytes + 200) return undefined;
    const line = this.#message.toString('latin1', start + 2, end).trimEnd();
    const exact = this.#places.get(line);
    if (exact !== undefined) return { place: exact, closes: false };
    const place = line.endsWith('--') ? this.#places.get(line.slice(0, -2)) : undefined;
    return place === undefined ? undefined : { place, closes: true };
  }
}

function isEmptyLine(message: Buffer, start: number, end: number): boolean {
  const length = end - start;
  return (
    (length === 1 && message[start] === 0x0a) || (length === 2 && message[start] === 0x0d && message[end - 1] === 0x0a)
  );
}

/** `limit`: where the part around it ends; a header cut short by a boundary must not reach into the line end before it. */
function finished(draft: Draft, limit: number): Part {
  const { fields, type, content } = draft;
  const header = { start: Math.min(draft.header.start, limit), end: Math.min(draft.header.end, limit) };
  const body = { start: header.end, end: Math.max(header.end, Math.min(draft.bodyEnd, limit)) };
  if (content.kind === 'message') {
    return { header, fields, type, body, content: { kind: 'message', message: finished(content.message, body.end) } };
  }
  if (content.kind === 'multipart') {
    // RFC 3501 §9 body-type-mpart has at least one part: one without is shown as holding nothing.
    const parts =
      content.parts.length === 0 ? [nothing(body.start)] : content.parts.map((part) => finished(part, body.end));
    return { header, fields, type, body, content: { kind: 'multipart', parts } };
  }
  return { header, fields, type, body, content: { kind: 'leaf' } };
}

function nothing(at: number): Part {
  const empty = { start: at, end: at };
  return {
    header: empty,
    fields: [],
    body: empty,
    type: parseContentType(undefined, false),
    content: { kind: 'leaf' },
  };
}
