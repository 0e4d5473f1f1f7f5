import type { AtomTrace } from './decide.ts';

// `dmarc.result == "fail"`, `volume.lastHour > 200`, `author.domain in lists.friends`, `client.loopback`.
const comparison = /^([a-z]+(?:\.[A-Za-z]+)?) (==|!=|<|<=|>|>=|in) (\S.*)$/;
const opposite = { '<': 'not less than', '<=': 'more than', '>': 'not more than', '>=': 'less than' } as const;
const words = { '<': 'less than', '<=': 'at most', '>': 'more than', '>=': 'at least' } as const;

/** Why a part of a condition held or did not, as a person would say it. What is not of a common form is shown as it was written. */
export function reasonText(atom: AtomTrace): string {
  const { text, known, holds } = atom;
  const [, path = '', operator = '', right = ''] = comparison.exec(text) ?? [];
  const value = valueOf(known, path === '' ? text : path);
  if (holds === 'unknown') return known === '' ? `${text} is not known` : `${text} cannot be told, with ${known}`;
  if (value === undefined) return `${text} is ${holds ? 'true' : 'false'}${known === '' ? '' : `, with ${known}`}`;
  if (path === '') return `${text} is ${value}`;
  switch (operator) {
    case '==':
      return holds ? `${path} is ${value}` : `${path} is ${value}, not ${right}`;
    case '!=':
      return holds ? `${path} is ${value}, not ${right}` : `${path} is ${value}`;
    case 'in':
      return `${path}, which is ${value}, is ${holds ? '' : 'not '}in ${right}`;
    default: {
      const order = operator as keyof typeof words;
      return `${path} is ${value}, which is ${holds ? words[order] : opposite[order]} ${right}`;
    }
  }
}

/** The value of a fact where it is the only one that is shown; a stranger's text is quoted there, and may hold what looks like another. */
function valueOf(known: string, path: string): string | undefined {
  if (!known.startsWith(`${path} = `)) return undefined;
  const value = known.slice(path.length + 3);
  const single = /^(?:"(?:[^"\\]|\\.)*"(?:\.\.\.)?|-?\d+|true|false)$/;
  return single.test(value) ? value : undefined;
}
