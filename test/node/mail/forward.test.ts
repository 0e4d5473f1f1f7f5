import { describe, expect, it } from 'vitest';
import { ForwardBook, targetProblem } from '../../../node/mail/forward/instruction.ts';
import type { Address } from '../../../policy/address.ts';
import { ListRing } from './list-ring.ts';
import { makeUser } from './mailbox-fixture.ts';
import { MemoryPost } from './memory-post.ts';
import { octets } from './messages.ts';

const text = (from: string, ...more: string[]): Buffer =>
  Buffer.from(octets(`From: <${from}>`, ...more, 'To: alice@example.org', 'Subject: hello', '', 'text', ''));
const address = (name: string): Address => `${name}@example.org` as Address;

describe('a forwarding', () => {
  it('brings a message on with a field that says where it was, and the sender it had', async () => {
    const ring = new ListRing();
    const [alice, bob, carol] = [ring.user('alice'), ring.user('bob'), ring.user('carol')];
    ring.forwards.set(alice.address, { to: ['bob@example.org'], keep: false });
    await ring.submit(carol, ['alice@example.org'], text('carol@example.org'));
    await ring.settle();
    expect(ring.texts(alice)).toEqual([]);
    expect(ring.texts(bob)).toEqual([`Delivered-To: alice@example.org\r\n${text('carol@example.org').toString()}`]);
    expect([...ring.inboxes.get(bob.address)!.values()][0]?.from).toBe('carol@example.org');
  });

  it('of as many one after the other as there may be stays with the last, and is lost by nobody', async () => {
    const ring = new ListRing();
    const users = Array.from({ length: 14 }, (_, n) => ring.user(`user${n}`));
    for (const [n, user] of users.entries())
      if (n + 1 < users.length) ring.forwards.set(user.address, { to: [address(`user${n + 1}`)], keep: false });
    await ring.submit(users[0]!, ['user0@example.org'], text('user0@example.org'));
    await ring.settle();
    expect(users.map((user) => ring.texts(user).length)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
  });

  it('to nobody stays', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.forwards.set(alice.address, { to: ['gone@example.org'], keep: false });
    await ring.submit(bob, ['alice@example.org'], text('bob@example.org'));
    await ring.settle();
    expect(ring.texts(alice)).toHaveLength(1);
  });

  it('to a list he belongs to brings it to the others, and to nobody twice', async () => {
    const ring = new ListRing();
    const [alice, bob, carol] = [ring.user('alice'), ring.user('bob'), ring.user('carol')];
    ring.list('staff', { members: ['alice@example.org', 'bob@example.org', 'carol@example.org'] });
    ring.forwards.set(alice.address, { to: ['staff@example.org', 'bob@example.org'], keep: true });
    await ring.submit(carol, ['alice@example.org'], text('carol@example.org'));
    await ring.settle(100);
    expect([alice, bob, carol].map((user) => ring.texts(user).length)).toEqual([1, 1, 1]);
  });
});

describe('the instruction', () => {
  it('is there when the log is opened again, the newest of them; and none is where there never was one', async () => {
    const post = new MemoryPost();
    const alice = makeUser('alice');
    const book = await ForwardBook.open(post, alice);
    expect(book.current).toEqual({ to: [], keep: true });
    await book.set({ to: ['a@away.test'], keep: true });
    await book.set({ to: ['B@away.test'], keep: false });
    await book.close();
    const again = await ForwardBook.open(post, alice);
    expect(again.current).toEqual({ to: ['B@away.test'], keep: false });
  });

  it('that could not be written is not in force', async () => {
    const post = new MemoryPost();
    const book = await ForwardBook.open(post, makeUser('alice'));
    post.down = true;
    await expect(book.set({ to: ['a@away.test'], keep: true })).rejects.toThrow('no quorum');
    expect(book.current.to).toEqual([]);
  });

  it('leads to addresses, and not to whom it is of', () => {
    expect(targetProblem('a@away.test', address('alice'))).toBeUndefined();
    expect(targetProblem('nonsense', address('alice'))).toMatch(/no @/);
    expect(targetProblem('Alice@example.org', address('alice'))).toMatch(/to be forwarded/);
  });
});
