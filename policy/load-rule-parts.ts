import type { Rate } from './limits.ts';
import type { Loader } from './loader.ts';
import { defaultReply, type Limit, type Reply, type Verdict } from './policy.ts';
import { type Entry, type Place, type Source, shown } from './source.ts';

const perMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
// A reply line holds 512 octets (RFC 5321 §4.5.3.1.5); code, trace id and an enhanced code need room too.
const maxReplyLength = 400;
const maxAmount = 1_000_000_000;

/** `limit: {by, rate, over}` and optionally `cost` and `burst`. */
export function loadLimit(loader: Loader, place: Place): Limit | undefined {
  const { source } = loader;
  if (!source.isMapping(place)) {
    source.report(place, { code: 'wrong-kind', found: 'no mapping', expected: '{by: ..., rate: 20/h, over: defer}' });
    return undefined;
  }
  const entries = new Map(
    source.entries(place, ['by', 'rate', 'over', 'cost', 'burst']).map((entry) => [entry.key, entry]),
  );
  const required = (key: string): Place | undefined => {
    const entry = entries.get(key);
    if (entry === undefined)
      source.report(place, { code: 'missing', found: `a limit without ${key}`, expected: `${key}:` });
    return entry?.value;
  };
  const [byPlace, ratePlace, overPlace] = [required('by'), required('rate'), required('over')];
  const by = byPlace && loader.value(byPlace, ['string', 'int', 'bool']);
  const over = overPlace && source.word(overPlace, loader.verdicts);
  const costPlace = entries.get('cost')?.value;
  const cost = costPlace && loader.value(costPlace, ['int']);
  const rateText = (ratePlace && source.text(ratePlace, 'a rate such as 20/h')) ?? '';
  const rate = ratePlace && rateOf(source, ratePlace, rateText, entries.get('burst')?.value);
  if (by === undefined || over === undefined || rate === undefined) return undefined;
  return { by: by.value, cost: cost?.value, rate, rateText, over };
}

function rateOf(source: Source, place: Place, text: string, burstPlace: Place | undefined): Rate | undefined {
  const [, amountText, unit] = /^([0-9]{1,9}) *\/ *([smhd])$/.exec(text) ?? [];
  const amount = Number(amountText);
  const burst = burstPlace === undefined ? amount : burstOf(source, burstPlace);
  if (unit === undefined || amount === 0) {
    if (text !== '')
      source.report(place, { code: 'rate', found: shown(text), expected: 'a number per s, m, h or d, such as 20/h' });
    return undefined;
  }
  return burst === undefined ? undefined : { amount, perMs: perMs[unit as keyof typeof perMs], burst };
}

function burstOf(source: Source, place: Place): number | undefined {
  const burst = source.scalar(place);
  if (typeof burst === 'number' && Number.isInteger(burst) && burst >= 1 && burst <= maxAmount) return burst;
  const found = shown(source.text(place, 'a whole number') ?? 'no number');
  source.report(place, { code: 'rate', found, expected: `a whole number from 1 to ${maxAmount}` });
  return undefined;
}

/** `reply:` as a text or as {code, enhanced, text}; what it leaves out comes from the verdict. A recipient has none: his receipt names the rule. */
export function loadReply(
  { source, whose }: Loader,
  rule: Place,
  entry: Entry | undefined,
  given: readonly (Verdict | undefined)[],
): Reply | undefined {
  const refusal =
    whose === 'recipient'
      ? undefined
      : (given.find((verdict) => verdict === 'reject') ?? given.find((verdict) => verdict === 'defer'));
  const standard = refusal && defaultReply(refusal);
  if (entry === undefined) {
    if (refusal !== 'reject') return undefined;
    const expected = 'reply: and a sentence that tells the sender what to do';
    const suggestion = `without it the reply is ${standard?.code} ${standard?.enhanced} ${standard?.text}`;
    source.report(rule, {
      severity: 'warning',
      code: 'reject-without-reply',
      found: 'a rule that rejects without a reply',
      expected,
      suggestion,
    });
    return undefined;
  }
  if (standard === undefined) {
    const mute = whose === 'recipient';
    source.report(entry.value, {
      severity: 'warning',
      code: 'reply-unused',
      found: mute ? 'a reply in a policy of a recipient' : 'a reply on a rule that refuses nothing',
      expected: mute ? 'none: the receipt tells the sender the name of the rule' : 'do: reject or do: defer',
    });
    return undefined;
  }
  return source.isMapping(entry.value)
    ? fullReply(source, entry.value, standard)
    : { ...standard, text: replyText(source, entry.value) };
}

function fullReply(source: Source, place: Place, standard: Reply): Reply {
  const entries = new Map(source.entries(place, ['code', 'enhanced', 'text']).map((entry) => [entry.key, entry.value]));
  const first = String(standard.code).slice(0, 1);
  const fitting = (key: string, otherwise: string, shape: RegExp, expected: string): string => {
    const at = entries.get(key);
    const found = at && source.text(at, expected);
    if (at === undefined || found === undefined) return otherwise;
    if (shape.test(found)) return found;
    source.report(at, { code: 'reply', found: shown(found), expected });
    return otherwise;
  };
  // RFC 5321 §4.2.1: a refusal is 5yz for good and 4yz for now; RFC 3463 §2: the class of both codes is the same.
  const code = fitting(
    'code',
    String(standard.code),
    new RegExp(`^${first}[0-5][0-9]$`),
    `a code from ${first}00 to ${first}59`,
  );
  const enhanced = fitting(
    'enhanced',
    standard.enhanced,
    new RegExp(`^${first}\\.[0-9]{1,3}\\.[0-9]{1,3}$`),
    `${first}.x.y`,
  );
  const text = entries.get('text');
  return { code: Number(code), enhanced, text: text === undefined ? standard.text : replyText(source, text) };
}

// RFC 5321 §4.2: a reply is printable US-ASCII; a line break in it would start a forged reply.
function replyText(source: Source, place: Place): string {
  const expected = `a line of at most ${maxReplyLength} printable ASCII characters`;
  const text = source.text(place, expected);
  if (text === undefined || (text.length <= maxReplyLength && /^[\x20-\x7e]+$/.test(text))) return text ?? '';
  source.report(place, { code: 'reply', found: shown(text), expected });
  return '';
}
