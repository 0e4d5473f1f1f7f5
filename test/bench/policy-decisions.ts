import { completeEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import type { Evidence } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';
import { standardPolicy } from '../../policy/standard.ts';

/** Decisions a second of one core's time: run it with `npx node test/bench/policy-decisions.ts`. */
export function benchDecisions(): Record<string, number> {
  const hundred = policyOf(hundredRules());
  return {
    'decisions/s, 100 rules, none matches': rate(hundred, sample('stranger.example')),
    'decisions/s, 100 rules, the 50th matches': rate(hundred, sample('d50.example')),
    'decisions/s, standard policy': rate(policyOf(standardPolicy), sample('stranger.example')),
  };
}

function hundredRules(): string {
  const rules = Array.from({ length: 100 }, (_, index) =>
    [
      `  - id: rule-${index}`,
      `    when: author.domain == "d${index}.example" && dmarc.result != "pass" && client.subnet in lists.networks`,
      '    do: junk',
    ].join('\n'),
  );
  return `version: 1\nlists:\n  networks: [192.0.2.0/24]\nrules:\n${rules.join('\n')}\ndefault: accept\n`;
}

function policyOf(text: string): Policy {
  const loaded = loadPolicy(text);
  if (loaded.kind === 'policy') return loaded.policy;
  throw new Error(`the bench's policy is wrong: ${JSON.stringify(loaded.problems[0])}`);
}

function sample(domain: string): Evidence {
  return completeEvidence('data', {
    client: { ip: '192.0.2.7', subnet: '192.0.2.0/24', iprev: 'pass' },
    author: { kind: 'single', address: `someone@${domain}`, domain },
    envelope: { from: `someone@${domain}`, fromDomain: domain, recipients: ['user@example.org'], recipientCount: 1 },
    spf: { result: 'pass' },
    dkim: { result: 'none' },
    dmarc: { result: 'none' },
    arc: { result: 'none' },
  });
}

function rate(policy: Policy, evidence: Evidence): number {
  const limits = new Limits();
  const run = (count: number): number => {
    // Time of this process on a core, so that what else the machine does counts little.
    const start = process.cpuUsage();
    for (let i = 0; i < count; i++) decide(policy, evidence, limits, i);
    const { user, system } = process.cpuUsage(start);
    return (count / (user + system)) * 1_000_000;
  };
  run(5000);
  return Math.round(Math.max(run(10_000), run(10_000), run(10_000)));
}

if (import.meta.main) console.table(benchDecisions());
