import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { timelineText } from '../../deploy/command/trace.ts';
import { firstTraceIdAt, newTraceId, readTraceId } from '../../deploy/trace/id.ts';
import { TraceStore } from '../../deploy/trace/store.ts';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { standardPolicy } from '../../policy/standard.ts';

describe('a trace id', () => {
  it('sorts by time, so that the newest messages are found without an index', () => {
    const ids = [1, 1_000, 1_700_000_000_000, 1_700_000_000_001, 2 ** 44].map((now) => newTraceId(now));
    expect([...ids].sort()).toEqual(ids);
    expect(firstTraceIdAt(1_700_000_000_001) > (ids[2] ?? '')).toBe(true);
  });

  it('survives being read out: small letters, O for 0, L and I for 1', () => {
    const id = newTraceId(Date.now());
    expect(readTraceId(` ${id.toLowerCase().replaceAll('0', 'o').replaceAll('1', 'l')} `)).toBe(id);
    expect(readTraceId('too short')).toBeUndefined();
    expect(readTraceId(`${id}1`)).toBeUndefined();
  });
});

describe('the trace store', () => {
  let folder: string;
  let now = 1_800_000_000_000;
  const faults: unknown[] = [];
  const openStore = (): TraceStore =>
    new TraceStore({ folder, now: () => now, onFault: (fault) => faults.push(fault) });
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'epost-trace-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
    expect(faults).toEqual([]);
  });

  it('keeps a timeline in order, also of events in one millisecond, over a restart', async () => {
    const store = openStore();
    for (let index = 0; index < 50; index += 1) store.record('A', { what: `step ${index}` });
    store.record('B', { what: 'other' });
    await store.close();
    const again = openStore();
    expect(again.read('A').map(({ what }) => what)).toEqual(Array.from({ length: 50 }, (_, index) => `step ${index}`));
    expect(again.read('nobody')).toEqual([]);
    await again.close();
  });

  it('shows the newest timelines first', async () => {
    const store = openStore();
    const ids = [0, 1, 2, 3].map((index) => newTraceId(now + index));
    for (const id of ids) store.record(id, { what: 'connect' });
    await store.close();
    const again = openStore();
    expect(again.recent(firstTraceIdAt(now - 1), 3).map(({ id }) => id)).toEqual(ids.toReversed().slice(0, 3));
    await again.close();
  });

  it('forgets all of what is older than 30 days, however much that is, and nothing else', async () => {
    const store = openStore();
    const [old, young] = [newTraceId(now), newTraceId(now + 86_400_000)];
    for (let index = 0; index < 6_000; index += 1) store.record(old, { what: 'step' });
    store.record(young, { what: 'step' });
    await store.close();
    now += 30 * 86_400_000 + 1;
    const again = openStore();
    again.sweep();
    await expect.poll(() => again.read(old).length, { timeout: 10_000 }).toBe(0);
    expect(again.read(young)).toHaveLength(1);
    await again.close();
  });

  it('cuts what is far too large to its name', async () => {
    const store = openStore();
    store.record('A', { what: 'huge', text: 'x'.repeat(100_000) });
    await store.close();
    const again = openStore();
    expect(again.read('A')).toEqual([{ at: now, what: 'huge', cut: expect.stringMatching(/bytes$/) }]);
    await again.close();
  });

  it('is told to people with the decision explained, and without what a terminal would obey', () => {
    const loaded = loadPolicy(standardPolicy);
    if (loaded.kind !== 'policy') throw new Error('the standard policy does not load');
    const evidence = completeEvidence('data', { author: { kind: 'ambiguous' } });
    const decision = decide(loaded.policy, evidence, new Limits(), now);
    const { verdict, rule, stage, trace, policyHash, class: senderClass } = decision;
    const events = [
      { at: now, what: 'mail', from: 'evil\u001b[2J@x.org', helo: 'moc.\u202egro\u2066' },
      {
        at: now,
        what: 'decision',
        verdict,
        rule,
        stage,
        class: senderClass,
        policy: policyHash,
        steps: JSON.stringify(trace),
        evidence: JSON.stringify(evidence),
      },
    ];
    const text = timelineText('ID', events);
    for (const mark of ['\u001b', '\u202e', '\u2066']) expect(text).not.toContain(mark);
    expect(text).toContain(`decided by rule ${rule}`);
    expect(text).toContain('reject at data');
    // What decided nothing is told to who asks for it.
    expect(text).not.toContain('blocked-sender');
    expect(text).toMatch(/rules did not match; --full shows them/);
    const full = timelineText('ID', events, true);
    expect(full).toContain('blocked-sender did not match');
    expect(full).toContain('author.kind = "ambiguous"');
  });
});
