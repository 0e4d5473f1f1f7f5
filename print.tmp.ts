import { explained } from '/work/wt-policy2/test/policy/explain-samples.ts';
import { standardPolicy } from '/work/wt-policy2/policy/standard.ts';
const seen = new Set<string>();
const all = [...explained(50, 5), ...explained(50, 6, standardPolicy)];
for (const text of all) for (const line of text.split('\n')) { if (line.startsWith('Policy')||line===''||line.startsWith('Rules')) continue; if (!seen.has(line)) { seen.add(line); console.log(line);} }
