import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maxReceiptBytes } from '../../../node/notify/lifetime.ts';
import { answers, checkReceipt, itemOf, makeReceipt, readReceipt } from '../../../node/notify/receipt.ts';
import { Network } from './network.ts';

const network = new Network();
const bob = network.person('bob');
const mallory = network.person('mallory');
const id = Buffer.alloc(32, 7);
const item = itemOf(Buffer.from('sealed'));
const base = { id, by: bob.certificate, signing: bob.keys.signing, now: network.now };

describe('a receipt', () => {
  it('says what its recipient signed', () => {
    const receipt = makeReceipt({ ...base, verdict: 'refused', rule: 'no-strangers' });
    expect(checkReceipt(receipt.bytes, bob.certificate)).toMatchObject({
      verdict: 'refused',
      rule: 'no-strangers',
      at: network.now,
      by: 'bob@example.org',
    });
  });

  it('of another key is none', () => {
    const forged = makeReceipt({ ...base, verdict: 'accepted', signing: mallory.keys.signing });
    expect(checkReceipt(forged.bytes, bob.certificate)).toBeUndefined();
  });

  it('in another’s name is none, though the key is right', () => {
    const forged = makeReceipt({ ...base, verdict: 'accepted', by: mallory.certificate });
    expect(checkReceipt(forged.bytes, bob.certificate)).toBeUndefined();
  });

  it('for the bytes of one item does not answer another with the same id', () => {
    const receipt = makeReceipt({ ...base, verdict: 'refused', item });
    expect(answers(receipt, id, item)).toBe(true);
    expect(answers(receipt, id, itemOf(Buffer.from('the true one')))).toBe(false);
  });

  it('for an id answers every copy of it and no other id', () => {
    const receipt = makeReceipt({ ...base, verdict: 'accepted' });
    expect(answers(receipt, id, item)).toBe(true);
    expect(answers(receipt, Buffer.alloc(32, 8), item)).toBe(false);
  });

  it('fits its limit with the longest rule', () => {
    const { bytes } = makeReceipt({ ...base, verdict: 'refused', item, rule: '\u{1f4ee}'.repeat(200) });
    expect(bytes.length).toBeLessThanOrEqual(maxReceiptBytes);
    expect(readReceipt(bytes)).toBeDefined();
  });

  it('with any bit changed is none', () => {
    const { bytes } = makeReceipt({ ...base, verdict: 'accepted' });
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ change;
        expect(checkReceipt(changed, bob.certificate)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });
});
