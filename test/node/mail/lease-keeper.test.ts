import { describe, expect, it } from 'vitest';
import { LeaseKeeper, type LeaseKeeperOptions } from '../../../node/mail/lease-keeper.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import type { MessageRef } from '../../../node/mail/message-ref.ts';
import { checkRound } from '../../../node/store/round.ts';
import type { Address } from '../../../policy/address.ts';
import { BlockShelf } from './block-shelf.ts';
import { makeUser, silent, trust } from './mailbox-fixture.ts';
import { noise, octets, withAttachment } from './messages.ts';

const day = 86_400_000;
const start = Date.now();
const sender = { identity: 'sender@example.org' as Address, until: start + 18 * day };
const user = makeUser('alice');

async function* each<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items;
}

async function kept(
  messages: readonly Uint8Array[],
  logs: LeaseKeeperOptions['logs'] = () => each([]),
): Promise<{ shelf: BlockShelf; keeper: LeaseKeeper; refs: MessageRef[]; at: { now: number } }> {
  const shelf = new BlockShelf();
  const refs: MessageRef[] = [];
  for (const bytes of messages) refs.push(await storeMessage(shelf, bytes, { salt: Buffer.alloc(32), lease: sender }));
  const times = new Map<string, number>();
  const at = { now: start };
  const cache = {
    leasedAt: (key: string) => times.get(key) ?? 0,
    leased: async (key: string, time: number) => {
      times.set(key, time);
    },
  };
  const keeper = new LeaseKeeper({
    store: shelf,
    cache,
    user,
    refs: () => each(refs),
    logs,
    now: () => at.now,
    log: silent,
  });
  return { shelf, keeper, refs, at };
}

describe('leases of a mailbox', () => {
  // One block, several parts, and a tree of blocks with its manifest.
  const messages = [octets('Subject: x', '', 'y'), withAttachment(noise(70_000)), withAttachment(noise(400_000, 2))];

  it('cover every block of every message, in the name of whoever accepted it, and move none', async () => {
    const { shelf, keeper } = await kept(messages);
    const before = shelf.inserted;
    expect(await keeper.pass()).toMatchObject({ renewed: 3, blocks: shelf.blocks.size, failed: 0, stated: true });
    expect(shelf.inserted).toBe(before);
    expect(new Set([...shelf.leases.values()].map(({ identity, until }) => `${identity} ${until - start}`))).toEqual(
      new Set([`${user.address} ${28 * day}`]),
    );
  });

  it('are renewed again after a week and not before', async () => {
    const { keeper, at } = await kept(messages);
    await keeper.pass();
    at.now += 6 * day;
    expect(await keeper.pass()).toMatchObject({ renewed: 0, failed: 0 });
    at.now += 2 * day;
    expect(await keeper.pass()).toMatchObject({ renewed: 3, failed: 0 });
  });

  it('last renewed in the future, before a clock was set back, are renewed now', async () => {
    const { keeper, at } = await kept(messages);
    at.now += 400 * day;
    await keeper.pass();
    at.now -= 400 * day;
    expect(await keeper.pass()).toMatchObject({ renewed: 3 });
  });

  it('of a message that was just accepted are there before the next pass', async () => {
    const { shelf, keeper, refs } = await kept(messages);
    for (const ref of refs) await keeper.accept(ref);
    expect(new Set([...shelf.leases.values()].map(({ identity }) => identity))).toEqual(new Set([user.address]));
    expect(await keeper.pass()).toMatchObject({ renewed: 0 });
  });

  it('that could not be renewed are tried again, and nothing is stated before they are', async () => {
    const { shelf, keeper } = await kept(messages);
    const last = [...shelf.blocks.keys()].at(-1) ?? '';
    shelf.silent.add(last);
    expect(await keeper.pass()).toMatchObject({ renewed: 2, failed: 1, stated: false });
    expect(shelf.rounds).toEqual([]);
    shelf.silent.clear();
    expect(await keeper.pass()).toMatchObject({ renewed: 1, failed: 0, stated: true });
  });

  it('of a message that is lost for good do not keep the rest from being let go of', async () => {
    const { shelf, keeper } = await kept(messages);
    shelf.blocks.delete([...shelf.blocks.keys()][0] ?? '');
    expect(await keeper.pass()).toMatchObject({ renewed: 2, lost: 1, failed: 0, stated: true });
  });

  it('are stated with the end of the oldest that was left as it was, under the key of the identity', async () => {
    const { shelf, keeper, at } = await kept(messages);
    await keeper.pass();
    at.now += day;
    await keeper.pass();
    const [, second] = shelf.rounds;
    expect(second && checkRound(second, { ...trust(), now: at.now })).toMatchObject({
      address: user.address,
      begun: at.now,
      completed: at.now,
      until: at.now + 21 * day,
    });
  });

  it('include the blocks of its logs; one that another node has written since makes the round incomplete', async () => {
    const block = noise(100);
    let version = 7;
    const { shelf, keeper } = await kept([], () =>
      each([
        {
          name: 'folder/1',
          version: () => 7,
          references: async () => ({
            version,
            blocks: each([...shelf.blocks.keys()].map((key) => Buffer.from(key, 'hex'))),
          }),
        },
      ]),
    );
    await storeMessage(shelf, block, { salt: Buffer.alloc(32), lease: sender });
    expect(await keeper.pass()).toMatchObject({ blocks: 1, stated: true });
    expect([...shelf.leases.values()]).toEqual([{ identity: user.address, until: start + 28 * day }]);
    version = 8;
    expect(await keeper.pass()).toMatchObject({ blocks: 1, stated: false });
  });

  it('are renewed by a task that ends when told to', async () => {
    const { keeper } = await kept([]);
    keeper.start();
    await keeper.stop();
    expect(await keeper.pass()).toMatchObject({ renewed: 0, failed: 0, stated: false });
  });
});
