import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Writer } from '../../../../node/access/imap/wire/writer.ts';
import { SeededRandom } from '../../../simulation/seeded-random.ts';

/** A socket that looks at what it was given only when it is done with it, some turns later. */
function lateSocket(random: SeededRandom): { readonly socket: Socket; readonly sent: () => Buffer } {
  const taken: Buffer[] = [];
  const stream = new Writable({
    highWaterMark: 16_384,
    write(chunk: Buffer, _encoding, done) {
      const later = (turns: number): void => {
        if (turns > 0) {
          setImmediate(() => later(turns - 1));
          return;
        }
        taken.push(Buffer.from(chunk));
        done();
      };
      later(random.below(4));
    },
  });
  return { socket: stream as unknown as Socket, sent: () => Buffer.concat(taken) };
}

async function written(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const { socket, sent } = lateSocket(random);
  const writer = new Writer(socket, 60_000);
  const expected: Buffer[] = [];
  for (let parts = 0; parts < 60; parts += 1) {
    const size = [random.below(10), random.below(5_000), 65_536, random.below(200_000)][random.below(4)]!;
    const bytes = Buffer.alloc(size, `${seed} ${parts} `);
    expected.push(bytes);
    if (writer.put(random.below(2) === 0 ? bytes : bytes.toString('latin1')) || random.below(10) === 0)
      await writer.flush();
  }
  await writer.flush();
  await new Promise<void>((resolve) => socket.end(() => resolve()));
  expect(Buffer.compare(sent(), Buffer.concat(expected))).toBe(0);
}

describe('the writer', () => {
  it('sends texts and octets of all sizes as they are, though many connections fill the same portions again', async () => {
    await Promise.all(Array.from({ length: 20 }, async (_, seed) => await written(seed)));
  });
});
