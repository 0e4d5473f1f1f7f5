/** The JSON schema of a policy file for editors (YAML language servers read it), made of the tables that the loader itself goes by. */
import { type Fact, factsByPath, type Group, type Stage, stages } from './evidence.ts';
import type { PolicyOwner } from './loader.ts';
import { type Verdict, verdicts, verdictsAt } from './policy.ts';

type Schema = Readonly<Record<string, unknown>>;

const ruleName = '^[a-z0-9][a-z0-9_-]{0,63}$';
const mode: Schema = { enum: ['enforce', 'shadow'], description: 'shadow: counted, not acted upon' };

/** Draft 2020-12. Expressions are texts to it; `epost policy check` looks into them. */
export function policySchema(whose: PolicyOwner): Schema {
  const ours = stages.filter((stage) => (stage === 'notification') === (whose === 'recipient'));
  const words = verdicts.filter((verdict) => ours.some((stage) => verdictsAt[stage].includes(verdict)));
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: whose === 'recipient' ? 'ePOST policy of a recipient' : 'ePOST policy',
    type: 'object',
    additionalProperties: false,
    required: ['version', 'default'],
    properties: {
      version: { const: 1 },
      lists: {
        description: 'addresses, @domain, domains, .domain for names below it, networks; asked by `in lists.NAME`',
        type: 'object',
        propertyNames: { pattern: '^[A-Za-z][A-Za-z0-9_]{0,63}$' },
        additionalProperties: { type: 'array', maxItems: 10_000, items: { type: 'string', maxLength: 320 } },
      },
      classes: {
        description: 'kinds of senders, in order; the first that fits, or "none"',
        type: 'object',
        maxProperties: 100,
        propertyNames: { pattern: ruleName },
        additionalProperties: expression('a condition in CEL'),
      },
      rules: {
        description: 'in order; the first that matches decides',
        type: 'array',
        maxItems: 1_000,
        // One that has neither does nothing. Each is written out, because not every reader takes `anyOf` beside `properties`.
        items: { anyOf: [ruleWith('do', ours, words), ruleWith('limit', ours, words)] },
      },
      default: { description: 'where no rule decides', enum: words },
      expect: {
        description: 'checked whenever the file is loaded',
        type: 'array',
        maxItems: 1_000,
        items: expectation(ours, words),
      },
    },
  };
}

function expression(description: string): Schema {
  return { description, type: ['string', 'boolean', 'number'], maxLength: 2_000 };
}

function ruleWith(does: 'do' | 'limit', ours: readonly Stage[], words: readonly Verdict[]): Schema {
  const stage = { enum: ours };
  const reply = { type: 'string', maxLength: 400, pattern: '^[ -~]+$' };
  return {
    type: 'object',
    additionalProperties: false,
    required: ['id', does],
    properties: {
      id: { type: 'string', pattern: ruleName },
      stages: { anyOf: [stage, { type: 'array', items: stage, minItems: 1, maxItems: stages.length }] },
      when: expression('a condition in CEL; without it the rule always matches'),
      do: { enum: words },
      limit: {
        description: 'within it `do` holds, over it `over`',
        type: 'object',
        additionalProperties: false,
        required: ['by', 'rate', 'over'],
        properties: {
          by: expression('one bucket for each value of this expression'),
          rate: { type: 'string', pattern: '^[0-9]{1,9} */ *[smhd]$', examples: ['20/h'] },
          over: { enum: words },
          cost: expression('how much one message takes; 1 without it'),
          burst: {
            type: 'integer',
            minimum: 1,
            maximum: 1_000_000_000,
            description: 'at once; the rate’s amount without it',
          },
        },
      },
      reply: {
        anyOf: [
          reply,
          {
            type: 'object',
            additionalProperties: false,
            properties: {
              code: { type: 'integer', minimum: 400, maximum: 559 },
              enhanced: { type: 'string', pattern: '^[45]\\.[0-9]{1,3}\\.[0-9]{1,3}$' },
              text: reply,
            },
          },
        ],
      },
      mode,
      note: { type: 'string' },
    },
  };
}

function expectation(ours: readonly Stage[], words: readonly Verdict[]): Schema {
  const facts = [...factsByPath.values()].filter((fact) => fact.stages.some((stage) => ours.includes(stage)));
  const groups = [...new Set(facts.map(({ group }) => group))];
  return {
    type: 'object',
    additionalProperties: false,
    required: ['verdict'],
    properties: {
      given: {
        description: 'laid over an ordinary, unremarkable message',
        type: 'object',
        additionalProperties: false,
        properties: {
          stage: { enum: ours },
          ...Object.fromEntries(groups.map((group) => [group, groupSchema(group, facts)])),
        },
      },
      verdict: { enum: words },
      rule: { type: 'string' },
      class: { type: 'string' },
    },
  };
}

function groupSchema(group: Group, facts: readonly Fact[]): Schema {
  const members = facts.filter((fact) => fact.group === group).map((fact) => [fact.name, factSchema(fact)]);
  return { type: 'object', additionalProperties: false, properties: Object.fromEntries(members) };
}

const types = { string: 'string', int: 'integer', bool: 'boolean' } as const;

function factSchema({ type, values, meaning }: Fact): Schema {
  if (values !== undefined) return { description: meaning, enum: values };
  if (type === 'list<string>') return { description: meaning, type: 'array', items: { type: 'string' } };
  return { description: meaning, type: types[type] };
}
