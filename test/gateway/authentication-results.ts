/** One result of an Authentication-Results field. */
export interface FoundResult {
  readonly method: string;
  readonly result: string;
  /** `header.from`, empty where it is not named. */
  readonly from: string;
}

/**
 * The results of a header field, if it is Authentication-Results with this authserv-id (RFC 8601 §2.2), read as leniently as a careless program would:
 * comments and quoted strings are respected, and everything between semicolons counts. A parser of the tests' own, so that the writer cannot hide from it.
 */
export function resultsIn(field: string, authservId: string): FoundResult[] {
  const unfolded = field.replace(/\r\n/g, '');
  const [, value = ''] = /^authentication-results[ \t]*:(.*)$/is.exec(unfolded) ?? [];
  const [id = '', ...results] = pieces(value);
  if (id.trim().split(/[ \t]/)[0]?.toLowerCase() !== authservId) return [];
  return results.flatMap((text) => {
    const [, method = '', result = ''] = /^\s*([a-z0-9-]+)(?:\/\d+)?\s*=\s*([a-z]+)/i.exec(text) ?? [];
    const [, from = ''] = /header\.from\s*=\s*"?([^\s";]+)/i.exec(text) ?? [];
    return method === ''
      ? []
      : [{ method: method.toLowerCase(), result: result.toLowerCase(), from: from.toLowerCase() }];
  });
}

/** Cut at the semicolons that are in no quoted string and no comment; comments left out. */
function pieces(value: string): string[] {
  const found = [''];
  let depth = 0;
  let isQuoted = false;
  for (let at = 0; at < value.length; at += 1) {
    const one = value[at] ?? '';
    if (one === '\\' && (isQuoted || depth > 0)) {
      at += 1;
      continue;
    }
    if (one === '"' && depth === 0) isQuoted = !isQuoted;
    if (!isQuoted && one === '(') depth += 1;
    if (depth === 0 && one === ';' && !isQuoted) found.push('');
    else if (depth === 0) found[found.length - 1] += one;
    if (!isQuoted && one === ')' && depth > 0) depth -= 1;
  }
  return found;
}
