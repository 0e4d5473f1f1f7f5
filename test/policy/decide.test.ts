import { describe, expect, test } from 'vitest';
import { completeEvidence, ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { type Decision, decide } from '../../policy/decide.ts';
import type { Evidence, KnownEvidence, Stage } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';

function policyOf(text: string): Policy {
  const loaded = loadPolicy(`version: 1\n${text}`);
  if (loaded.kind === 'problems') throw new Error(JSON.stringify(loaded.problems, null, 1));
  return loaded.policy;
}

function decided(text: string, given: KnownEvidence = {}, stage: Stage = 'data'): Decision {
  return decide(policyOf(text), ordinaryEvidence(stage, given), new Limits(), 0);
}

describe('the first rule that matches decides', () => {
  const text = `
lists: {blocked: [bad.example, .worse.example, "@all.example"]}
classes:
  one: dmarc.result == "pass"
  two: dmarc.result == "pass" && tls.used
rules:
  - {id: blocked, when: author.domain in lists.blocked || author.address in lists.blocked, do: reject, reply: go away}
  - {id: first-class, when: class == "one", do: accept}
  - {id: second-class, when: class == "two", do: junk}
  - {id: long-list, when: 'envelope.recipients.exists(r, r.endsWith("@many.example")) && envelope.recipientCount > 2', do: quarantine}
  - {id: choice, when: 'tls.used ? message.bytes > 5000000 : message.bytes > 1000', do: hold}
default: junk
`;
  const rows: readonly [why: string, given: KnownEvidence, verdict: string, rule: string][] = [
    ['nothing matches, so the default', {}, 'junk', 'default'],
    ['a list holds the name itself', { author: { domain: 'BAD.example' } }, 'reject', 'blocked'],
    ['a list holds what is below a dot', { author: { domain: 'a.b.worse.example' } }, 'reject', 'blocked'],
    ['a list does not hold the domain above', { author: { domain: 'worse.example' } }, 'junk', 'default'],
    ['a list holds a whole domain of addresses', { author: { address: 'x@all.example' } }, 'reject', 'blocked'],
    ['the first class that fits is the class', { dmarc: { result: 'pass' } }, 'accept', 'first-class'],
    [
      'one recipient of many is enough',
      { envelope: { recipients: ['a@b.example', 'c@many.example'], recipientCount: 3 } },
      'quarantine',
      'long-list',
    ],
    ['whole numbers are compared as numbers', { message: { bytes: 5_000_001 } }, 'hold', 'choice'],
    ['the other branch of a choice', { message: { bytes: 1001 }, tls: { used: false } }, 'hold', 'choice'],
  ];
  test.each(rows)('%s', (_why, given, verdict, rule) => {
    expect(decided(text, given)).toMatchObject({ verdict, rule });
  });
});

describe('what could not be found out is neither yes nor no', () => {
  const rules = `
lists: {trusted: [sealer.example]}
classes:
  forwarded: arc.result == "pass" && arc.sealer in lists.trusted
  aligned: dmarc.result == "pass"
rules:
  - {id: trial, when: client.loopback && dmarc.result == "unknown", do: accept}
  - {id: refuse, when: dmarc.result == "fail" && dmarc.policy == "reject" && class != "forwarded", do: reject, reply: no}
  - {id: not-passed, when: '!(dmarc.result == "pass") && author.domain == "strict.example"', do: reject, reply: no}
  - {id: large, when: message.bytes > 1000000, do: junk}
  - {id: spf-only, when: spf.result == "fail" && dmarc.result == "none", do: junk}
default: accept
`;
  const rows: readonly [why: string, given: KnownEvidence, verdict: string, rule: string][] = [
    ['a silent name server is no verdict', { dmarc: { result: 'unknown' } }, 'defer', 'could-not-find-out'],
    [
      'a rule that names unknown may decide',
      { dmarc: { result: 'unknown' }, client: { loopback: true } },
      'accept',
      'trial',
    ],
    [
      'unknown is not "not pass"',
      { dmarc: { result: 'unknown' }, author: { domain: 'strict.example' } },
      'defer',
      'could-not-find-out',
    ],
    [
      'a later rule does not decide over the head of an unsettled one',
      { dmarc: { result: 'unknown' }, message: { bytes: 2_000_000 } },
      'defer',
      'could-not-find-out',
    ],
    [
      'what does not matter may be unknown: DMARC passed, so SPF and ARC change nothing',
      { dmarc: { result: 'pass' }, spf: { result: 'unknown' }, arc: { result: 'unknown' } },
      'accept',
      'default',
    ],
    [
      'a chain that could not be checked might have been a trusted one',
      { dmarc: { result: 'fail', policy: 'reject' }, arc: { result: 'unknown' } },
      'defer',
      'could-not-find-out',
    ],
    [
      'a chain that is broken is a fact',
      { dmarc: { result: 'fail', policy: 'reject' }, arc: { result: 'fail', sealer: 'sealer.example' } },
      'reject',
      'refuse',
    ],
    ['without DMARC, SPF that is unknown matters', { spf: { result: 'unknown' } }, 'defer', 'could-not-find-out'],
  ];
  test.each(rows)('%s', (_why, given, verdict, rule) => {
    expect(decided(rules, given)).toMatchObject({ verdict, rule });
  });

  test('the sender is told to come back, and the trace says what was missing', () => {
    const decision = decided(rules, { dmarc: { result: 'unknown' } });
    expect(decision.reply).toMatchObject({ code: 451, enhanced: '4.4.3' });
    expect(decision.retryAfterMs).toBe(300_000);
    expect(decision.class).toBe('unknown');
    const last = decision.trace.at(-1);
    expect(last).toMatchObject({ rule: 'could-not-find-out', mode: 'implied', matched: 'yes' });
    expect(last?.note).toContain('dmarc.result');
    expect(decision.trace.map(({ rule, matched }) => `${rule} ${matched}`)).toContain('refuse unknown');
  });

  test('an unsettled rule of the same verdict changes nothing', () => {
    const text = `
rules:
  - {id: a, when: dmarc.result == "fail", do: junk}
  - {id: b, when: message.bytes > 10, do: junk}
default: accept`;
    expect(decided(text, { dmarc: { result: 'unknown' } })).toMatchObject({ verdict: 'junk', rule: 'b' });
  });

  test('naming one unknown does not settle another', () => {
    const text = `
rules:
  - {id: a, when: dmarc.result == "fail", do: reject, reply: no}
  - {id: b, when: spf.result == "unknown", do: junk}
default: accept`;
    expect(decided(text, { dmarc: { result: 'unknown' }, spf: { result: 'unknown' } }).rule).toBe('could-not-find-out');
    expect(decided(text, { spf: { result: 'unknown' } }).rule).toBe('b');
  });

  test('a rule in shadow mode is never a reason to wait', () => {
    const text = `
rules:
  - {id: a, when: dmarc.result == "fail", do: reject, reply: no, mode: shadow}
default: accept`;
    expect(decided(text, { dmarc: { result: 'unknown' } })).toMatchObject({ verdict: 'accept', shadow: [] });
  });

  test('a fact the stage should know and nobody gave is unknown', () => {
    expect(completeEvidence('data', {}).dmarc.result).toBe('unknown');
    expect(completeEvidence('connect', {}).dmarc.result).toBe('none');
    expect(completeEvidence('data', {}).author.kind).toBe('none');
  });
});

describe('limits', () => {
  const text = `
rules:
  - id: slow
    when: '!client.loopback'
    limit: {by: client.subnet, rate: 2/h, over: defer}
    reply: {code: 421, text: slow down}
  - id: later
    when: message.bytes > 100
    do: junk
default: accept
`;
  test('a rule that only limits decides nothing while within, and defers with a hint when over', () => {
    const policy = policyOf(text);
    const limits = new Limits();
    const evidence = ordinaryEvidence('data', {});
    const at = (now: number): Decision => decide(policy, evidence, limits, now);
    expect([at(0).rule, at(0).rule]).toEqual(['later', 'later']);
    expect(at(0)).toMatchObject({ verdict: 'defer', rule: 'slow', retryAfterMs: 1_800_000, reply: { code: 421 } });
    expect(at(1_800_000).rule).toBe('later');
    const other = ordinaryEvidence('data', { client: { subnet: '198.51.100.0/24' } });
    expect(decide(policy, other, limits, 0).rule).toBe('later');
  });

  test('the trace names the key, the rate and the state', () => {
    const decision = decided(text);
    expect(decision.trace[0]).toMatchObject({
      rule: 'slow',
      limit: { key: '192.0.2.0/24', rate: '2/h', state: 'within' },
    });
  });

  test('a cost counts each recipient', () => {
    const relay = `
rules:
  - {id: volume, stages: relay, limit: {by: identity.address, cost: envelope.recipientCount, rate: 10/h, over: hold}}
default: accept`;
    const many = (recipientCount: number): Decision => decided(relay, { envelope: { recipientCount } }, 'relay');
    expect(many(10).verdict).toBe('accept');
    expect(many(11)).toMatchObject({ verdict: 'hold', rule: 'volume' });
  });

  test('a limit keyed by something unknown takes nothing and waits', () => {
    const byDomain = `
rules:
  - {id: per-domain, limit: {by: dmarc.domain, rate: 1/h, over: junk}}
default: accept`;
    expect(decided(byDomain, { dmarc: { result: 'unknown' } }).rule).toBe('could-not-find-out');
  });
});

describe('stages', () => {
  const text = `
rules:
  - {id: early, stages: connect, when: client.iprev == "fail", do: reject, reply: no}
  - {id: rcpt, stages: [rcpt], when: envelope.recipientCount > 5, do: defer}
  - {id: everything, do: junk}
default: reject
`;
  test('a rule speaks only at its stages', () => {
    const bad: KnownEvidence = { client: { iprev: 'fail' } };
    expect(decided(text, bad, 'connect')).toMatchObject({ verdict: 'reject', rule: 'early' });
    expect(decided(text, bad, 'rcpt')).toMatchObject({ verdict: 'accept', rule: 'default' });
    expect(decided(text, { envelope: { recipientCount: 6 } }, 'rcpt')).toMatchObject({
      verdict: 'defer',
      rule: 'rcpt',
    });
    expect(decided(text, bad, 'data')).toMatchObject({ verdict: 'junk', rule: 'everything' });
  });

  test('before the message is there, the default is to go on', () => {
    expect(decided('default: reject', {}, 'mail').verdict).toBe('accept');
    expect(decided('default: reject', {}, 'data').verdict).toBe('reject');
  });

  test('no policy relays for strangers, whatever its default', () => {
    const decision = decided('default: accept', { identity: { verified: false } }, 'relay');
    expect(decision).toMatchObject({ verdict: 'reject', rule: 'no-relay-for-strangers', reply: { code: 550 } });
    expect(decided('default: accept', {}, 'relay')).toMatchObject({ verdict: 'accept', rule: 'default' });
  });
});

describe('shadow mode', () => {
  test('a shadowed rule is told of and decides nothing; its limit counts', () => {
    const text = `
rules:
  - {id: quiet, do: junk, mode: shadow}
  - {id: counted, limit: {by: client.ip, rate: 1/h, over: reject}, reply: no, mode: shadow}
default: accept`;
    const policy = policyOf(text);
    const limits = new Limits();
    const run = (): Decision => decide(policy, ordinaryEvidence('data', {}), limits, 0);
    expect(run()).toMatchObject({ verdict: 'accept', rule: 'default', shadow: ['quiet'] });
    expect(run().shadow).toEqual(['quiet', 'counted']);
  });
});

describe('replies', () => {
  test('a reject says 550 5.7.1 and the text of its rule', () => {
    const text = 'rules: [{id: a, do: reject, reply: not today}]\ndefault: accept';
    expect(decided(text).reply).toEqual({ code: 550, enhanced: '5.7.1', text: 'not today' });
  });

  test('a default that refuses has a reply too', () => {
    expect(decided('default: reject').reply).toMatchObject({ code: 550 });
    expect(decided('default: defer').reply).toMatchObject({ code: 451 });
    expect(decided('default: accept').reply).toBeUndefined();
  });
});

describe('evidence that lacks what the table promises', () => {
  const policy = policyOf(`
rules:
  - {id: a, when: dmarc.result == "fail", do: junk}
  - {id: b, when: 'dmarc.domain.endsWith(".example")', do: junk}
default: accept`);

  test('is a failure of the rule, and defers', () => {
    const whole = ordinaryEvidence('data', {});
    const broken = { ...whole, dmarc: undefined } as unknown as Evidence;
    const decision = decide(policy, broken, new Limits(), 0);
    expect(decision).toMatchObject({ verdict: 'defer', rule: 'could-not-find-out' });
    expect(decision.trace.slice(0, 2).map(({ matched }) => matched)).toEqual(['error', 'error']);
  });

  test('defers even when nothing can be read at all', () => {
    const nonsense = { stage: 'nowhere' } as unknown as Evidence;
    expect(decide(policy, nonsense, new Limits(), 0)).toMatchObject({ verdict: 'defer', rule: 'could-not-find-out' });
  });
});
