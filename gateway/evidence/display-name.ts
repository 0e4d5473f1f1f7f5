import type { Token } from './from-tokens.ts';

export type DisplayName = { readonly kind: 'name'; readonly text: string } | { readonly kind: 'looks-like-address' };

// Shown to people and stored with every decision; nobody's name is longer.
const maxNameLength = 200;
// RFC 2047 §2: at most 75 characters. Longer ones are common and harmless, since the field is bounded.
const encodedWord = /=\?([^?\s]{1,64})\?([BbQq])\?([^?\s]*)\?=/g;

/**
 * The name in front of an address, for people. A name that holds `<...@...>`, openly or in an encoded word, is no name:
 * programs that look for angle brackets first, or decode first, would take that for the address.
 */
export function displayName(tokens: readonly Token[]): DisplayName {
  const text = tokens.map((token) => (token.kind === 'space' ? ' ' : decodeWords(token.text))).join('');
  if (/[<>]/.test(text) && text.includes('@')) return { kind: 'looks-like-address' };
  const shown = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return { kind: 'name', text: shown.slice(0, maxNameLength) };
}

function decodeWords(text: string): string {
  // White space between two encoded words is not shown (RFC 2047 §6.2); here it is already a token of its own.
  return text.replace(encodedWord, (word: string, charset: string, encoding: string, body: string) => {
    try {
      // RFC 2231 §5: a language may follow the character set.
      const decoder = new TextDecoder(charset.split('*')[0]);
      const bytes = encoding.toUpperCase() === 'B' ? Buffer.from(body, 'base64') : unquoted(body);
      return decoder.decode(bytes);
    } catch {
      return word;
    }
  });
}

function unquoted(body: string): Uint8Array {
  const text = body
    .replace(/_/g, ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(text, 'latin1');
}
