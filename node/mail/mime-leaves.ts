/** One leaf part of a MIME message: the byte range of its body, and whether its header says base64. */
export interface Leaf {
  readonly start: number;
  /** Exclusive; the line end before a boundary belongs to the boundary (RFC 2046 §5.1.1). */
  readonly end: number;
  readonly base64: boolean;
}

// DESIGN §14. Beyond them the rest of the message simply stays in the skeleton.
const maxDepth = 50;
const maxParts = 1_000;
// RFC 2046 §5.1.1 allows 70; real mail has more.
const maxBoundaryLength = 250;
// One header field that matters here; longer ones are not read.
const maxFieldLength = 8_192;

const lf = 10;
const cr = 13;
const dash = 45;

type Entity = { readonly body: number; readonly type: string; readonly boundary?: string; readonly encoding: string };

/** Start of the line after `from`, or the end of the message. */
function nextLine(message: Buffer, from: number): number {
  const at = message.indexOf(lf, from);
  return at < 0 ? message.length : at + 1;
}

// Which is found first does not matter for correctness: whatever is taken for a leaf is put back where it was.
const boundaryParameter = /;\s*boundary\s*=\s*(?:"([^"]*)"|([^\s;"]+))/i;

function readEntity(fields: ReadonlyMap<string, string>, body: number): Entity {
  const contentType = fields.get('content-type') ?? '';
  const type = /^\s*([^\s;]*)/.exec(contentType)?.[1]?.toLowerCase() ?? '';
  const encoding = fields.get('content-transfer-encoding')?.trim().toLowerCase() ?? '';
  const match = type.startsWith('multipart/') ? boundaryParameter.exec(contentType) : null;
  const boundary = (match?.[1] ?? match?.[2])?.trimEnd();
  const usable = boundary !== undefined && boundary.length > 0 && boundary.length <= maxBoundaryLength;
  return { body, type, encoding, ...(usable ? { boundary } : {}) };
}

/**
 * The leaf parts of a message, in order, found by their byte ranges in one pass over the whole buffer (linear: every byte is looked at a
 * bounded number of times, whatever the nesting). Tolerant: what does not parse is left to the skeleton. Never throws.
 */
export function leavesOf(bytes: Uint8Array): readonly Leaf[] {
  return new Scan(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).run();
}

class Scan {
  private readonly message: Buffer;
  private readonly leaves: Leaf[] = [];
  /** Boundaries of the multiparts that are open, outermost first, with the depth of each. */
  private readonly open: { readonly boundary: string; readonly depth: number }[] = [];
  /** Delimiter line to its place in `open`; an inner boundary that repeats an outer one hides it. */
  private readonly places = new Map<string, number>();
  private parts = 0;

  constructor(message: Buffer) {
    this.message = message;
  }

  run(): readonly Leaf[] {
    let at: number | undefined = 0;
    let depth = 0;
    while (at !== undefined && this.parts < maxParts) {
      this.parts += 1;
      const entity = this.entity(at);
      // An embedded message is an entity of its own (RFC 2046 §5.2.1): its attachments are shared like any other.
      if (entity.type === 'message/rfc822' && entity.encoding !== 'base64' && depth < maxDepth) {
        at = entity.body;
        depth += 1;
        continue;
      }
      const inside = entity.boundary !== undefined && depth < maxDepth;
      if (inside) this.push(entity.boundary ?? '', depth + 1);
      const next = this.nextPart(entity, inside);
      at = next?.at;
      depth = next?.depth ?? 0;
    }
    return this.leaves;
  }

  /** Reads the header block at `at`, up to the empty line or to a delimiter that cuts it short. */
  private entity(at: number): Entity {
    const fields = new Map<string, string>();
    let name = '';
    let position = at;
    while (position < this.message.length) {
      const next = nextLine(this.message, position);
      const first = this.message[position];
      if (first === lf || (first === cr && this.message[position + 1] === lf)) return readEntity(fields, next);
      if (first === dash && this.placeOf(position, next) !== undefined) return readEntity(fields, position);
      name = this.field(fields, name, position, next);
      position = next;
    }
    return readEntity(fields, position);
  }

  /** Notes the line if it belongs to one of the two fields that matter; gives the field that the next line would continue. */
  private field(fields: Map<string, string>, current: string, start: number, end: number): string {
    const first = this.message[start];
    if (first === 32 || first === 9) {
      const value = fields.get(current);
      if (value !== undefined && value.length < maxFieldLength) fields.set(current, value + this.text(start, end));
      return current;
    }
    // 'c' or 'C': a cheap look before a string is made of every line.
    if (first !== 67 && first !== 99) return '';
    const line = this.text(start, end);
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trimEnd().toLowerCase();
    if (name !== 'content-type' && name !== 'content-transfer-encoding') return '';
    if (!fields.has(name)) fields.set(name, line.slice(colon + 1));
    return name;
  }

  private text(start: number, end: number): string {
    return this.message.toString('latin1', start, Math.min(end, start + maxFieldLength)).replaceAll(/[\r\n]/g, ' ');
  }

  /** Ends the entity's body at the next delimiter of an open multipart; gives where the part after it begins. */
  private nextPart(entity: Entity, multipart: boolean): { at: number; depth: number } | undefined {
    let from = entity.body;
    let leafStart: number | undefined = multipart ? undefined : entity.body;
    for (;;) {
      const start = this.delimiterStart(from);
      if (leafStart !== undefined) {
        this.leaf(leafStart, start === undefined ? this.message.length : this.bodyEnd(leafStart, start), entity);
        leafStart = undefined;
      }
      if (start === undefined) return undefined;
      const next = nextLine(this.message, start);
      const found = this.placeOf(start, next);
      if (found === undefined) return undefined;
      this.popTo(found.place + (found.closes ? 0 : 1));
      if (!found.closes) return { at: next, depth: this.open[found.place]?.depth ?? 0 };
      from = next;
    }
  }

  private leaf(start: number, end: number, entity: Entity): void {
    if (end > start) this.leaves.push({ start, end, base64: entity.encoding === 'base64' });
  }

  private bodyEnd(start: number, delimiter: number): number {
    let end = delimiter;
    if (end > start && this.message[end - 1] === lf) end -= 1;
    if (end > start && this.message[end - 1] === cr) end -= 1;
    return end;
  }

  /** The next line at or after `from` (itself a line start) that is a delimiter of an open multipart. */
  private delimiterStart(from: number): number | undefined {
    if (this.open.length === 0) return undefined;
    let line = from;
    while (line < this.message.length) {
      if (this.message[line] === dash && this.message[line + 1] === dash) {
        if (this.placeOf(line, nextLine(this.message, line)) !== undefined) return line;
      }
      const found = this.message.indexOf('\n--', Math.max(line, 0), 'latin1');
      if (found < 0) return undefined;
      line = found + 1;
    }
    return undefined;
  }

  private placeOf(start: number, end: number): { place: number; closes: boolean } | undefined {
    // White space after a boundary is padding (RFC 2046 §5.1.1); a line longer than any boundary with padding is none.
    if (end - start > maxBoundaryLength + 200) return undefined;
    const line = this.message.toString('latin1', start + 2, end).trimEnd();
    const exact = this.places.get(line);
    if (exact !== undefined) return { place: exact, closes: false };
    const place = line.endsWith('--') ? this.places.get(line.slice(0, -2)) : undefined;
    return place === undefined ? undefined : { place, closes: true };
  }

  private push(boundary: string, depth: number): void {
    this.places.set(boundary, this.open.length);
    this.open.push({ boundary, depth });
  }

  private popTo(length: number): void {
    for (const { boundary } of this.open.splice(length)) this.places.delete(boundary);
    // A hidden outer boundary of the same name comes back.
    this.open.forEach(({ boundary }, place) => {
      if (!this.places.has(boundary)) this.places.set(boundary, place);
    });
  }
}
