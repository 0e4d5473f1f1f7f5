/** Modified UTF-7 of RFC 3501 §5.1.3 and what it stands for. Both never throw. */

/** The form for IMAP4rev1 clients. */
export function encodeMailboxName(name: string): string {
  return name.replace(/&|[^\x20-\x7e]+/gu, (run) => {
    if (run === '&') return '&-';
    const utf16 = Buffer.from(run, 'utf16le').swap16();
    return `&${utf16.toString('base64').replaceAll('=', '').replaceAll('/', ',')}-`;
  });
}

/** The name meant, or undefined where the encoding is broken. Octets above 127 are taken as the UTF-8 they are (RFC 9051 §5.1). */
export function decodeMailboxName(text: string): string | undefined {
  let broken = false;
  const name = text.replace(/&([A-Za-z0-9+,]*)(-?)/g, (_, base64: string, end: string) => {
    if (end === '') broken = true;
    if (base64 === '') return '&';
    const utf16 = Buffer.from(base64.replaceAll(',', '/'), 'base64');
    if (utf16.length === 0 || utf16.length % 2 === 1) {
      broken = true;
      return '';
    }
    return utf16.swap16().toString('utf16le');
  });
  return broken || !name.isWellFormed() ? undefined : name;
}
