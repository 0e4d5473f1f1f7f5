import { beforeEach, describe, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { LogKeys } from '../../../node/log/head-seal.ts';
import { type Log, openLog } from '../../../node/log/log.ts';
import { decodeNode, type Entry } from '../../../node/log/log-state.ts';
import { getContent } from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { checkHead } from '../../../node/store/head.ts';
import { address, silentLog } from '../overlay/fake-overlay.ts';
import { records, text } from './log-ring.ts';
import { MemoryRing, MemoryShelf } from './memory-ring.ts';

const keys = generateIdentityKeys();
const secret = keys.export().subarray(0, 32);
// 40 full groups, of which 32 lie under one node of the index, and some records in the head.
const count = 40 * 50 + 7;
let ring: MemoryRing;
let groups: readonly Entry[];
let node: Entry;

async function open(create = false, store = ring.store(0)): Promise<Log> {
  const options = { signing: keys.signing, secret, name: 'INBOX', owner: address('alice@example.org'), create };
  const disk = new MemoryShelf();
  return openLog({ ...options, store, disk, takes: () => 1, now: () => 1_000, log: silentLog });
}

beforeEach(async () => {
  ring = new MemoryRing(1);
  const log = await open(true);
  await log.append(records(...Array.from({ length: count }, (_, index) => `r${index}`)));
  const [key = new Uint8Array()] = ring.keys();
  const head = checkHead((await ring.store(0).getHeads(key)).heads[0] ?? new Uint8Array());
  if (head === undefined) throw new Error('no head');
  const { levels } = new LogKeys(secret, 'INBOX').open(head);
  const [top] = levels[1] ?? [];
  if (top === undefined) throw new Error('no index node');
  node = top;
  groups = [...decodeNode(await getContent(ring.store(0), node.ref), node), ...(levels[0] ?? [])];
});

function lose(...entries: readonly (Entry | undefined)[]): void {
  for (const entry of entries) ring.blocks.delete(Buffer.from(entry?.ref.key ?? '').toString('hex'));
}

/** What is read: runs of records that follow each other with their numbers right, and what is missing between them. */
async function read(log: Log, from = 0): Promise<string[]> {
  const found: string[] = [];
  let first = from;
  let next = from;
  const end = (): void => {
    if (next > first) found.push(`${first} to ${next - 1}`);
  };
  for await (const item of log.read(from)) {
    expect(item.seq).toBe(next);
    expect(item.after.numbers).toBe(item.after.seq);
    if (item.kind === 'missing') {
      end();
      found.push(`${item.count} missing`);
      first = item.after.seq;
    } else if (item.kind === 'record') expect(text(item.record)).toBe(`r${item.seq}`);
    next = item.after.seq;
  }
  end();
  return found;
}

describe('a log of which a part is lost for good', () => {
  it('is read past a lost group, with what is missing told, and what follows under its own numbers', async () => {
    lose(groups[3], groups[39]);
    const log = await open();
    expect(await read(log)).toEqual(['0 to 149', '50 missing', '200 to 1949', '50 missing', '2000 to 2006']);
    expect(await read(log, 170)).toEqual(['30 missing', '200 to 1949', '50 missing', '2000 to 2006']);
    expect(await log.append(records(`r${count}`))).toEqual({ first: count });
  });

  it('is read whole where only the index over it is lost: each group names four before it', async () => {
    lose(node);
    const log = await open();
    expect(await read(log)).toEqual([`0 to ${count - 1}`]);
    expect(await read(log, 777)).toEqual([`777 to ${count - 1}`]);
  });

  it('is read past the index and up to seven groups in a row that are lost with it', async () => {
    lose(node, ...groups.slice(20, 27), groups[5]);
    expect(await read(await open())).toEqual([
      '0 to 249',
      '50 missing',
      '300 to 999',
      '350 missing',
      `1350 to ${count - 1}`,
    ]);
  });

  it('says where the reader can get no further, and goes on behind it', async () => {
    lose(node, ...groups.slice(10, 30));
    expect(await read(await open())).toEqual(['1500 missing', `1500 to ${count - 1}`]);
  });

  it('that cannot be had just now is not said to be lost', async () => {
    const store = ring.store(0);
    const away = groups[3]?.ref.key ?? new Uint8Array();
    const shy = async (key: Uint8Array): Promise<Uint8Array> => {
      if (Buffer.compare(key, away) === 0) throw new StoreFault('unavailable', 'too few answered');
      return store.fetch(key);
    };
    await expect(read(await open(false, { ...store, fetch: shy }))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('keeps what is damaged from being taken for something else: another group in its place is missing', async () => {
    const [third, fourth] = [groups[3], groups[4]];
    const store = ring.store(0);
    const swapped = async (key: Uint8Array): Promise<Uint8Array> => {
      const wanted = Buffer.compare(key, third?.ref.key ?? key) === 0 ? fourth?.ref.key : key;
      return store.fetch(wanted ?? key);
    };
    expect((await read(await open(false, { ...store, fetch: swapped }))).slice(0, 2)).toEqual([
      '0 to 149',
      '50 missing',
    ]);
  });
});
