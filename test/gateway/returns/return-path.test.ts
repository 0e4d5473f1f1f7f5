import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canSign, returnPaths } from '../../../gateway/returns/return-path.ts';
import { returnDays } from '../../../gateway/returns/srs.ts';

const paths = returnPaths(Buffer.alloc(32, 1));
const day = 86_400_000;
const now = 20_000 * day + 5;
const alice = 'alice@example.org';

describe('a return path', () => {
  it.for([
    alice,
    'alice+shop@example.org',
    'Ünal@example.org',
    `${'a'.repeat(42)}@example.org`,
    `${'ü'.repeat(24)}@example.org`,
  ])('of %s leads back to it until its last day', (sender) => {
    const signed = paths.sign(sender, now);
    expect(signed).not.toBe(sender);
    expect(Buffer.byteLength(signed.slice(0, signed.lastIndexOf('@')))).toBeLessThanOrEqual(64);
    expect(paths.open(signed, now)).toEqual({ kind: 'signed', address: sender });
    expect(paths.open(signed, now + returnDays * day)).toEqual({ kind: 'signed', address: sender });
    expect(paths.open(signed, now + (returnDays + 1) * day)).toEqual({ kind: 'expired' });
  });

  it('is the same for all attempts of a message, whenever they are made', () => {
    expect(paths.sign(alice, now)).toBe(paths.sign(alice, now));
  });

  it('holds when a host on the way has changed its case', () => {
    expect(paths.open(paths.sign(alice, now).toUpperCase(), now)).toEqual({
      kind: 'signed',
      address: 'ALICE@EXAMPLE.ORG',
    });
  });

  it('of another ring, name or day is forged', () => {
    const signed = paths.sign(alice, now);
    expect(returnPaths(Buffer.alloc(32, 2)).open(signed, now)).toEqual({ kind: 'forged' });
    expect(paths.open(signed.replace('alice', 'bob'), now)).toEqual({ kind: 'forged' });
    expect(
      paths.open(
        signed.replace(/prvs=0(\d)/, (_, digit: string) => `prvs=0${(Number(digit) + 1) % 10}`),
        now,
      ),
    ).toEqual({ kind: 'forged' });
  });

  it('of a name with a tag that leaves no room leads back to the name', () => {
    const tagged = `alice+${'t'.repeat(40)}@example.org`;
    expect(paths.open(paths.sign(tagged, now), now)).toEqual({ kind: 'signed', address: alice });
    expect(canSign(tagged)).toBe(true);
  });

  it('has less of a hash where the name is long, and only there', () => {
    const name = `${'a'.repeat(48)}@example.org`;
    const [, hash = ''] = /^prvs=0\d{3}([a-z2-7]+)=a+@/.exec(paths.sign(name, now)) ?? [];
    expect(hash).toHaveLength(6);
    expect(paths.open(paths.sign(name, now), now)).toEqual({ kind: 'signed', address: name });
    const cutShort = paths.sign(alice, now).replace(/^(prvs=0\d{3}[a-z2-7]{6})[a-z2-7]+/, '$1');
    expect(paths.open(cutShort, now)).toEqual({ kind: 'forged' });
  });

  it('of the null sender, and of a name that leaves no room, stays as it is', () => {
    const long = `${'a'.repeat(49)}@example.org`;
    expect(paths.sign('', now)).toBe('');
    expect(paths.sign(long, now)).toBe(long);
    expect([canSign(long), canSign(alice)]).toEqual([false, true]);
  });

  it('is not signed twice', () => {
    const signed = paths.sign(alice, now);
    expect(paths.sign(signed, now)).toBe(signed);
  });

  it('cannot be guessed, and no text makes it throw', () => {
    const local = fc.oneof(fc.string({ maxLength: 64 }), fc.stringMatching(/^prvs=0\d{3}[a-z2-7]{12}=alice$/));
    fc.assert(
      fc.property(local, (text) => {
        expect(['plain', 'forged']).toContain(paths.open(`${text}@example.org`, now).kind);
      }),
    );
  });
});
