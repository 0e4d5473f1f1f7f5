import { loadPolicy } from '../../policy/load.ts';
import type { PolicyOwner } from '../../policy/loader.ts';
import { type Problem, problemText } from '../../policy/problem.ts';
import { loadConfig } from '../config/load.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { readPolicyText } from '../process/policy-file.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';
import { waysOut } from './ways-out.ts';

/** Prints what is wrong with a policy file; the exit code says whether it could be loaded. */
export function checkPolicyFile(file: string, given: Given, whose: PolicyOwner = 'organisation'): number {
  const loaded = loadPolicy(readPolicyText(file), whose);
  const problems: readonly Problem[] = loaded.kind === 'policy' ? loaded.warnings : loaded.problems;
  const hash = loaded.kind === 'policy' ? loaded.policy.hash : undefined;
  if (given.switches.has('json'))
    printJson({ file, ok: hash !== undefined, ...(hash === undefined ? {} : { hash }), problems });
  else {
    for (const problem of problems) process.stderr.write(`${problemText(problem, file)}\n`);
    if (loaded.kind === 'policy')
      print(`${file}: good; ${loaded.policy.rules.length} rules, hash ${loaded.policy.hash.slice(0, 12)}`);
  }
  return hash === undefined ? exitCodes.badInput : exitCodes.done;
}

export const policyCheck: Command = {
  name: 'policy check',
  summary: 'find everything that is wrong with a policy file',
  details: 'Its expectations (`expect:`) are tried too. A file with errors never replaces a running policy.',
  positionals: [{ name: 'FILE', help: 'a policy (default: the home’s policy.yaml)', optional: true }],
  options: { home: homeOption, json: jsonOption },
  run: async (given) =>
    checkPolicyFile(given.positionals[0] ?? layoutOf(homeOf(given.values, process.env)).policy, given),
};

export const check: Command = {
  name: 'check',
  summary: 'find everything that is wrong with the home’s configuration and policy',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const config = loadConfig(layout.config);
    const ways = config.gateway === undefined ? [] : waysOut(config.gateway);
    const asJson = given.switches.has('json');
    if (!asJson) for (const line of [`${layout.config}: good`, ...ways]) print(line);
    if (config.gateway !== undefined) return checkPolicyFile(layout.policy, given);
    // A home without a gateway has no policy.
    if (asJson) printJson({ file: layout.config, ok: true, problems: [] });
    return exitCodes.done;
  },
};
