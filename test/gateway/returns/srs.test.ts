import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { returnPaths } from '../../../gateway/returns/return-path.ts';

const ours = returnPaths(Buffer.alloc(32, 1));
const theirs = returnPaths(Buffer.alloc(32, 2));
const now = Date.parse('2026-11-26T12:00:00Z');
const day = 86_400_000;

describe('a rewritten sender', () => {
  it('has the form that others know, and leads back to him', () => {
    const made = ours.forward('Friend@sender.test', 'example.org', now);
    expect(made).toMatch(/^SRS0=[a-z2-7]{8}=[a-z2-7]{2}=sender\.test=Friend@example\.org$/);
    expect(ours.open(made ?? '', now)).toEqual({ kind: 'forwarded', address: 'Friend@sender.test' });
  });

  it('leads back in any case of letters, for two weeks', () => {
    const made = ours.forward('friend@sender.test', 'example.org', now)!;
    expect(ours.open(made.toUpperCase(), now + 14 * day)).toMatchObject({ kind: 'forwarded' });
    expect(ours.open(made, now + 16 * day)).toEqual({ kind: 'expired' });
    // The day goes round after 1,024 of them.
    expect(ours.open(made, now + 900 * day)).toEqual({ kind: 'expired' });
  });

  it('that another ring made is none of ours', () => {
    const made = theirs.forward('friend@sender.test', 'example.org', now)!;
    expect(ours.open(made, now)).toEqual({ kind: 'forged' });
  });

  it('is not rewritten by somebody else: neither name, nor domain, nor day', () => {
    const made = ours.forward('friend@sender.test', 'example.org', now)!;
    for (const [from, to] of [
      ['friend', 'fiend'],
      ['sender.test', 'victim.test'],
      [/=([a-z2-7]{2})=/.exec(made)![0], '=zz='],
    ] as const)
      expect(ours.open(made.replace(from, to), now)).toEqual({ kind: 'forged' });
  });

  it('of one that was rewritten already leads to the first who did, over nobody in between', () => {
    const first = theirs.forward('friend@sender.test', 'first.test', now)!;
    const second = returnPaths(Buffer.alloc(32, 3)).forward(first, 'b.test', now)!;
    expect(second).toMatch(/^SRS1=[a-z2-7]{10}=first\.test==[a-z2-7]{8}=[a-z2-7]{2}=sender\.test=friend@b\.test$/);
    const third = ours.forward(second, 'example.org', now);
    expect(third).toMatch(/^SRS1=[a-z2-7]{10}=first\.test==/);
    const back = ours.open(third ?? '', now);
    expect(back).toEqual({ kind: 'forwarded', address: first });
    expect(theirs.open('address' in back ? back.address : '', now)).toEqual({
      kind: 'forwarded',
      address: 'friend@sender.test',
    });
  });

  it('is left as it is by the signature of return paths', () => {
    const made = ours.forward('friend@sender.test', 'example.org', now)!;
    expect(ours.sign(made, now)).toBe(made);
  });

  it('is not made where it would be too long, or where he has no address that mail goes to', () => {
    expect(ours.forward(`${'a'.repeat(40)}@sender.test`, 'example.org', now)).toBeUndefined();
    expect(ours.forward('"odd one"@sender.test', 'example.org', now)).toBeUndefined();
    expect(ours.forward('', 'example.org', now)).toBeUndefined();
  });

  it('is never taken for one where somebody makes one up', () => {
    const local = fc.stringMatching(/^[a-zA-Z0-9=+-]{0,60}$/);
    fc.assert(
      fc.property(fc.constantFrom('SRS0=', 'SRS1=', 'srs0+', 'SRS1-'), local, (prefix, rest) => {
        expect(['plain', 'forged']).toContain(ours.open(`${prefix}${rest}@example.org`, now).kind);
      }),
    );
  });
});
