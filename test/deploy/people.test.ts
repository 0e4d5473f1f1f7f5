import { describe, expect, it } from 'vitest';
import { withPerson } from '../../deploy/process/people.ts';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { readyMadeForRecipients } from '../../policy/ready-made.ts';
import { decideForRecipient } from '../../policy/recipient.ts';

function placing(text: string): string {
  const loaded = loadPolicy(text, 'recipient');
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  const evidence = completeEvidence('notification', {
    author: { kind: 'single', address: 'x@far.example', domain: 'far.example' },
    identity: { verified: true, kind: 'gateway', ring: 'example.org' },
    dmarc: { result: 'pass' },
    envelope: { from: 'x@far.example', fromDomain: 'far.example' },
    organisation: { verdict: 'junk', rule: 'odd' },
    ring: { name: 'example.org' },
  });
  return decideForRecipient(loaded.policy, evidence, new Limits(), 0).verdict;
}

const written = (text: string, ...[list, who]: ['friends' | 'blocked', string]): string => {
  const changed = withPerson(text, list, who);
  if (changed.kind !== 'written') throw new Error(changed.kind);
  return changed.text;
};

describe.each(readyMadeForRecipients.map(({ name, text }) => [name, text]))(
  'in the ready-made policy %s',
  (_, text) => {
    it('who is trusted comes into the inbox, who is blocked is refused, and the last word counts', () => {
      const trusted = written(text, 'friends', 'x@far.example');
      expect(placing(trusted)).toBe('accept');
      const blocked = written(trusted, 'blocked', 'x@far.example');
      expect(placing(blocked)).toBe('reject');
      expect(placing(written(blocked, 'friends', 'x@far.example'))).toBe('accept');
      expect(placing(written(text, 'blocked', 'far.example'))).toBe('reject');
      expect(withPerson(blocked, 'blocked', 'X@far.example')).toEqual({ kind: 'there-already' });
    });

    it('every other line stays', () => {
      const lines = written(text, 'friends', 'x@far.example').split('\n');
      const gone = text.split('\n').filter((line) => !lines.includes(line));
      expect(gone).toEqual(['  friends: []']);
    });
  },
);

it('without the list nothing is written', () => {
  expect(withPerson('version: 1\ndefault: accept\n', 'friends', 'x@far.example')).toEqual({ kind: 'no-list' });
  expect(withPerson('not: [a policy', 'friends', 'x@far.example')).toEqual({ kind: 'no-list' });
});
