import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FolderView } from '../../../../node/access/imap/session/view.ts';
import type { Folder, MessageEntry } from '../../../../node/mail/folder.ts';

/** What a view needs of a folder: the list, replaced at each change. */
class Pile {
  list: readonly MessageEntry[] = [];
  #uid = 0;
  #modseq = 0;

  readonly folder = { entries: () => this.list, onChange: () => () => undefined } as unknown as Folder;

  insert(): void {
    this.#uid += 1;
    this.#modseq += 1;
    const entry = { uid: this.#uid, flags: [], modseq: this.#modseq } as unknown as MessageEntry;
    this.list = [...this.list, entry];
  }

  flag(at: number): void {
    this.#modseq += 1;
    const modseq = this.#modseq;
    this.list = this.list.map((entry, index) =>
      index === at % this.list.length ? { ...entry, modseq, flags: [`k${modseq}`] } : entry,
    );
  }

  expunge(at: number): void {
    this.list = this.list.filter((_, index) => index !== at % this.list.length);
  }
}

const act = fc.record({ what: fc.constantFrom('insert', 'flag', 'expunge', 'tell', 'tell-all'), at: fc.nat(20) });

describe('the view of a folder', () => {
  it('a client that does what it is told always has the numbers that the session has', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const pile = new Pile();
        for (let count = 0; count < 4; count += 1) pile.insert();
        const view = new FolderView(pile.folder, false, () => undefined);
        // The client's own list, kept only by the responses.
        const client: { uid: number | undefined; flags: string }[] = view.all().map(({ uid }) => ({ uid, flags: '' }));
        const tell = (expunges: boolean): void => {
          const changes = view.catchUp(expunges);
          if (!expunges) expect(changes.expunged).toEqual([]);
          for (const sequence of changes.expunged) client.splice(sequence - 1, 1);
          while (changes.exists !== undefined && client.length < changes.exists)
            client.push({ uid: undefined, flags: '' });
          for (const { sequence, entry } of changes.flags)
            client[sequence - 1] = { uid: entry.uid, flags: entry.flags.join() };
        };
        for (const { what, at } of acts) {
          if (what === 'insert') pile.insert();
          else if (what === 'flag') pile.flag(at);
          else if (what === 'expunge') pile.expunge(at);
          else tell(what === 'tell-all');
          expect(view.count).toBe(client.length);
          view.all().forEach(({ uid }, index) => expect([undefined, uid]).toContain(client[index]?.uid));
        }
        tell(true);
        expect(view.all().map(({ uid }) => uid)).toEqual(pile.list.map(({ uid }) => uid));
        expect(view.behind).toBe(false);
        view.all().forEach((entry, index) => {
          if (client[index]?.uid !== undefined) expect(client[index]?.flags).toBe(entry.flags.join());
        });
      }),
    );
  });

  it('a number beyond the last message is out of range, a UID is not', () => {
    const pile = new Pile();
    pile.insert();
    const view = new FolderView(pile.folder, false, () => undefined);
    expect(view.resolve({ by: 'sequence', set: [{ from: 1, to: 2 }] }).kind).toBe('out-of-range');
    expect(view.resolve({ by: 'sequence', set: [{ from: 1, to: '*' }] })).toMatchObject({
      messages: [{ sequence: 1 }],
    });
    expect(view.resolve({ by: 'uid', set: [{ from: 1, to: 2 }] })).toMatchObject({ messages: [{ sequence: 1 }] });
    expect(view.resolve({ by: 'uid', set: [{ from: 8, to: '*' }] })).toMatchObject({ messages: [{ sequence: 1 }] });
    expect(view.resolve({ by: 'uid', set: [{ from: 8, to: 9 }] })).toEqual({ kind: 'messages', messages: [] });
  });

  it('what the session stored itself is not told twice', () => {
    const pile = new Pile();
    pile.insert();
    const view = new FolderView(pile.folder, false, () => undefined);
    pile.flag(0);
    view.adopt(pile.list);
    expect(view.catchUp(true)).toEqual({ expunged: [], vanished: [], exists: undefined, flags: [] });
  });
});
