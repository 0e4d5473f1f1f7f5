// RFC 1035 §2.3.4 and §3.1: 63 octets a label, 255 a name on the wire, which are 253 in text.
const maxNameLength = 253;
const maxLabelLength = 63;

// Visible ASCII without what text forms of DNS treat as special. Names come out of strangers' signatures and SPF
// macros: a resolver library that stops at NUL, or reads `\046` as a dot, looks up another name than the one that is
// compared afterwards (selector `x._domainkey.evil.example.\0.any`).
const label = /^[!#$%&'*+,\-/0-9:<=>?A-Z[\]^_`a-z{|}~]+$/;

/**
 * The name as it is asked for (lower case, no final dot), or undefined where no DNS name is written like that.
 * Such a name is not looked up: nobody can publish anything under it.
 */
export function queryName(text: string): string | undefined {
  const name = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase();
  if (name.length === 0 || name.length > maxNameLength) return undefined;
  const fine = name.split('.').every((part) => part.length <= maxLabelLength && label.test(part));
  return fine ? name : undefined;
}
