// A value in a trace is for people; evidence itself is stored beside it.
const maxShown = 80;

/**
 * A value of the evidence on one line, as JSON. Whatever a stranger wrote stays inside its quotes: control, format and
 * direction characters are escaped, so that it can neither forge a line nor turn one around.
 */
export function shownValue(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  const short = text.length > maxShown ? `${text.slice(0, maxShown)}...` : text;
  return short.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
