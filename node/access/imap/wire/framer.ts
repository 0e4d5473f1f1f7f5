import { GrowingBuffer } from './growing-buffer.ts';

/** A command as it stood on the wire: text and literals in turn, line ends and literal announcements removed. */
export type Segment = { readonly kind: 'text' | 'literal'; readonly bytes: Buffer };

export interface LiteralAnnouncement {
  /** The text received so far, of which the tag and the command's name are the beginning. */
  readonly text: string;
  readonly size: number;
  /** The client waits for our `+` before it sends the octets (RFC 3501 §7.5); otherwise they come at once (RFC 7888). */
  readonly waits: boolean;
}

export type Framed =
  | { readonly kind: 'command'; readonly segments: readonly Segment[] }
  /** The caller must answer with {@link Framer.takeLiteral} or {@link Framer.dropCommand} before it asks again. */
  | { readonly kind: 'literal'; readonly announcement: LiteralAnnouncement }
  | { readonly kind: 'too-long'; readonly text: string }
  | { readonly kind: 'more' };

export interface FrameLimits {
  /** Octets of text in one command, literals not counted. */
  readonly maxTextBytes: number;
  /** Literals in one command. */
  readonly maxLiterals: number;
}

// Longest announcement: `~{4294967295+}`.
const announcement = /~?\{([0-9]{1,10})([+-]?)\}$/;
const announcementTail = 16;

/**
 * Cuts the octets of one IMAP connection into commands (RFC 3501 §2.2, RFC 7888). Feed it in any portions; it is linear
 * in what it is fed and never holds more than the limits and the literals that the caller took.
 * A bare LF ends a line as CRLF does: nothing is relayed from here, so there is nothing to smuggle.
 */
export class Framer {
  readonly #buffer = new GrowingBuffer();
  readonly #limits: () => FrameLimits;
  #segments: Segment[] = [];
  #textBytes = 0;
  #literals = 0;
  #literal: { wanted: number; got: number; chunks: Buffer[] } | undefined;
  #asked: number | undefined;

  constructor(limits: () => FrameLimits) {
    this.#limits = limits;
  }

  push(chunk: Buffer): void {
    this.#buffer.push(chunk);
  }

  /** Octets received and not yet handed out. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /** The next command, a question about a literal, or `more` when the rest has not come yet. */
  next(): Framed {
    for (;;) {
      if (this.#literal !== undefined && !this.#fillLiteral(this.#literal)) return { kind: 'more' };
      const line = this.#line();
      if (line === undefined) return { kind: 'more' };
      if (line === 'too-long') return { kind: 'too-long', text: this.#firstText() };
      const framed = this.#addLine(line);
      if (framed !== undefined) return framed;
    }
  }

  /** The next line as it is, without literals: what AUTHENTICATE and IDLE wait for. */
  nextLine(): Buffer | 'too-long' | undefined {
    return this.#line();
  }

  takeLiteral(): void {
    if (this.#asked === undefined) throw new Error('no literal was announced');
    this.#literal = { wanted: this.#asked, got: 0, chunks: [] };
    this.#asked = undefined;
  }

  /** Forgets the command begun, so that the next line starts a new one. Only right when the client waits. */
  dropCommand(): void {
    this.#reset();
  }

  /** Forgets everything received: nothing sent before TLS may be taken for something sent inside it (RFC 3501 §6.2.1). */
  clear(): void {
    this.#buffer.take(this.#buffer.length);
    this.#reset();
  }

  #reset(): void {
    this.#segments = [];
    this.#textBytes = 0;
    this.#literals = 0;
    this.#literal = undefined;
    this.#asked = undefined;
  }

  #fillLiteral(literal: { wanted: number; got: number; chunks: Buffer[] }): boolean {
    const chunk = this.#buffer.take(Math.min(literal.wanted - literal.got, this.#buffer.length));
    literal.got += chunk.length;
    if (chunk.length > 0) literal.chunks.push(chunk);
    if (literal.got < literal.wanted) return false;
    this.#segments.push({ kind: 'literal', bytes: joined(literal.chunks) });
    this.#literal = undefined;
    return true;
  }

  #line(): Buffer | 'too-long' | undefined {
    const allowed = this.#limits().maxTextBytes - this.#textBytes;
    const end = this.#buffer.indexOfLineFeed();
    if (end === -1) return this.#buffer.length > allowed ? 'too-long' : undefined;
    if (end > allowed) return 'too-long';
    const line = this.#buffer.take(end + 1);
    const length = end > 0 && line[end - 1] === 0x0d ? end - 1 : end;
    return line.subarray(0, length);
  }

  #addLine(line: Buffer): Framed | undefined {
    this.#textBytes += line.length;
    const match = announcement.exec(line.toString('latin1', Math.max(0, line.length - announcementTail)));
    if (match === null) {
      this.#segments.push({ kind: 'text', bytes: line });
      const segments = this.#segments;
      this.#reset();
      return { kind: 'command', segments };
    }
    this.#segments.push({ kind: 'text', bytes: line.subarray(0, line.length - match[0].length) });
    this.#literals += 1;
    if (this.#literals > this.#limits().maxLiterals) return { kind: 'too-long', text: this.#firstText() };
    this.#asked = Number(match[1]);
    return { kind: 'literal', announcement: { text: this.#firstText(), size: this.#asked, waits: match[2] === '' } };
  }

  #firstText(): string {
    // Enough for a tag and a name; the rest is nobody's business before it has been parsed.
    return (this.#segments[0]?.bytes ?? this.#buffer.peek(200)).toString('latin1', 0, 200);
  }
}

function joined(chunks: readonly Buffer[]): Buffer {
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}
