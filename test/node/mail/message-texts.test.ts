import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { MessageTexts, type TextShelf } from '../../../node/mail/message-texts.ts';
import { type Texts, textColumns } from '../../../node/mail/text-columns.ts';

class Shelf implements TextShelf {
  readonly blocks = new Map<string, Buffer>();

  get(name: string): Buffer | undefined {
    return this.blocks.get(name);
  }

  put(name: string, bytes: Uint8Array, maxBytes: number): void {
    expect(bytes.length).toBeLessThanOrEqual(maxBytes);
    this.blocks.set(name, Buffer.from(bytes));
  }
}

let shelf: Shelf;
beforeEach(() => {
  shelf = new Shelf();
});

const key = (n: number): string => `${n}`.padStart(16, '0');

function texts(given: Partial<Texts>): Texts {
  return { ...(Object.fromEntries(textColumns.map((name) => [name, []])) as unknown as Texts), ...given };
}

/** Message n has this subject. */
function filled(subjects: readonly string[], into = new MessageTexts(shelf)): MessageTexts {
  for (const [n, subject] of subjects.entries()) into.put(key(n), texts({ subject: [subject] }));
  return into;
}

async function found(kept: MessageTexts, wanted: string, upTo: number): Promise<(boolean | undefined)[]> {
  const matches = await kept.find('subject', wanted);
  return Array.from({ length: upTo }, (_, n) => matches(key(n)));
}

describe('texts of messages that searches look at', () => {
  it('are found where one value has what is wanted, and nowhere else', async () => {
    const kept = new MessageTexts(shelf);
    kept.put(key(0), texts({ to: ['ab', 'cd'], subject: ['xy'] }));
    kept.put(key(1), texts({ to: ['ef'] }));
    kept.put(key(2), texts({ to: [''] }));
    const to = async (wanted: string): Promise<(boolean | undefined)[]> =>
      await kept.find('to', wanted).then((matches) => [0, 1, 2, 3].map((n) => matches(key(n))));
    expect(await to('cd')).toEqual([true, false, false, undefined]);
    expect(await to('bc')).toEqual([false, false, false, undefined]);
    expect(await to('de')).toEqual([false, false, false, undefined]);
    expect(await to('xy')).toEqual([false, false, false, undefined]);
    // RFC 3501 §6.4.4: whether there is such a field at all.
    expect(await to('')).toEqual([true, true, true, undefined]);
    expect(await kept.find('cc', '').then((matches) => matches(key(0)))).toBe(false);
  });

  it('the same as by a look at each, over many segments, before and after a start', async () => {
    const word = fc.array(fc.constantFrom('a', 'b', 'ä', 'ß', '漢', '😀', ' ', '\0'), { maxLength: 4 });
    const all = fc.array(word, { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(all, word, async (words, wanted) => {
        shelf = new Shelf();
        const subjects = Array.from({ length: 2_500 }, (_, n) => (words[n % words.length] ?? []).join(''));
        const kept = filled(subjects);
        const expected = subjects.map((subject) => subject.includes(wanted.join('')));
        expect(await found(kept, wanted.join(''), subjects.length)).toEqual(expected);
        kept.close();
        expect(await found(new MessageTexts(shelf), wanted.join(''), subjects.length)).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  it('by a test of the first value', async () => {
    const kept = new MessageTexts(shelf);
    for (const [n, sent] of [['5'], ['20'], []].entries()) kept.put(key(n), texts({ sent }));
    const matches = await kept.find('sent', (day) => Number(day) >= 10);
    expect([0, 1, 2].map((n) => matches(key(n)))).toEqual([false, true, false]);
  });

  it('go on growing over starts, each message once', async () => {
    for (let start = 0; start < 5; start += 1) {
      const kept = filled(Array.from({ length: 500 * (start + 1) }, (_, n) => `number ${n} of all`));
      expect((await found(kept, ' of all', 2_500)).filter((yes) => yes === true)).toHaveLength(500 * (start + 1));
      expect(await kept.find('subject', 'number 499 ').then((matches) => matches(key(499)))).toBe(true);
      kept.close();
    }
    expect(new MessageTexts(shelf).has(key(2_499))).toBe(true);
    expect(new MessageTexts(shelf).has(key(2_500))).toBe(false);
  });

  it('not known after a crash are those that came last; nothing is wrong', async () => {
    filled(Array.from({ length: 1_500 }, (_, n) => `number ${n}.`));
    const after = await found(new MessageTexts(shelf), 'number 7.', 1_500);
    expect(after.slice(0, 1_024)).toEqual(Array.from({ length: 1_024 }, (_, n) => n === 7));
    expect(after.slice(1_024).every((one) => one === undefined)).toBe(true);
  });

  it('not known are those of a column that a crash left half written, or that is gone', async () => {
    const kept = filled(Array.from({ length: 2_048 }, (_, n) => `number ${n}.`));
    kept.close();
    const first = shelf.blocks.get('texts1/0/subject');
    shelf.blocks.set('texts1/1/subject', first!);
    shelf.blocks.delete('texts1/0/subject');
    expect((await found(new MessageTexts(shelf), 'number', 2_048)).every((one) => one === undefined)).toBe(true);
  });

  it('not known is a cell that is too long to keep: whoever searches reads', async () => {
    const kept = filled(['short', 'x'.repeat(5_000), 'short too']);
    expect(await found(kept, 'short', 3)).toEqual([true, undefined, true]);
    expect(await found(kept, '', 3)).toEqual([true, undefined, true]);
  });

  it('of very long headers close a segment early', async () => {
    const subject = Array.from({ length: 700 }, (_, n) => `${n} ${'x'.repeat(4_000)}`);
    expect((await found(filled(subject), '699 x', 700)).indexOf(true)).toBe(699);
    expect(shelf.blocks.has('texts1/1/keys')).toBe(true);
    expect((await found(new MessageTexts(shelf), '3 x', 700)).indexOf(true)).toBe(3);
  });
});
