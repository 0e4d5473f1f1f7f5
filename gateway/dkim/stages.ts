/**
 * The life of a DKIM key: new → published → signing → retiring → gone. Pure: which step comes next follows from what is on disk, what the DNS
 * says and the time. A key signs only after the DNS has shown its record, and its record stays while mail that it signed may still be verified.
 */

export type Stage = 'new' | 'published' | 'signing' | 'retiring';

export interface StagedKey {
  readonly selector: string;
  readonly stage: Stage;
  /** When it came to this stage, in ms; 0 where it is not known (a key that was there before stages were kept). */
  readonly since: number;
}

/** What the DNS says of a key's record, in all domains of the ring taken together: the worst counts. */
export type Seen =
  | { readonly kind: 'right' }
  | { readonly kind: 'absent' | 'different' | 'unknown'; readonly name: string; readonly found: string };

export type Step =
  /** Nothing is under way: a new pair may be made. */
  | { readonly kind: 'make' }
  | { readonly kind: 'publish'; readonly selectors: readonly string[]; readonly lacking: readonly Seen[] }
  | { readonly kind: 'mark-published'; readonly selectors: readonly string[] }
  | { readonly kind: 'wait'; readonly stage: Stage; readonly selectors: readonly string[]; readonly until: number }
  | { readonly kind: 'switch'; readonly selectors: readonly string[]; readonly retire: readonly string[] }
  | { readonly kind: 'remove'; readonly selectors: readonly string[] };

/**
 * Secondary name servers take the zone within minutes, by their refresh at the latest within an hour or so; nobody has asked for a selector that is
 * new, so no negative answer is cached.
 */
export const publishedWaitMs = 3_600_000;
/** Mail waits in queues for five days (RFC 5321 §4.5.4.1) and is verified when it arrives; two more for forwarders. */
export const retiringWaitMs = 7 * 86_400_000;

/** The next step of a rotation. `seen` holds what the DNS says of every key that is new or published. */
export function nextStep(keys: readonly StagedKey[], seen: ReadonlyMap<string, Seen>, now: number): Step {
  const at = (stage: Stage): StagedKey[] => keys.filter((key) => key.stage === stage);
  const lacking = (selectors: readonly string[]): Seen[] =>
    selectors
      .map((selector) => seen.get(selector))
      .filter((one) => one !== undefined && one.kind !== 'right') as Seen[];
  const coming = names([...at('new'), ...at('published')]);
  if (coming.length > 0) {
    const missing = lacking(coming);
    // Also those that were seen before: a record that has gone again must not be signed for.
    if (missing.length > 0) return { kind: 'publish', selectors: coming, lacking: missing };
    if (at('new').length > 0) return { kind: 'mark-published', selectors: names(at('new')) };
    const until = Math.max(...at('published').map(({ since }) => since)) + publishedWaitMs;
    if (now < until) return { kind: 'wait', stage: 'published', selectors: coming, until };
    return { kind: 'switch', selectors: coming, retire: names(at('signing')) };
  }
  const leaving = at('retiring');
  if (leaving.length === 0) return { kind: 'make' };
  const until = Math.max(...leaving.map(({ since }) => since)) + retiringWaitMs;
  if (now < until) return { kind: 'wait', stage: 'retiring', selectors: names(leaving), until };
  return { kind: 'remove', selectors: names(leaving) };
}

/** The keys after a step that changes stages; those of other steps as they were. */
export function afterStep(keys: readonly StagedKey[], step: Step, now: number): StagedKey[] {
  const moved = (selectors: readonly string[], stage: Stage): StagedKey[] =>
    keys.map((key) => (selectors.includes(key.selector) ? { selector: key.selector, stage, since: now } : key));
  switch (step.kind) {
    case 'mark-published':
      return moved(step.selectors, 'published');
    case 'switch':
      return moved(step.retire, 'retiring').map((key) =>
        step.selectors.includes(key.selector) ? { selector: key.selector, stage: 'signing', since: now } : key,
      );
    case 'remove':
      return keys.filter(({ selector }) => !step.selectors.includes(selector));
    default:
      return [...keys];
  }
}

function names(keys: readonly StagedKey[]): string[] {
  return keys.map(({ selector }) => selector);
}
