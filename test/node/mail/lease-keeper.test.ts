import { describe, expect, it } from 'vitest';
import { LeaseKeeper } from '../../../node/mail/lease-keeper.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import type { MessageRef } from '../../../node/mail/message-ref.ts';
import type { Address } from '../../../policy/address.ts';
import { BlockShelf } from './block-shelf.ts';
import { silent } from './mailbox-fixture.ts';
import { noise, octets, withAttachment } from './messages.ts';

const day = 86_400_000;
const sender = { identity: 'sender@example.org' as Address, until: 28 * day };
const owner = 'alice@example.org' as Address;

async function* each(refs: readonly MessageRef[]): AsyncIterable<MessageRef> {
  yield* refs;
}

async function kept(messages: readonly Uint8Array[]): Promise<{
  shelf: BlockShelf;
  keeper: LeaseKeeper;
  at: { now: number };
}> {
  const shelf = new BlockShelf();
  const refs: MessageRef[] = [];
  for (const bytes of messages) refs.push(await storeMessage(shelf, bytes, { salt: Buffer.alloc(32), lease: sender }));
  const times = new Map<string, number>();
  const at = { now: 10 * day };
  const cache = {
    leasedAt: (key: string) => times.get(key) ?? 0,
    leased: async (key: string, time: number) => {
      times.set(key, time);
    },
  };
  const keeper = new LeaseKeeper({
    store: shelf,
    cache,
    address: owner,
    refs: () => each(refs),
    now: () => at.now,
    log: silent,
  });
  return { shelf, keeper, at };
}

describe('leases of a mailbox', () => {
  // One block, several parts, and a tree of blocks with its manifest.
  const messages = [octets('Subject: x', '', 'y'), withAttachment(noise(70_000)), withAttachment(noise(400_000, 2))];

  it('cover every block of every message, in the name of whoever accepted it', async () => {
    const { shelf, keeper } = await kept(messages);
    const before = [...shelf.blocks.keys()].sort();
    expect(await keeper.pass()).toEqual({ renewed: 3, failed: 0 });
    expect([...shelf.blocks.keys()].sort()).toEqual(before);
    expect(new Set([...shelf.leases.values()].map(({ identity, until }) => `${identity} ${until / day}`))).toEqual(
      new Set([`${owner} 38`]),
    );
  });

  it('are renewed again after a week and not before', async () => {
    const { keeper, at } = await kept(messages);
    await keeper.pass();
    at.now += 6 * day;
    expect(await keeper.pass()).toEqual({ renewed: 0, failed: 0 });
    at.now += 2 * day;
    expect(await keeper.pass()).toEqual({ renewed: 3, failed: 0 });
  });

  it('of a message that cannot be read now do not hold up the others, and are tried again', async () => {
    const { shelf, keeper } = await kept(messages);
    const [first = '', bytes = new Uint8Array()] = [...shelf.blocks.entries()][0] ?? [];
    shelf.blocks.delete(first);
    expect(await keeper.pass()).toEqual({ renewed: 2, failed: 1 });
    shelf.blocks.set(first, bytes);
    expect(await keeper.pass()).toEqual({ renewed: 1, failed: 0 });
  });

  it('are renewed by a task that ends when told to', async () => {
    const { keeper } = await kept([]);
    keeper.start();
    await keeper.stop();
    expect(await keeper.pass()).toEqual({ renewed: 0, failed: 0 });
  });
});
