import { randomBytes } from 'node:crypto';
import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../node/store/block-cipher.ts';
import {
  type BlockSink,
  type BlockSource,
  type ContentRef,
  chunkBytes,
  decodeRef,
  encodeRef,
  getContent,
  maxBlockBytes,
  putContent,
  readContent,
  type Secrecy,
} from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { parseAddress } from '../../../policy/address.ts';

const parsed = parseAddress('alice@example.org');
if (parsed.kind !== 'address') throw new Error('the address of the tests is one');
const lease = { identity: parsed.address, until: 1 };
const convergent: Secrecy = { kind: 'convergent' };
const salted = (byte: number): Secrecy => ({ kind: 'salted', salt: new Uint8Array(32).fill(byte) });

class Shelf implements BlockSink, BlockSource {
  readonly blocks = new Map<string, Uint8Array>();
  inserts = 0;
  underWay = 0;
  most = 0;

  async insert(blocks: Parameters<BlockSink['insert']>[0]): Promise<{ copies: number; wanted: number }> {
    this.most = Math.max(this.most, ++this.underWay);
    await new Promise((resolve) => setImmediate(resolve));
    for (const { key, bytes } of blocks) this.blocks.set(Buffer.from(key).toString('hex'), bytes);
    this.inserts++;
    this.underWay--;
    return { copies: 1, wanted: 1 };
  }

  fetch(key: Uint8Array): Promise<Uint8Array> {
    const bytes = this.blocks.get(Buffer.from(key).toString('hex'));
    return bytes === undefined ? Promise.reject(new StoreFault('missing', 'no such block')) : Promise.resolve(bytes);
  }
}

const refOf = (part: Partial<ContentRef>): ContentRef => ({
  key: new Uint8Array(32),
  secret: new Uint8Array(32),
  size: 0,
  kind: 'block',
  ...part,
});

describe('content comes back as it went in', () => {
  const sizes: readonly [string, number][] = [
    ['nothing at all is one block', 0],
    ['one byte', 1],
    ['one full chunk is one block', chunkBytes],
    ['one byte more is a tree', chunkBytes + 1],
    ['many inserts', chunkBytes * 40 + 17],
    ['more chunks than one manifest holds', chunkBytes * 702],
  ];
  it.each(sizes)('%s', async (_why, size) => {
    const shelf = new Shelf();
    const bytes = randomBytes(size);
    const ref = await putContent(shelf, bytes, salted(1), lease);
    expect(ref.size).toBe(size);
    expect(Buffer.compare(await getContent(shelf, ref), bytes)).toBe(0);
    expect(shelf.most).toBeLessThanOrEqual(2);
    for (const [key, block] of shelf.blocks) {
      expect(block.length).toBeLessThanOrEqual(maxBlockBytes);
      expect(Buffer.from(sha256(block)).toString('hex')).toBe(key);
    }
  });

  it('reads block by block, so that a reader may leave early', async () => {
    const shelf = new Shelf();
    const bytes = randomBytes(chunkBytes * 20);
    const ref = await putContent(shelf, bytes, convergent, lease);
    for await (const chunk of readContent(shelf, ref)) {
      expect(Buffer.compare(chunk, bytes.subarray(0, chunk.length))).toBe(0);
      break;
    }
  });
});

describe('secrecy', () => {
  const bytes = Buffer.from('a body that somebody could guess');
  it('convergent content is the same block for everyone', async () => {
    const shelf = new Shelf();
    const [one, two] = [
      await putContent(shelf, bytes, convergent, lease),
      await putContent(shelf, bytes, convergent, lease),
    ];
    expect(two).toEqual(one);
    expect(shelf.blocks.size).toBe(1);
  });

  it('a retry under the same salt stores nothing twice; another salt gives another block', async () => {
    const shelf = new Shelf();
    const [one, again, other] = [
      await putContent(shelf, bytes, salted(1), lease),
      await putContent(shelf, bytes, salted(1), lease),
      await putContent(shelf, bytes, salted(2), lease),
    ];
    expect(again).toEqual(one);
    expect(other.key).not.toEqual(one.key);
    expect(shelf.blocks.size).toBe(2);
  });

  it('the key of a convergent block is not the bare hash of the content, which other places may write down', async () => {
    const ref = await putContent(new Shelf(), bytes, convergent, lease);
    expect(Buffer.from(ref.secret).equals(sha256(bytes))).toBe(false);
  });

  it('nothing of the plaintext shows in the blocks', async () => {
    const shelf = new Shelf();
    await putContent(shelf, bytes, convergent, lease);
    for (const block of shelf.blocks.values()) expect(Buffer.from(block).includes('body')).toBe(false);
  });
});

describe('a reference that lies is an invalid one, not a crash', () => {
  it.each<[string, (ref: ContentRef) => ContentRef]>([
    ['another secret does not open the block', (ref) => ({ ...ref, secret: new Uint8Array(32) })],
    ['another size is noticed', (ref) => ({ ...ref, size: ref.size + 1 })],
    ['a block is not a tree', (ref) => ({ ...ref, kind: ref.kind === 'tree' ? 'block' : 'tree' })],
  ])('%s', async (_why, bend) => {
    const shelf = new Shelf();
    for (const size of [100, chunkBytes * 3]) {
      const ref = await putContent(shelf, randomBytes(size), salted(3), lease);
      await expect(getContent(shelf, bend(ref))).rejects.toMatchObject({ code: 'invalid' });
    }
  });

  it('a sink that fails fails the whole, and nothing is left running', async () => {
    const shelf = new Shelf();
    let calls = 0;
    const sink: BlockSink = {
      insert: (blocks) =>
        ++calls === 2 ? Promise.reject(new StoreFault('quorum', 'one copy of two')) : shelf.insert(blocks),
    };
    await expect(putContent(sink, randomBytes(chunkBytes * 60), convergent, lease)).rejects.toMatchObject({
      code: 'quorum',
    });
    expect(shelf.underWay).toBe(0);
  });

  it('what no encoder made is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        expect(() => decodeRef(bytes)).toThrow(StoreFault);
      }),
    );
    expect(() => decodeRef(encodeRef(refOf({ size: 2 ** 40 })))).toThrow(StoreFault);
    expect(() => decodeRef(encodeRef(refOf({ key: new Uint8Array(31) })))).toThrow(StoreFault);
    expect(decodeRef(encodeRef(refOf({ size: 77, kind: 'tree' })))).toEqual(refOf({ size: 77, kind: 'tree' }));
  });

  /** Puts one block under a manifest of many references to it, level by level, as a stranger may who wants to keep a reader busy. */
  const bomb = async (shelf: Shelf, leaf: Uint8Array, fan: number, levels: number): Promise<ContentRef> => {
    const hidden: Secrecy = salted(9);
    let ref = await putContent(shelf, leaf, hidden, lease);
    for (let level = 0; level < levels; level++) {
      const row = [ref.key, ref.secret, ref.size, ref.kind === 'tree' ? 1 : 0];
      const manifest = encode(Array.from({ length: fan }, () => row));
      ref = { ...(await putContent(shelf, manifest, hidden, lease)), size: ref.size * fan, kind: 'tree' };
    }
    return ref;
  };
  const bombs: readonly [string, number, number, number][] = [
    ['300 million references to nothing are not followed', 0, 600, 3],
    ['a byte for every reference: a small message is not ten million fetches', 1, 220, 3],
  ];
  it.each(bombs)('%s', async (_why, leafBytes, fan, levels) => {
    const shelf = new Shelf();
    const ref = await bomb(shelf, randomBytes(leafBytes), fan, levels);
    let fetches = 0;
    const counting: BlockSource = {
      fetch: (key) => (fetches++ < 10_000 ? shelf.fetch(key) : Promise.reject(new Error('no end in sight'))),
    };
    await expect(getContent(counting, ref)).rejects.toMatchObject({ code: 'invalid' });
    expect(fetches).toBeLessThan(100);
  });
});

describe('what is convergent cannot be guessed piece by piece', () => {
  it.each([1, 4, 1_000, 16 * 1024])(
    'content that is %i bytes longer than whole chunks has no small last block',
    async (more) => {
      const shelf = new Shelf();
      const bytes = randomBytes(2 * chunkBytes + more);
      const ref = await putContent(shelf, bytes, convergent, lease);
      const sizes: number[] = [];
      for await (const chunk of readContent(shelf, ref)) sizes.push(chunk.length);
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(16 * 1024);
      expect(Buffer.compare(await getContent(shelf, ref), bytes)).toBe(0);
    },
  );
});
