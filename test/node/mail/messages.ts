/** Octets of a line-based text with CRLF. */
export function octets(...lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

/** Reproducible octets that do not compress or repeat. */
export function noise(size: number, seed = 1): Uint8Array {
  const out = Buffer.alloc(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

/** Base64 in lines of `width`. */
export function base64Lines(bytes: Uint8Array, width = 76, eol = '\r\n'): string {
  return (
    Buffer.from(bytes)
      .toString('base64')
      .match(new RegExp(`.{1,${width}}`, 'g')) ?? []
  ).join(eol);
}

/** A message with a text and one attachment. */
export function withAttachment(
  attachment: Uint8Array,
  options: { width?: number; eol?: '\r\n' | '\n'; subject?: string; encoding?: string; tail?: string } = {},
): Uint8Array {
  const { width = 76, eol = '\r\n', subject = 'with attachment', encoding = 'base64', tail = '' } = options;
  const body = encoding === 'base64' ? base64Lines(attachment, width, eol) : Buffer.from(attachment).toString('latin1');
  const lines = [
    'From: alice@example.org',
    'To: bob@example.org',
    `Subject: ${subject}`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed;',
    '\tboundary="=_b 1"',
    '',
    'preamble',
    '--=_b 1',
    'Content-Type: text/plain',
    '',
    'see attached',
    '--=_b 1  ',
    'Content-Type: application/octet-stream; name=a.bin',
    `Content-Transfer-Encoding: ${encoding}`,
    '',
    body + tail,
    '--=_b 1--',
    'epilogue',
    '',
  ];
  return Buffer.from(lines.join(eol), 'latin1');
}
