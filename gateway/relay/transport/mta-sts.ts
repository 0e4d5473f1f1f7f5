/** MTA-STS (RFC 8461): what a domain publishes, read strictly. Pure. */

export interface StsPolicy {
  readonly mode: 'enforce' | 'testing' | 'none';
  /** Names, or `*.` and a name. */
  readonly mx: readonly string[];
  readonly maxAgeMs: number;
}

// RFC 8461 §3.2: no more than a year.
const maxAgeSeconds = 31_557_600;
// A domain has some mail servers; a policy of 64 KiB could name thousands, and each would be compared with each server.
const maxPatterns = 200;

/** The id in the TXT records of `_mta-sts.<domain>`, or undefined where there is not exactly one record that can be used (§3.1). */
export function stsId(records: readonly (readonly string[])[]): string | undefined {
  const texts = records.map((strings) => strings.join('')).filter((text) => /^v=STSv1[ \t]*(?:;|$)/.test(text));
  const [text] = texts;
  if (text === undefined || texts.length > 1) return undefined;
  const ids = text.split(';').flatMap((field) => /^[ \t]*id=([A-Za-z0-9]{1,32})[ \t]*$/.exec(field)?.[1] ?? []);
  return ids.length === 1 ? ids[0] : undefined;
}

export type ReadPolicy =
  | { readonly kind: 'policy'; readonly policy: StsPolicy }
  | { readonly kind: 'invalid'; readonly why: string };

const invalid = (why: string): ReadPolicy => ({ kind: 'invalid', why });

/** The text of `mta-sts.txt` (§3.2). Unknown keys are passed over; of a key that comes twice the first counts, but for mx. */
export function readStsPolicy(text: string): ReadPolicy {
  const fields = new Map<string, string[]>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon < 0) {
      if (line.trim() !== '') return invalid(`no key in the line ${JSON.stringify(line.slice(0, 80))}`);
      continue;
    }
    const key = line.slice(0, colon).trim();
    const values = fields.get(key) ?? [];
    if (values.length <= maxPatterns) values.push(line.slice(colon + 1).trim());
    fields.set(key, values);
  }
  const one = (key: string): string => fields.get(key)?.[0] ?? '';
  if (one('version') !== 'STSv1') return invalid('its version is not STSv1');
  const mode = one('mode');
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none')
    return invalid(`its mode is ${JSON.stringify(mode.slice(0, 40))}`);
  if (!/^\d{1,10}$/.test(one('max_age'))) return invalid('it has no max_age');
  const mx = (fields.get('mx') ?? []).map((pattern) => pattern.toLowerCase().replace(/\.$/, ''));
  if (mode !== 'none' && mx.length === 0) return invalid('it names no mail server');
  if (mx.length > maxPatterns) return invalid(`it names more than ${maxPatterns} mail servers`);
  if (!mx.every((pattern) => /^(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$/.test(pattern)))
    return invalid('a name of a mail server is none');
  return { kind: 'policy', policy: { mode, mx, maxAgeMs: Math.min(Number(one('max_age')), maxAgeSeconds) * 1_000 } };
}

/** Whether a mail server is one of those that a policy names: the same name, or one label in the place of the star (§4.1). */
export function namesServer(mx: readonly string[], server: string): boolean {
  const name = server.toLowerCase().replace(/\.$/, '');
  const parent = name.slice(name.indexOf('.') + 1);
  return mx.some((pattern) =>
    pattern.startsWith('*.') ? name.includes('.') && parent === pattern.slice(2) : name === pattern,
  );
}
