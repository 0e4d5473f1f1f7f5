import type { AtomTrace } from './decide.ts';

const path = String.raw`[a-z]+(?:\.[A-Za-z]+)?`;
const quoted = String.raw`"(?:[^"\\]|\\.)*"`;
// `dmarc.result == "fail"`, `volume.lastHour > 200`, `author.domain in lists.friends`, `author.domain == envelope.fromDomain`.
const comparison = new RegExp(`^(${path}) (==|!=|<|<=|>|>=|in) (\\S.*)$`);
// `client.helo.startsWith("192.")`, `author.name.lowerAscii().contains("win")`.
const textTest = new RegExp(`^(${path})(\\.lowerAscii\\(\\))?\\.(startsWith|endsWith|contains)\\((${quoted})\\)$`);
// `dmarc.result = "fail"`, `class = "a" or "b"`, `dkim.domains = ["a.example"]`, one after the other.
const fact = new RegExp(
  String.raw`(${path}) = (${quoted}(?: or ${quoted})*(?:\.\.\.)?|-?\d+|true|false|\[(?:${quoted},?)*\])(?:, |$)`,
  'y',
);
const orders = {
  '<': ['less than', 'not less than'],
  '<=': ['at most', 'more than'],
  '>': ['more than', 'not more than'],
  '>=': ['at least', 'less than'],
} as const;
const tests = {
  startsWith: ['starts with', 'does not start with'],
  endsWith: ['ends with', 'does not end with'],
  contains: ['contains', 'does not contain'],
} as const;

/** Why the parts of a condition came out as they did, as a person would say it; what is told by one value is told once. */
export function reasonsText(atoms: readonly AtomTrace[]): string {
  const told: { text: string; start: string | undefined }[] = [];
  for (const text of new Set(atoms.map(reasonText))) {
    const [, start, end = ''] = /^(.+?, not )(".*")$/.exec(text) ?? [];
    const last = told.at(-1);
    if (last?.start !== undefined && last.start === start) last.text += ` or ${end}`;
    else told.push({ text, start });
  }
  return told.map(({ text }) => text).join(', and ');
}

/** Why a part of a condition held or did not. What is not of a common form is shown as it was written. */
export function reasonText(atom: AtomTrace): string {
  const { text, known, holds } = atom;
  const values = valuesOf(known);
  if (holds === 'unknown') return unsettled(text, values);
  const value = values?.get(text);
  if (value !== undefined) return `${text} is ${value}`;
  const told = values === undefined ? undefined : (compared(text, values, holds) ?? tested(text, values, holds));
  return told ?? `${text} is ${holds ? 'true' : 'false'}${known === '' ? '' : `, with ${known}`}`;
}

type Values = ReadonlyMap<string, string>;

function compared(text: string, values: Values, holds: boolean): string | undefined {
  const [, left = '', operator = '', right = ''] = comparison.exec(text) ?? [];
  const value = values.get(left);
  // `volume.lastHour > volume.usual - 2`: only what has one value can be told so.
  const other = values.get(right);
  if (value === undefined || values.size !== (other === undefined ? 1 : 2)) return undefined;
  const against = other === undefined ? right : `${right}, which is ${other}`;
  switch (operator) {
    case '==':
    case '!=':
      if (holds !== (operator === '==')) return `${left} is ${value}, not ${against}`;
      return other === undefined ? `${left} is ${value}` : `${left} is ${value}, and ${right} is the same`;
    case 'in':
      return `${left}, which is ${value}, is ${holds ? '' : 'not '}in ${against}`;
    default: {
      const [yes, no] = orders[operator as keyof typeof orders];
      return `${left} is ${value}, which is ${holds ? yes : no} ${against}`;
    }
  }
}

function tested(text: string, values: Values, holds: boolean): string | undefined {
  const [, left = '', lower, test = '', part = ''] = textTest.exec(text) ?? [];
  const value = values.get(left);
  if (value === undefined) return undefined;
  const [yes, no] = tests[test as keyof typeof tests];
  return `${left}, which is ${value}, ${holds ? yes : no} ${part}${lower === undefined ? '' : ', capitals aside'}`;
}

// The value that rests on an unknown one is a filler, and would only mislead.
function unsettled(text: string, values: Values | undefined): string {
  const [, left = text, , right = ''] = comparison.exec(text) ?? [];
  const value = values?.get(left);
  if (value === '"unknown"' && right !== '') return `${left} is unknown`;
  if (value !== undefined && left === 'class') return `class can be ${value}`;
  return `it could not be found out whether ${text}`;
}

/** The values that were shown; undefined where one was cut short, so that it cannot be told where it ends. */
function valuesOf(known: string): Values | undefined {
  const values = new Map<string, string>();
  fact.lastIndex = 0;
  while (fact.lastIndex < known.length) {
    const [, name = '', value = ''] = fact.exec(known) ?? [];
    if (name === '') return undefined;
    values.set(name, value);
  }
  return values;
}
