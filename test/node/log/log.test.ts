import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogStore } from '../../../node/log/log.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { soon } from '../store/store-ring.ts';
import { all, LogRing, records } from './log-ring.ts';

let ring: LogRing;
afterEach(() => ring.stop());

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => `r${from + index}`);

describe('a log in a ring of one', () => {
  beforeEach(async () => {
    ring = await LogRing.of(1);
  });

  it('a missing log is not silently created', async () => {
    await expect(ring.open(0)).rejects.toMatchObject({ code: 'missing' });
    const log = await ring.open(0, { create: true });
    expect([log.length, log.version]).toEqual([0, 1]);
    expect((await ring.open(0, { disk: ring.freshDisk() })).length).toBe(0);
  });

  it.each([1, 49, 50, 51, 500, 1_650])(
    '%i records come back in order, on this node and on one that never saw them',
    async (count) => {
      const log = await ring.open(0, { create: true });
      expect(await log.append(records(...numbers(count)))).toEqual({ first: 0 });
      expect(await log.append(records('one more'))).toEqual({ first: count });
      const expected = [...numbers(count), 'one more'];
      expect(await all(log)).toEqual(expected);
      expect(await all(log, count - 1)).toEqual(expected.slice(-2));
      await log.close();
      expect(await all(await ring.open(0))).toEqual(expected);
      expect(await all(await ring.open(0, { disk: ring.freshDisk() }))).toEqual(expected);
    },
  );

  it('concurrent appends share a head, and each learns its own number', async () => {
    const log = await ring.open(0, { create: true });
    const { version } = log;
    const written = await Promise.all(numbers(200).map((one) => log.append(records(one, `${one}+`))));
    expect(written.map(({ first }) => first)).toEqual(numbers(200).map((_, index) => index * 2));
    expect(log.version - version).toBeLessThan(5);
    expect((await all(log)).length).toBe(400);
  });

  it('a snapshot is found again; it is due after 500 records', async () => {
    const log = await ring.open(0, { create: true });
    await log.append(records(...numbers(500)));
    expect(log.snapshotDue()).toBe(false);
    await log.append(records('r500'));
    expect(log.snapshotDue()).toBe(true);
    const state = Buffer.alloc(200_000, 7);
    await log.saveSnapshot(log.place, state);
    expect(log.snapshotDue()).toBe(false);
    const again = await ring.open(0, { disk: ring.freshDisk() });
    const snapshot = await again.snapshot();
    expect([snapshot?.at.seq, Buffer.compare(snapshot?.state ?? new Uint8Array(), state)]).toEqual([501, 0]);
    const elsewhere = { ...log.place, chain: new Uint8Array(16) };
    await expect(log.saveSnapshot(elsewhere, state)).rejects.toMatchObject({ code: 'overtaken' });
  });

  it('a record is bounded, and so is a head: large records move into groups sooner', async () => {
    const log = await ring.open(0, { create: true });
    await expect(log.append([new Uint8Array(16 * 1024 + 1)])).rejects.toMatchObject({ code: 'too-large' });
    const large = Array.from({ length: 20 }, (_, index) => Buffer.alloc(16 * 1024, index));
    await log.append(large);
    let at = 0;
    for await (const item of log.read(0))
      expect(item.kind === 'record' && Buffer.compare(item.record, large[at++] ?? Buffer.of())).toBe(0);
    expect(at).toBe(20);
  });

  it('another secret does not open it, and says so', async () => {
    await ring.open(0, { create: true });
    const other = await ring.open(0, { create: true, name: 'Sent' });
    expect(other.length).toBe(0);
  });
});

describe('the own last head', () => {
  it('is not rolled back by a ring that answers with an older one, and heals the ring', async () => {
    ring = await LogRing.of(3);
    const log = await ring.open(0, { create: true });
    await log.append(records('a', 'b'));
    const { version } = log;
    const ringStore = ring.ring.node(0).store;
    let old: Uint8Array[] = [];
    const put: Uint8Array[] = [];
    const forgetful: LogStore = {
      insert: (blocks, lease) => ringStore.insert(blocks, lease),
      fetch: (key) => ringStore.fetch(key),
      getHeads: async () => ({ heads: old, answered: 3, asked: 3, sure: true }),
      putHead: async (head) => {
        put.push(head);
        return { copies: 3 };
      },
    };
    for (old of [[], (await ringStore.getHeads(new Uint8Array(32))).heads]) {
      const again = await ring.open(0, { store: forgetful });
      expect([again.version, await all(again)]).toEqual([version, ['a', 'b']]);
    }
    expect(put.length).toBe(2);
  });

  it('opens without the ring', async () => {
    ring = await LogRing.of(3);
    const log = await ring.open(0, { create: true });
    await log.append(records(...numbers(120)));
    await ring.ring.kill(1);
    await ring.ring.kill(2);
    const again = await ring.open(0);
    expect(await all(again)).toEqual(numbers(120));
    await expect(again.append(records('x'))).rejects.toMatchObject({ code: 'unavailable' });
    await expect(ring.open(0, { disk: ring.freshDisk() })).rejects.toMatchObject({ code: 'unavailable' });
    await expect(ring.open(0, { name: 'never', create: true })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('an append that missed the quorum is not in the log, and the next one takes its place', async () => {
    ring = await LogRing.of(3);
    const log = await ring.open(0, { create: true });
    await log.append(records('a'));
    await ring.ring.kill(1);
    await ring.ring.kill(2);
    await expect(log.append(records('lost'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(await all(log)).toEqual(['a']);
    await ring.ring.restart(1);
    await ring.ring.restart(2);
    await soon(async () => expect(await log.append(records('b'))).toEqual({ first: 1 }));
    for (const index of [1, 2])
      expect(await all(await ring.open(index, { disk: ring.freshDisk() }))).toEqual(['a', 'b']);
  });

  it('what was sent but not acknowledged is taken as written after a crash', async () => {
    ring = await LogRing.of(1);
    const log = await ring.open(0, { create: true });
    const { store } = ring.ring.node(0);
    const dying = await ring.open(0, {
      store: {
        insert: (blocks, lease) => store.insert(blocks, lease),
        fetch: (key) => store.fetch(key),
        getHeads: (key) => store.getHeads(key),
        putHead: () => Promise.reject(new StoreFault('quorum', 'the power went')),
      },
    });
    await expect(dying.append(records('sent'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(await all(log)).toEqual([]);
    expect(await all(await ring.open(0))).toEqual(['sent']);
    expect(await all(await ring.open(0, { disk: ring.freshDisk() }))).toEqual(['sent']);
  });
});

describe('two writers of one log (a restored backup, a second device)', () => {
  it('the one that is behind takes the other’s records over and appends after them', async () => {
    ring = await LogRing.of(3);
    const one = await ring.open(0, { create: true });
    const two = await ring.open(1);
    await one.append(records('a', 'b'));
    expect(await two.append(records('c'))).toEqual({ first: 2 });
    expect(await all(two)).toEqual(['a', 'b', 'c']);
    expect(await one.append(records('d'))).toEqual({ first: 3 });
    expect(await all(one)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('records that were made for another length are not written, and it says so', async () => {
    ring = await LogRing.of(3);
    const one = await ring.open(0, { create: true });
    const two = await ring.open(1);
    const empty = two.place;
    await one.append(records('a'), empty);
    await expect(two.append(records('made for an empty log'), empty)).rejects.toMatchObject({ code: 'overtaken' });
    expect(await all(two)).toEqual(['a']);
    expect(await two.append(records('b'), two.place)).toEqual({ first: 1 });
  });

  const forked = async (left: string[], right: string[]) => {
    ring = await LogRing.of(2);
    const one = await ring.open(0, { create: true });
    await one.append(records(...numbers(60)));
    const two = await ring.open(1);
    ring.ring.network.partition([ring.ring.node(0).peerId], [ring.ring.node(1).peerId]);
    for (const record of left) await one.append(records(record));
    for (const record of right) await two.append(records(record));
    ring.ring.network.heal();
    return { one, two };
  };
  const expected = (...more: string[]) => [...numbers(60), ...more].toSorted();

  it('two heads of one version, made in two halves of a ring, are merged by whoever opens the log next', async () => {
    await forked(['left'], ['right']);
    await soon(async () => {
      const merged = await ring.open(0, { disk: ring.freshDisk() });
      expect((await all(merged)).toSorted()).toEqual(expected('left', 'right'));
    });
    expect((await all(await ring.open(1, { disk: ring.freshDisk() }))).toSorted()).toEqual(expected('left', 'right'));
  });

  it('of two halves that both went on no record is lost', async () => {
    const { one, two } = await forked(['left', 'same'], ['right 1', 'same', 'right 2']);
    await soon(() => expect(ring.ring.node(0).overlay.isUp(ring.ring.node(1).peerId)).toBe(true));
    // In a ring of two a write does not wait for the other node: the conflict is met by one of the next appends.
    const everything = [...numbers(60), 'left', 'same', 'right 1', 'right 2'];
    await soon(async () => {
      await one.append(records('after'));
      expect(await all(one)).toEqual(expect.arrayContaining(everything));
    });
    everything.push(...(await all(one)).filter((record) => record === 'after'));
    await two.append(records('end'));
    expect((await all(two)).toSorted()).toEqual([...everything, 'end'].toSorted());
    await soon(async () =>
      expect((await all(await ring.open(0, { disk: ring.freshDisk() }))).toSorted()).toEqual(
        [...everything, 'end'].toSorted(),
      ),
    );
  });
});
