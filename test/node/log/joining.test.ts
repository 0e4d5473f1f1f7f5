import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { type Log, openLog } from '../../../node/log/log.ts';
import { checkHead } from '../../../node/store/head.ts';
import { address, silentLog } from '../overlay/fake-overlay.ts';
import { all, records } from './log-ring.ts';
import { MemoryRing, MemoryShelf } from './memory-ring.ts';

const keys = generateIdentityKeys();
let ring: MemoryRing;
let clock: number;
beforeEach(() => {
  ring = new MemoryRing(4);
  clock = 1_000;
});
const opened: Log[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
});

async function open(node: number, create = false): Promise<Log> {
  const log = await openLog({
    store: ring.store(node),
    disk: new MemoryShelf(),
    signing: keys.signing,
    secret: keys.export().subarray(0, 32),
    name: 'INBOX',
    owner: address('alice@example.org'),
    create,
    takes: () => 1,
    now: () => clock++,
    log: silentLog,
  });
  opened.push(log);
  return log;
}

async function heads(node: number, key: Uint8Array): Promise<string[]> {
  const found = await ring.store(node).getHeads(key);
  return found.heads.map((bytes) => Buffer.from(checkHead(bytes)?.hash ?? '').toString('hex'));
}

/** Two nodes that wrote apart from each other. */
async function parted(left: string[], right: string[]): Promise<[Log, Log]> {
  const one = await open(0, true);
  await one.append(records('common'));
  const two = await open(1);
  ring.divide([0, 1]);
  for (const text of left) await one.append(records(text));
  for (const text of right) await two.append(records(text));
  return [one, two];
}

describe('two heads of one log', () => {
  it('become the same third one at two nodes that meet them at once, at whatever time', async () => {
    const [one, two] = await parted(['a'], ['b']);
    ring.heal();
    await Promise.all([one.refresh(), two.refresh()]);
    expect(one.place).toEqual(two.place);
    expect(one.version).toBe(two.version);
    expect(await all(one)).toEqual(await all(two));
    // One head of the newest version, not two.
    const [key = new Uint8Array()] = ring.keys();
    expect((await heads(0, key)).length).toBe(1);
    expect(await heads(0, key)).toEqual(await heads(3, key));
  });

  it('the higher version keeps its numbers; what the other had follows above all numbers that either gave', async () => {
    const [one, two] = await parted(['a'], ['b', 'c', 'd']);
    ring.heal();
    await one.refresh();
    expect(await all(one)).toEqual(['common', 'b', 'c', 'd', 'a']);
    await two.refresh();
    expect(two.place).toEqual(one.place);
    const places: [string, number][] = [];
    for await (const item of one.read(0))
      places.push([item.kind === 'record' ? Buffer.from(item.record).toString() : item.kind, item.after.numbers]);
    // The two numbers that the shorter history may have shown (2, for `a`) are set aside again for the three of the longer one.
    expect(places).toEqual([
      ['common', 1],
      ['b', 2],
      ['c', 3],
      ['d', 4],
      ['join', 7],
      ['a', 8],
    ]);
  });

  it('a node that only went on is followed without a new head', async () => {
    const one = await open(0, true);
    const two = await open(1);
    await one.append(records('a', 'b'));
    const { version } = one;
    expect(await two.refresh()).toBe(true);
    expect([two.version, await all(two)]).toEqual([version, ['a', 'b']]);
    expect(await two.refresh()).toBe(false);
  });

  it('a place is held by every history that begins so, and by no other of the same length', async () => {
    const [one, two] = await parted(['a'], ['b', 'c']);
    const [before, other] = [one.place, two.place];
    expect(await one.holds(before)).toBe(true);
    expect(await one.holds({ ...before, chain: other.chain })).toBe(false);
    ring.heal();
    await one.refresh();
    expect(await one.holds(before)).toBe(false);
    expect(await one.holds(other)).toBe(true);
    await expect(one.append(records('x'), before)).rejects.toMatchObject({ code: 'overtaken' });
    await expect(one.saveSnapshot(before, Buffer.from('of a history that is over'))).rejects.toMatchObject({
      code: 'overtaken',
    });
  });

  it('the snapshot of the history that goes on stays, that of the other is dropped', async () => {
    const [one, two] = await parted(['a'], ['b', 'c', 'd']);
    await one.saveSnapshot(one.place, Buffer.from('of the shorter'));
    await two.saveSnapshot(two.place, Buffer.from('of the longer'));
    ring.heal();
    await one.refresh();
    await two.refresh();
    for (const log of [one, two]) {
      const snapshot = await log.snapshot();
      expect(Buffer.from(snapshot?.state ?? '').toString()).toBe('of the longer');
      expect(await log.holds(snapshot?.at ?? log.place)).toBe(true);
    }
  });

  it('two appends at once from two nodes are both in the log of both', async () => {
    const one = await open(0, true);
    const two = await open(1);
    await Promise.all([one.append(records('a')), two.append(records('b'))]);
    await one.refresh();
    await two.refresh();
    expect((await all(one)).toSorted()).toEqual(['a', 'b']);
    expect(two.place).toEqual(one.place);
  });
});
