import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteGate } from '../../../node/mail/byte-gate.ts';

it('what is under way stays below the limit, one piece always goes, in order, and nothing is left waiting', async () => {
  const pieces = fc.array(fc.record({ bytes: fc.nat({ max: 15 }), fails: fc.boolean() }), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(pieces, async (all) => {
      const gate = new ByteGate(10);
      let [inside, bytes] = [0, 0];
      const begun: number[] = [];
      const outcomes = await Promise.allSettled(
        all.map(async (piece, number) =>
          gate.run(piece.bytes, async () => {
            begun.push(number);
            inside += 1;
            bytes += piece.bytes;
            expect(inside === 1 || bytes <= 10).toBe(true);
            await new Promise((resolve) => setImmediate(resolve));
            inside -= 1;
            bytes -= piece.bytes;
            if (piece.fails) throw new Error('it fails');
            return number;
          }),
        ),
      );
      expect(begun).toEqual(all.map((_, number) => number));
      expect(outcomes.map(({ status }) => status === 'rejected')).toEqual(all.map(({ fails }) => fails));
    }),
    { numRuns: 30 },
  );
});
