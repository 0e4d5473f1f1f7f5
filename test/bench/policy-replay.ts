import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pastDecisions } from '../../deploy/trace/decisions.ts';
import { newTraceId } from '../../deploy/trace/id.ts';
import { TraceStore } from '../../deploy/trace/store.ts';
import { ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import { decisionEvent } from '../../policy/decision-event.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';
import { readyMade } from '../../policy/ready-made.ts';
import { Replay } from '../../policy/replay.ts';

const messages = 100_000;
// What a timeline has beside its decision: connect, mail, rcpt, data, evidence, queued, stored, notified, receipt.
const otherEvents = 9;

function policyOf(name: string): Policy {
  const loaded = loadPolicy(readyMade.find((made) => made.name === name)?.text ?? '');
  if (loaded.kind === 'policy') return loaded.policy;
  throw new Error(`the ready-made policy ${name} is wrong`);
}

/** `epost policy replay` over stored decisions, from the disk: run it with `npx node test/bench/policy-replay.ts`. */
export async function benchReplay(): Promise<Record<string, number>> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'epost-replay-'));
  const fault = (problem: unknown): void => {
    throw problem;
  };
  const start = Date.now();
  let now = start;
  const store = new TraceStore({ folder, now: () => now, onFault: fault });
  const [standard, limits] = [policyOf('standard'), new Limits()];
  for (let i = 0; i < messages; i += 1) {
    now = start + i * 10;
    const domain = `d${i % 500}.example`;
    const evidence = ordinaryEvidence('data', {
      client: { ip: `192.0.2.${i % 250}` },
      author: { address: `a${i % 5_000}@${domain}`, domain },
      dmarc: { result: i % 3 === 0 ? 'pass' : 'none' },
    });
    const id = newTraceId(now);
    for (let event = 0; event < otherEvents; event += 1)
      store.record(id, { what: 'event', reply: '250 2.1.5', n: event });
    store.record(id, decisionEvent(decide(standard, evidence, limits, now), evidence));
    if (i % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await store.close();
  const again = new TraceStore({ folder, now: () => now, onFault: fault });
  const replay = new Replay(policyOf('strict'));
  const began = performance.now();
  for (const past of pastDecisions(again, start, () => undefined)) replay.add(past);
  const seconds = (performance.now() - began) / 1_000;
  const { decided, changed } = replay.report();
  if (decided !== messages || changed === 0) throw new Error(`${decided} of ${messages} were decided again`);
  await again.close();
  rmSync(folder, { recursive: true });
  return {
    'stored decisions decided again, s': Number(seconds.toFixed(2)),
    'decisions/s': Math.round(decided / seconds),
  };
}

if (import.meta.main) console.table(await benchReplay());
