import { afterEach, describe, expect, it, vi } from 'vitest';
import { itemsAfter, start } from '../../../../node/log/place.ts';
import type { Mark } from '../../../../node/notify/group/group-table.ts';
import { Lane } from '../../../../node/notify/group/lane.ts';
import type { SayingOpened } from '../../../../node/notify/group/saying.ts';
import { Network, quiet } from '../network.ts';

const patiently = { timeout: 20_000, interval: 5 };
const network = new Network();
const bob = network.person('bob').certificate;
const carol = network.person('carol').certificate;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const lanes: Lane[] = [];
afterEach(async () => {
  for (const lane of lanes.splice(0)) await lane.stop();
});

/** A lane over a log in memory, whose records are their own text: `carol…` was said by carol, `bad…` is nothing, `unknown…` is of an epoch to come. */
function lane(log: string[], options: { mark?: Mark; fail?: (body: string) => boolean } = {}) {
  const taken: string[] = [];
  const marks: Mark[] = [];
  const state = { log, taken, marks, reads: 0, knows: false, away: false };
  const made = new Lane({
    writer: bob.signingKey,
    address: bob.address,
    mark: options.mark ?? { next: 0, last: new Uint8Array() },
    open: (bytes): SayingOpened => {
      const body = text(bytes);
      if (body.startsWith('bad')) return { kind: 'never', honest: false, reason: 'bad' };
      if (body.startsWith('unknown') && !state.knows) return { kind: 'later', reason: 'no key' };
      const from = body.startsWith('carol') ? carol : bob;
      return { kind: 'opened', from, epoch: 1, seq: 0, id: bytes, at: 0, body: bytes };
    },
    follow: async () => {
      state.reads++;
      if (state.away) throw new Error('the ring is away');
      const now = [...state.log];
      return {
        length: now.length,
        read: async function* (from: number) {
          for (const item of itemsAfter(
            start,
            now.map((one) => Buffer.from(one)),
            () => 0,
          ))
            if (item.seq >= from) yield item;
        },
      };
    },
    take: async ({ body }) => {
      await Promise.resolve();
      if (options.fail?.(text(body)) === true) throw new Error('not now');
      taken.push(text(body));
    },
    keepMark: async (mark) => {
      marks.push(mark);
    },
    log: quiet,
  });
  lanes.push(made);
  return { made, state };
}

const settled = (expected: string[], taken: string[]) => vi.waitFor(() => expect(taken).toEqual(expected), patiently);

describe('one speaker’s sayings', () => {
  it('are taken as they come, without a look at his log', async () => {
    const { made, state } = lane(['a', 'b']);
    made.offer(0, Buffer.from('a'));
    made.offer(1, Buffer.from('b'));
    await settled(['a', 'b'], state.taken);
    expect(state.reads).toBe(0);
    await vi.waitFor(() => expect(state.marks.at(-1)?.next).toBe(2), patiently);
  });

  it('are taken in order, each once, though frames are lost, doubled and mixed up', async () => {
    const all = Array.from({ length: 200 }, (_, at) => `r${at}`);
    const { made, state } = lane(all);
    for (const seq of [5, 3, 3, 150, 2, 7, 199, 150]) made.offer(seq, Buffer.from(`r${seq}`));
    await settled(all, state.taken);
    made.offer(5, Buffer.from('r5'));
    await made.catchUp();
    expect(state.taken).toEqual(all);
  });

  it('that arrive while the last one is being finished are not left lying', async () => {
    const { made, state } = lane([]);
    for (let seq = 0; seq < 300; seq++) {
      made.offer(seq, Buffer.from(`r${seq}`));
      if (seq % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(() => expect(state.taken).toHaveLength(300), patiently);
  });

  it('go on where the mark is after a restart', async () => {
    const before = lane(['a', 'b']);
    await before.made.catchUp();
    await before.made.stop();
    const { made, state } = lane(['a', 'b', 'c'], { mark: before.state.marks.at(-1)! });
    await made.catchUp();
    expect(state.taken).toEqual(['c']);
  });

  it('are looked at again where his log was merged and its numbers moved', async () => {
    const before = lane(['a', 'b']);
    await before.made.catchUp();
    await before.made.stop();
    const { made, state } = lane(['a', 'x', 'b'], { mark: before.state.marks.at(-1)! });
    await made.catchUp();
    expect(state.taken).toEqual(['a', 'x', 'b']);
  });

  it('are not lost to an old head: what it lacks comes with the next look', async () => {
    const { made, state } = lane(['a']);
    await made.catchUp();
    state.log = [];
    await made.catchUp();
    state.log = ['a', 'b'];
    await made.catchUp();
    expect(state.taken).toEqual(['a', 'b']);
  });

  it('are passed over where they are nothing, or another one’s words', async () => {
    const { made, state } = lane(['a', 'bad', 'carol said', 'b']);
    await made.catchUp();
    expect(state.taken).toEqual(['a', 'b']);
  });

  it('wait for the key of an epoch to come, and what is behind them too', async () => {
    const { made, state } = lane(['a', 'unknown', 'b']);
    await made.catchUp();
    expect(state.taken).toEqual(['a']);
    state.knows = true;
    await made.catchUp();
    expect(state.taken).toEqual(['a', 'unknown', 'b']);
  });

  it('are offered again, in order, to a handler that could not take one, and after the ring was away', async () => {
    let failures = 2;
    const { made, state } = lane(['a', 'b', 'c'], { fail: (body) => body === 'b' && failures-- > 0 });
    state.away = true;
    await made.catchUp();
    state.away = false;
    await settled(['a', 'b', 'c'], state.taken);
  });
});
