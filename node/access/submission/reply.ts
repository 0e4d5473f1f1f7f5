/** What the client is told (RFC 5321 §4.2, enhanced codes RFC 3463). */
export interface Reply {
  readonly code: number;
  readonly enhanced: string;
  readonly text: string;
}

export function reply(code: number, enhanced: string, text: string): Reply {
  return { code, enhanced, text };
}

export function said({ enhanced, text }: Reply): string {
  // Text of ours may quote what the client sent: nothing in it may end the line, and a reply is ASCII (RFC 5321 §4.2).
  return `${enhanced} ${text.slice(0, 400).replace(/[^\x20-\x7e]/g, '?')}`;
}
