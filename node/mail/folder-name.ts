/** Between the levels of a folder's name. */
export const delimiter = '/';

// A name has to fit into one IMAP line with room; 255 is what file systems taught people to expect.
const maxNameOctets = 255;
const maxLevels = 20;

export type FolderName =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'bad-name'; readonly reason: string };

/**
 * The one form of a folder's name: NFC, INBOX in capitals as the first level (RFC 3501 §5.1), no empty level. Names that patterns of LIST
 * could not tell apart or that a terminal would not show are refused.
 */
export function folderName(text: string): FolderName {
  const bad = (reason: string): FolderName => ({ kind: 'bad-name', reason });
  if (text.length > maxNameOctets) return bad(`a folder name has at most ${maxNameOctets} octets`);
  const name = text.normalize('NFC');
  if (name === '') return bad('a folder needs a name');
  if (Buffer.byteLength(name) > maxNameOctets) return bad(`a folder name has at most ${maxNameOctets} octets`);
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(name)) return bad('a folder name has no control characters');
  // RFC 3501 §5.1: * and % are wildcards of LIST; # and & begin other things there.
  if (/[*%]/.test(name) || name.startsWith('#')) return bad('a folder name has no * or % and does not begin with #');
  const levels = name.split(delimiter);
  if (levels.some((level) => level.trim() === '')) return bad('no level of a folder name is empty');
  if (levels.length > maxLevels) return bad(`a folder name has at most ${maxLevels} levels`);
  if (levels[0]?.toUpperCase() === 'INBOX') levels[0] = 'INBOX';
  return { kind: 'name', name: levels.join(delimiter) };
}

/** `a/b/c` gives `a`, `a/b`. */
export function superiorNames(name: string): readonly string[] {
  const levels = name.split(delimiter);
  return levels.slice(1).map((_, i) => levels.slice(0, i + 1).join(delimiter));
}

export function isInferior(name: string, of: string): boolean {
  return name.startsWith(`${of}${delimiter}`);
}
