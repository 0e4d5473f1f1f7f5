/** Replies of a mail server (RFC 5321 §4.2), read from whatever pieces the network brings. Pure. */

export interface Reply {
  readonly code: number;
  /** The texts of its lines, without code and separator. */
  readonly lines: readonly string[];
  /** As it came, line ends included. */
  readonly text: string;
}

/** What came is no reply, or more of one than anybody needs. */
export class ReplyFault extends Error {
  override readonly name = 'ReplyFault';
}

// RFC 5321 §4.5.3.1.5 allows 512 octets a line; EHLO answers and refusals with explanations are a few KiB in all. What is longer is there to fill our memory.
const maxReplyBytes = 64 * 1024;
const LF = 10;

/** Takes bytes, gives whole replies. Linear in what it is fed, however it is cut. */
export class ReplyReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #lines: string[] = [];
  #text = '';
  #code = 0;

  /** Bytes of an unfinished reply are waiting here. */
  get isMidway(): boolean {
    return this.#bytes > 0 || this.#lines.length > 0;
  }

  /** The replies that these bytes complete. Throws {@link ReplyFault}. */
  feed(bytes: Uint8Array): Reply[] {
    const replies: Reply[] = [];
    let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let end = rest.indexOf(LF); end >= 0; end = rest.indexOf(LF)) {
      const line = Buffer.concat([...this.#pieces, rest.subarray(0, end + 1)]);
      this.#pieces = [];
      this.#bytes = 0;
      rest = rest.subarray(end + 1);
      const reply = this.#line(line.toString('utf8'));
      if (reply !== undefined) replies.push(reply);
    }
    this.#pieces.push(rest);
    this.#bytes += rest.length;
    this.#bound(this.#bytes);
    return replies;
  }

  #line(line: string): Reply | undefined {
    this.#bound(line.length);
    const [, digits, separator, said = ''] = /^(\d{3})(?:([ -])(.*?))?\r?\n$/s.exec(line) ?? [];
    const code = Number(digits);
    // RFC 5321 §4.2: the first digit is 2 to 5. All lines of a reply have the same code.
    if (digits === undefined || code < 200 || code > 599 || (this.#lines.length > 0 && code !== this.#code)) {
      throw new ReplyFault(`not an SMTP reply: ${JSON.stringify(line.slice(0, 200).trimEnd())}`);
    }
    this.#code = code;
    this.#lines.push(said);
    this.#text += line;
    if (separator === '-') return undefined;
    const reply: Reply = { code, lines: this.#lines, text: this.#text };
    this.#lines = [];
    this.#text = '';
    return reply;
  }

  #bound(more: number): void {
    if (this.#text.length + more > maxReplyBytes) throw new ReplyFault(`a reply of more than ${maxReplyBytes} octets`);
  }
}
