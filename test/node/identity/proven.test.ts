import { expect, it } from 'vitest';
import { nameOfSignature, Proven } from '../../../node/identity/proven.ts';

it('keeps no more than its bound, and what was asked for last', () => {
  const proven = new Proven(3);
  for (const name of ['a', 'b', 'c']) proven.add(name);
  expect(proven.has('a')).toBe(true);
  proven.add('d');
  expect(['a', 'b', 'c', 'd'].map((name) => proven.has(name))).toEqual([true, false, true, true]);
});

it('names differ with each octet of key, signature and text', () => {
  const parts = [new Uint8Array(32), new Uint8Array(64), new Uint8Array(10)] as const;
  const names = new Set([nameOfSignature(...parts)]);
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 1) {
      part[at] = 1;
      names.add(nameOfSignature(...parts));
      part[at] = 0;
    }
  }
  expect(names.size).toBe(1 + 32 + 64 + 10);
});
