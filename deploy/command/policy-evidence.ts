import { facts } from '../../policy/evidence.ts';
import { policySchema } from '../../policy/json-schema.ts';
import { problemCodes, warningCodes } from '../../policy/problem-codes.ts';
import { evidenceReference } from '../../policy/reference.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOption, jsonOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';

export const policyEvidence: Command = {
  name: 'policy evidence',
  summary: 'the facts that a policy can speak of: name, type, stages, meaning',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    if (given.switches.has('json')) printJson(facts);
    else print(evidenceReference());
    return exitCodes.done;
  },
};

export const policySchemaCommand: Command = {
  name: 'policy schema',
  summary: 'the JSON schema of a policy file, for editors that check YAML while one writes',
  details:
    'For instance at the top of the file: `# yaml-language-server: $schema=policy.schema.json`. It cannot look into expressions: `epost policy check` can.',
  positionals: [],
  options: {
    home: homeOption,
    json: jsonOption,
    user: { help: 'of a user’s own policy (`epost policy user`)' },
  },
  run: async (given) => {
    printJson(policySchema(given.switches.has('user') ? 'recipient' : 'organisation'));
    return exitCodes.done;
  },
};

export const policyCodes: Command = {
  name: 'policy codes',
  summary: 'what can be wrong with a policy file: the code of each kind of mistake, and what it means',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const rows = Object.entries(problemCodes).map(([code, meaning]) => ({
      code,
      severity: (warningCodes as readonly string[]).includes(code) ? 'warning' : 'error',
      meaning,
    }));
    if (given.switches.has('json')) printJson(rows);
    else
      print(
        tableText(
          ['CODE', 'SEVERITY', 'MEANING'],
          rows.map(({ code, severity, meaning }) => [code, severity, meaning]),
        ),
      );
    return exitCodes.done;
  },
};
