import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IncomingMessage, MemoryBudget, type Received } from '../../../gateway/inbound/message-reader.ts';

const read = async (
  parts: readonly Buffer[],
  maxBytes = 1_000_000,
  budget = new MemoryBudget(1_000_000),
): Promise<Received> => {
  const incoming = new IncomingMessage(maxBytes, budget);
  for (const part of parts) incoming.add(part);
  return await incoming.end();
};

describe('reading a message', () => {
  it('gives the octets that came, however they were cut', async () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 90_000, size: 'max' }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(pieces, async (parts) => {
        const received = await read(parts.map((part) => Buffer.from(part)));
        expect(received.kind === 'complete' && Buffer.from(received.bytes).equals(Buffer.concat(parts))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('keeps nothing of the pieces themselves, of which a sender could make millions', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const kept: WeakRef<Buffer>[] = [];
    const incoming = new IncomingMessage(10_000, new MemoryBudget(10_000));
    for (let i = 0; i < 200; i += 1) {
      const piece = Buffer.alloc(4, '..\r\n');
      kept.push(new WeakRef(piece));
      incoming.add(piece);
    }
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    const held = kept.filter((one) => one.deref() !== undefined).length;
    expect(await incoming.end()).toMatchObject({ kind: 'complete' });
    expect(held).toBeLessThan(100);
  });

  it('what is too large is read to its end, not kept, and costs no memory of others', async () => {
    const budget = new MemoryBudget(100);
    expect(await read([Buffer.alloc(30), Buffer.alloc(30), Buffer.alloc(30)], 50, budget)).toEqual({
      kind: 'too-large',
    });
    expect(budget.used).toBe(0);
  });

  it('what finds no memory says so, and gives back what it took', async () => {
    const budget = new MemoryBudget(50);
    expect(await read([Buffer.alloc(30), Buffer.alloc(30)], 1_000, budget)).toEqual({ kind: 'no-memory' });
    expect(budget.used).toBe(0);
  });

  it('what is given up gives back what it took, and takes nothing more', async () => {
    const budget = new MemoryBudget(100);
    const incoming = new IncomingMessage(100, budget);
    incoming.add(Buffer.alloc(30));
    expect([budget.used, incoming.abort()]).toEqual([30, { kind: 'aborted' }]);
    incoming.add(Buffer.alloc(30));
    expect(budget.used).toBe(0);
  });

  it('the last line of chunks is ended where the sender did not', async () => {
    const ended = async (text: string): Promise<string> => {
      const incoming = new IncomingMessage(100, new MemoryBudget(100));
      incoming.add(Buffer.from(text));
      incoming.endLine();
      const received = await incoming.end();
      return received.kind === 'complete' ? Buffer.from(received.bytes).toString() : received.kind;
    };
    expect([await ended('a\r\nb'), await ended('a\r\n'), await ended('')]).toEqual(['a\r\nb\r\n', 'a\r\n', '']);
  });

  it('one network has its share of the memory, however much of it is free, and leaves the rest to others', async () => {
    const budget = new MemoryBudget(100);
    const [first, again, other] = [budget.shareOf('a', 60), budget.shareOf('a', 60), budget.shareOf('b', 60)];
    expect([first.take(40), again.take(30), again.take(20), other.take(40), other.take(1)]).toEqual([
      true,
      false,
      true,
      true,
      false,
    ]);
    first.give(40);
    expect([budget.used, again.take(40), other.take(1)]).toEqual([60, true, false]);
    for (const [share, bytes] of [
      [again, 60],
      [other, 40],
    ] as const)
      share.give(bytes);
    expect(budget.used).toBe(0);
  });
});
