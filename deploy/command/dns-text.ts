/** A TXT record as a line of a zone file (RFC 1035 §5.1), its character-strings below each other. */
export function txtRecordText(name: string, strings: readonly string[]): string {
  return `${name}.  IN  TXT  ( ${strings.map((part) => `"${part}"`).join('\n    ')} )`;
}
