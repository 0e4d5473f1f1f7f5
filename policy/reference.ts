import { type Fact, factsByPath, type Group, stages } from './evidence.ts';

/** The evidence reference for people, from the one table: a line for each fact, in groups. */
export function evidenceReference(): string {
  const lines = [
    'stage  string: where the decision is made',
    ...stages.map((stage) => `  "${stage}"`),
    'class  string: the one class of the sender, or "none"',
    'lists.NAME  names from the policy file; use: author.domain in lists.NAME',
  ];
  let group: Group | undefined;
  for (const fact of factsByPath.values()) {
    if (fact.group !== group) lines.push('');
    group = fact.group;
    lines.push(factLine(fact));
  }
  return `${lines.join('\n')}\n`;
}

function factLine(fact: Fact): string {
  const values = fact.values === undefined ? '' : ` (${fact.values.map((value) => `"${value}"`).join(', ')})`;
  const where = fact.stages.length === stages.length ? 'every stage' : fact.stages.join(', ');
  return `${fact.path}  ${fact.type}${values}: ${fact.meaning}. Known at: ${where}.`;
}
