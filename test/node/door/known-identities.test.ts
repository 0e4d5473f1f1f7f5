import { describe, expect, it } from 'vitest';
import { KnownIdentities } from '../../../node/door/known-identities.ts';
import type { Lookup } from '../../../node/store/directory.ts';
import type { Address } from '../../../policy/address.ts';

const bob = 'bob@example.org' as Address;
const found = { kind: 'found', certificate: {} } as Lookup;

function world() {
  const asked: Address[] = [];
  const answers = new Map<Address, Lookup>();
  const time = { now: 1_000_000 };
  const known = new KnownIdentities(
    async (address) => {
      asked.push(address);
      return answers.get(address) ?? { kind: 'none' };
    },
    () => time.now,
  );
  return { asked, answers, time, known };
}

describe('who is known at a gateway', () => {
  it('is asked for once by all who ask at once, and not again for some seconds', async () => {
    const { asked, answers, known } = world();
    answers.set(bob, found);
    expect(await Promise.all([known.lookup(bob), known.lookup(bob)])).toEqual([found, found]);
    expect(await known.lookup(bob)).toBe(found);
    expect(asked).toEqual([bob]);
  });

  it('may be revoked: after some seconds the ring is asked again', async () => {
    const { answers, time, known } = world();
    answers.set(bob, found);
    await known.lookup(bob);
    answers.set(bob, { kind: 'revoked' });
    time.now += 6_000;
    expect(await known.lookup(bob)).toEqual({ kind: 'revoked' });
    time.now -= 60_000;
    expect(await known.lookup(bob)).toEqual({ kind: 'revoked' });
  });

  it('is never remembered as absent or unclear: the next question is a new one', async () => {
    const { answers, known } = world();
    expect(await known.lookup(bob)).toEqual({ kind: 'none' });
    answers.set(bob, { kind: 'unknown', reason: 'silence' });
    expect((await known.lookup(bob)).kind).toBe('unknown');
    answers.set(bob, found);
    expect(await known.lookup(bob)).toBe(found);
  });

  it('is bounded: strangers name addresses', async () => {
    const { asked, answers, known } = world();
    const many = Array.from({ length: 3_000 }, (_, index) => `user${index}@example.org` as Address);
    for (const address of many) answers.set(address, found);
    for (const address of many) await known.lookup(address);
    asked.length = 0;
    for (const address of [many[0], many.at(-1)]) if (address !== undefined) await known.lookup(address);
    expect(asked).toEqual([many[0]]);
  });
});
