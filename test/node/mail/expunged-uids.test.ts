import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { ExpungedUids, maxExpungedRanges } from '../../../node/mail/expunged-uids.ts';
import { type MailboxFixture, makeMailbox } from './mailbox-fixture.ts';

describe('uids that a folder has lost', () => {
  it('are those that went after the given modseq, whatever they were', () => {
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1 })), (steps) => {
        const gone = new ExpungedUids();
        const history: [number, number][] = [];
        for (const [index, uids] of steps.entries()) {
          const ascending = uids.toSorted((a, b) => a - b);
          gone.add(index + 1, ascending);
          for (const uid of ascending) history.push([index + 1, uid]);
        }
        for (let modseq = 0; modseq <= steps.length; modseq += 1) {
          const told = gone
            .since(modseq)!
            .flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
          const wanted = new Set(history.filter(([at]) => at > modseq).map(([, uid]) => uid));
          expect(told).toEqual([...wanted].sort((a, b) => a - b));
        }
      }),
    );
  });

  it('are forgotten from the oldest on when they are too many, and then it says that it does not know', () => {
    const gone = new ExpungedUids();
    for (let step = 1; step <= maxExpungedRanges + 1; step += 1) gone.add(step, [step * 2]);
    expect(gone.ranges().length).toBeLessThanOrEqual(maxExpungedRanges);
    expect(gone.since(1)).toBeUndefined();
    expect(gone.since(maxExpungedRanges)).toEqual([{ from: 2 * maxExpungedRanges + 2, to: 2 * maxExpungedRanges + 2 }]);
    expect(gone.since(gone.before)).toHaveLength(gone.ranges().length);
  });
});

describe('a folder', () => {
  let fixture: MailboxFixture | undefined;
  afterEach(async () => await fixture?.stop());

  it('knows what went since when after a restart, and after its index was deleted', async () => {
    fixture = await makeMailbox();
    const inbox = await fixture.mailbox.folder('INBOX');
    for (let count = 0; count < 5; count += 1)
      await inbox!.append(Buffer.from(`a: ${count}\r\n\r\n`), { flags: [], internalDate: 0 });
    const before = inbox!.highestModseq;
    await inbox!.expunge([2, 3]);
    const between = inbox!.highestModseq;
    await inbox!.expunge([5]);
    for (const deleteIndex of [false, true]) {
      const folder = await (await fixture.reopen({ deleteIndex })).folder('INBOX');
      expect(folder!.expungedSince(before)).toEqual([
        { from: 2, to: 3 },
        { from: 5, to: 5 },
      ]);
      expect(folder!.expungedSince(between)).toEqual([{ from: 5, to: 5 }]);
      expect(folder!.expungedSince(folder!.highestModseq)).toEqual([]);
    }
  });
});
