import type { Condition } from './condition.ts';
import type { Evidence } from './evidence.ts';
import type { Policy } from './policy.ts';

// `author.address == "friend@example.net"`, `identity.key in lists.friends`.
const oneName = /^(author\.address|identity\.address|identity\.key) == "[^"]+"$/;
const listed = /^(author\.address|identity\.address|identity\.key) in lists\.([A-Za-z][A-Za-z0-9_]*)$/;

/** Whether a condition can only hold for somebody whom the file names: by address, or by key. */
export function namesSomebody(condition: Condition): boolean {
  return always(condition, (text) => oneName.test(text) || listed.test(text));
}

/** Whether it names the one who wrote this message himself: an entry for his whole domain trusts nobody in particular. */
export function namesHim(condition: Condition, evidence: Evidence, policy: Policy): boolean {
  return always(condition, (text) => {
    if (oneName.test(text)) return true;
    const [, path = '', list = ''] = listed.exec(text) ?? [];
    const { author, identity } = evidence;
    const values = {
      'author.address': author.address,
      'identity.address': identity.address,
      'identity.key': identity.key,
    };
    const value = values[path as keyof typeof values] ?? '';
    return value !== '' && policy.lists[list]?.names(value) === true;
  });
}

/** Who wrote it is proven: by his own signature in the ring, or by DMARC outside. */
export function authorIsProven({ identity, author, dmarc }: Evidence): boolean {
  if (!identity.verified) return false;
  if (identity.kind !== 'gateway') return identity.address === author.address;
  return author.kind === 'single' && dmarc.result === 'pass';
}

function always(condition: Condition, holds: (text: string) => boolean): boolean {
  switch (condition.kind) {
    case 'atom':
      return holds(condition.atom.text);
    case 'all':
      return condition.parts.some((part) => always(part, holds));
    case 'any':
      return condition.parts.length > 0 && condition.parts.every((part) => always(part, holds));
    case 'choice':
      return always(condition.yes, holds) && always(condition.no, holds);
    default:
      return false;
  }
}
