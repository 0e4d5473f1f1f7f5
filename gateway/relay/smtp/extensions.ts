/** What a mail server says it can do (RFC 5321 §4.1.1.1). Pure. */

export interface Extensions {
  /** RFC 2920. */
  readonly pipelining: boolean;
  /** RFC 3207. */
  readonly startTls: boolean;
  /** RFC 6152. */
  readonly eightBit: boolean;
  /** RFC 6531. */
  readonly utf8: boolean;
  /** RFC 3461. */
  readonly dsn: boolean;
  /** RFC 3030: BDAT. */
  readonly chunking: boolean;
  /** RFC 8689. */
  readonly requireTls: boolean;
  /** RFC 1870: it announced SIZE, and the greatest message if it named one. */
  readonly size: { readonly max: number | undefined } | undefined;
  /** RFC 4954, upper case. */
  readonly auth: ReadonlySet<string>;
  /** RFC 9422 RCPTMAX: more in one transaction are refused. */
  readonly maxRecipients: number | undefined;
}

export const noExtensions: Extensions = {
  pipelining: false,
  startTls: false,
  eightBit: false,
  utf8: false,
  dsn: false,
  chunking: false,
  requireTls: false,
  size: undefined,
  auth: new Set<string>(),
  maxRecipients: undefined,
};

/** From the lines of a 250 to EHLO; the first is the greeting. Unknown keywords are passed over (RFC 5321 §2.2.1). */
export function extensionsOf(lines: readonly string[]): Extensions {
  const found = new Map<string, readonly string[]>();
  for (const line of lines.slice(1)) {
    // AUTH=LOGIN is how some old servers write it.
    const [keyword = '', ...parameters] = line
      .trim()
      .replace(/^AUTH=/i, 'AUTH ')
      .split(/\s+/);
    const name = keyword.toUpperCase();
    found.set(name, [...(found.get(name) ?? []), ...parameters]);
  }
  return {
    pipelining: found.has('PIPELINING'),
    startTls: found.has('STARTTLS'),
    eightBit: found.has('8BITMIME'),
    utf8: found.has('SMTPUTF8'),
    dsn: found.has('DSN'),
    chunking: found.has('CHUNKING'),
    requireTls: found.has('REQUIRETLS'),
    size: sizeOf(found.get('SIZE')),
    auth: new Set((found.get('AUTH') ?? []).map((mechanism) => mechanism.toUpperCase())),
    maxRecipients: numberIn(
      found
        .get('LIMITS')
        ?.find((limit) => /^RCPTMAX=/i.test(limit))
        ?.slice('RCPTMAX='.length),
    ),
  };
}

function sizeOf(parameters: readonly string[] | undefined): Extensions['size'] {
  if (parameters === undefined) return undefined;
  const max = numberIn(parameters[0]);
  // RFC 1870 §3: zero means that there is no fixed maximum.
  return { max: max === 0 ? undefined : max };
}

function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
