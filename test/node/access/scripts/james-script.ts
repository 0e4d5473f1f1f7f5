import { readFileSync } from 'node:fs';

/** One exchange of a James script: what is sent, and the reply lines as regular expressions, in any order but for the last. */
export interface JamesExchange {
  readonly line: number;
  readonly session: string;
  readonly sent: readonly string[];
  readonly expected: readonly string[];
}

/** Reads a script of James' imap-mailbox tests (the format is in the suite's README). */
export function readJames(file: string): JamesExchange[] {
  const exchanges: { line: number; session: string; sent: string[]; expected: string[] }[] = [];
  let session = '';
  for (const [index, text] of readFileSync(file, 'latin1').split(/\r?\n/).entries()) {
    const open = exchanges.at(-1);
    const [, kind, rest = ''] = /^(C|S|SESSION): ?(.*)$/.exec(text) ?? [];
    if (kind === 'SESSION') session = rest.trim();
    // A continuation request is not waited for: the octets go out all the same.
    if (kind === 'S' && !rest.startsWith('\\+ ')) {
      if (open === undefined || open.session !== session)
        exchanges.push({ line: index + 1, session, sent: [], expected: [rest] });
      else open.expected.push(rest);
    }
    if (kind === 'C') {
      if (open === undefined || open.session !== session || open.expected.length > 0)
        exchanges.push({ line: index + 1, session, sent: [rest], expected: [] });
      else open.sent.push(rest);
    }
  }
  return exchanges;
}
