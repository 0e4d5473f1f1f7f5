import { facts } from '../../policy/evidence.ts';
import { evidenceReference } from '../../policy/reference.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';

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
