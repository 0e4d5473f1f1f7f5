import { afterEach, expect, it } from 'vitest';
import { fetchMessage, storeMessage } from '../../../node/mail/message.ts';
import { maxMessageBytes } from '../../../node/mail/message-ref.ts';
import type { Block, BlockSink, Lease } from '../../../node/store/content.ts';
import type { Address } from '../../../policy/address.ts';
import { StoreRing, soon } from '../store/store-ring.ts';
import { noise, withAttachment } from './messages.ts';

let ring: StoreRing;
afterEach(() => ring.stop());

const lease = (name: string): Lease => ({ identity: `${name}@example.org` as Address, until: Date.now() + 86_400_000 });

// As ten mail programs send the same file: line lengths, line ends, and not encoded at all.
const encodings = [
  { width: 76 },
  { width: 72 },
  { width: 64 },
  { width: 60 },
  { width: 400 },
  { width: 76, eol: '\n' },
  { width: 64, eol: '\n' },
  { encoding: 'binary' },
  { encoding: '8bit' },
  { width: 76, tail: '\r\n' },
] as const;

it('an attachment that ten people send in ten encodings to a hundred recipients is kept as k copies', async () => {
  ring = await StoreRing.of(4);
  const attachment = noise(1024 * 1024);
  const keys = new Set<string>();
  const noting: BlockSink = {
    insert: (blocks, how) => {
      for (const { key } of blocks) keys.add(Buffer.from(key).toString('hex'));
      return ring.node(0).store.insert(blocks, how);
    },
  };
  let maildirs = 0;
  for (const [index, encoding] of encodings.entries()) {
    const message = withAttachment(attachment, { ...encoding, subject: `from sender ${index}` });
    const salt = Buffer.alloc(32, index + 1);
    const ref = await storeMessage(noting, message, { salt, lease: lease(`sender${index}`) });
    expect(Buffer.compare(await fetchMessage(ring.node(3).store, ref), message)).toBe(0);
    // A hundred recipients get a reference each, in a notification, and lease what is there.
    for (const recipient of ['one', 'another']) await ring.node(1).store.renew([ref.manifest.key], lease(recipient));
    maildirs += 100 * message.length;
  }
  const attachmentBlocks = Math.ceil(attachment.length / (15 * 4096 - 32));
  // The pieces, their manifest, and of each message a skeleton of its own.
  expect(keys.size).toBe(attachmentBlocks + 1 + encodings.length);
  await soon(() => {
    for (const key of keys) expect(ring.copies(Buffer.from(key, 'hex'))).toBe(3);
  });
  const kept = [...keys].map((key) => ring.nodes.filter(({ store }) => store.has(Buffer.from(key, 'hex'))).length);
  expect(Math.max(...kept)).toBe(3);
  // 1,000 maildir copies of some 1.35 MB, against three of 1 MiB and the skeletons.
  expect(maildirs / (3 * (attachment.length + encodings.length * 1_000))).toBeGreaterThan(300);
});

/** What of a message is in the store's hands at one moment. */
class Weighing implements BlockSink {
  most = 0;
  #now = 0;
  readonly #sink: BlockSink;

  constructor(sink: BlockSink) {
    this.#sink = sink;
  }

  async insert(blocks: readonly Block[], how: Lease): Promise<{ copies: number; wanted: number }> {
    const bytes = blocks.reduce((sum, block) => sum + block.bytes.length, 0);
    this.#now += bytes;
    this.most = Math.max(this.most, this.#now);
    try {
      return await this.#sink.insert(blocks, how);
    } finally {
      this.#now -= bytes;
    }
  }
}

it('the largest message passes with two inserts of 1 MiB in the hands of the store, and is read eight blocks ahead', async () => {
  ring = await StoreRing.of(1);
  const { store } = ring.node(0);
  const message = withAttachment(noise(Math.floor(maxMessageBytes * 0.72)));
  expect(message.length).toBeGreaterThan(0.97 * maxMessageBytes);
  const weighing = new Weighing(store);
  const ref = await storeMessage(weighing, message, { salt: Buffer.alloc(32), lease: lease('alice') });
  expect(weighing.most).toBeGreaterThan(16 * 60_000);
  expect(weighing.most).toBeLessThanOrEqual(2 * 16 * 65_000);
  let [under, mostUnder] = [0, 0];
  const source = {
    fetch: async (key: Uint8Array) => {
      under += 1;
      mostUnder = Math.max(mostUnder, under);
      try {
        return await store.fetch(key);
      } finally {
        under -= 1;
      }
    },
  };
  expect(Buffer.compare(await fetchMessage(source, ref), message)).toBe(0);
  expect(mostUnder).toBeLessThanOrEqual(8);
}, 60_000);
