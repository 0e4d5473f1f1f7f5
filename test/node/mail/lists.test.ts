import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeLetter, type MailLetter } from '../../../node/mail/letter.ts';
import { encodeRequest } from '../../../node/mail/list/list-request.ts';
import { type ListState, mayPost, type Poster } from '../../../node/mail/list/list-state.ts';
import type { MailUser } from '../../../node/mail/mail-post.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import { custodyOf, isUnchanged } from '../../../node/mail/onward/custody.ts';
import { compose } from '../../../node/notify/sealed.ts';
import type { Address } from '../../../policy/address.ts';
import { ListRing } from './list-ring.ts';
import { makeUser, trust } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const post = (from: string, ...more: string[]): Buffer =>
  Buffer.from(octets(`From: <${from}>`, ...more, 'To: staff@example.org', 'Subject: hello', '', 'text', ''));
const address = (text: string): Address => text as Address;

describe('a post to a list', () => {
  it('reaches each member once with the fields of the list on top, and is octet for octet the same below', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.list('staff', { members: ['alice@example.org', 'bob@example.org', 'Carol@Away.test'], owners: [bob.address] });
    const bytes = post('alice@example.org');
    expect(await ring.submit(alice, ['staff@example.org'], bytes)).toEqual(['sent']);
    await ring.settle();
    const fields = [
      'Delivered-To: staff@example.org',
      'List-Id: <staff.example.org>',
      'List-Post: <mailto:staff@example.org>',
      'List-Owner: <mailto:bob@example.org>',
      'List-Unsubscribe: <mailto:bob@example.org?subject=unsubscribe%20staff%40example.org>',
      'Precedence: list',
    ];
    const expected = [...fields, ''].join('\r\n') + bytes.toString('latin1');
    expect(ring.texts(alice)).toEqual([expected]);
    expect(ring.texts(bob)).toEqual([expected]);
    expect([...ring.inboxes.get(bob.address)!.values()][0]?.from).toBe('staff@example.org');
    expect(ring.outside).toMatchObject([
      { by: 'staff@example.org', letter: { envelope: { from: 'staff@example.org', to: ['Carol@Away.test'] } } },
    ]);
  });

  it('handed over again after a lost answer sends the same notifications, and doubles nothing', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    const staff = ring.list('staff', { members: ['bob@example.org', 'carol@away.test'] });
    await ring.submit(alice, ['staff@example.org'], post('alice@example.org'));
    const [toList] = ring.queued;
    await ring.settle();
    ring.restart(staff);
    await ring.give(toList!);
    await ring.settle();
    expect(ring.carried).toBe(5);
    expect(ring.texts(bob)).toHaveLength(1);
    expect(ring.outside).toHaveLength(2);
    expect(new Set(ring.outside.map(({ opened }) => Buffer.from(opened.id).toString('hex'))).size).toBe(1);
  });

  it('who is written to and belongs to the list has it once', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.list('staff', { members: ['bob@example.org'] });
    await ring.submit(alice, ['bob@example.org', 'staff@example.org'], post('alice@example.org'));
    await ring.settle();
    expect(ring.texts(bob)).toHaveLength(1);
  });

  const refusals: [why: string, bytes: Buffer, state: Partial<ListState>, rule: string][] = [
    ['of somebody who may not post', post('alice@example.org'), { posting: 'owners' }, 'list-takes-posts-of-owners'],
    ['of no member', post('alice@example.org'), { posting: 'members' }, 'list-takes-posts-of-members'],
    ['that was here before', post('alice@example.org', 'Delivered-To: Staff@EXAMPLE.org'), {}, 'mail-loop'],
    [
      'that a program answers with',
      post('alice@example.org', 'Auto-Submitted: auto-replied'),
      {},
      'automatic-reply-to-list',
    ],
    ['whose author did not sign it', post('bob@example.org'), {}, 'author-is-not-signer'],
  ];
  it.each(refusals)('%s is refused', async (_, bytes, state, rule) => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.list('staff', { ...state, members: ['bob@example.org'] });
    await ring.submit(alice, ['staff@example.org'], bytes);
    await ring.settle();
    expect(ring.answers).toMatchObject([{ handled: { verdict: 'refused', rule } }]);
    expect(ring.texts(bob)).toEqual([]);
  });

  it('with the null reverse-path (a bounce) goes to the owners and to no member', async () => {
    const ring = new ListRing();
    const [alice, bob, owner] = [ring.user('alice'), ring.user('bob'), ring.user('owner')];
    ring.list('staff', { members: ['bob@example.org'], owners: [owner.address] });
    const envelope = { from: '', to: ['staff@example.org'] };
    await ring.submit(alice, [], post('alice@example.org', 'Auto-Submitted: auto-replied'), { envelope });
    await ring.settle();
    expect(ring.texts(bob)).toEqual([]);
    expect(ring.texts(owner)).toHaveLength(1);
    expect([...ring.inboxes.get(owner.address)!.values()][0]?.from).toBe('');
  });

  it('to a member whom the ring does not know is told to the owners', async () => {
    const ring = new ListRing();
    const [alice, owner] = [ring.user('alice'), ring.user('owner')];
    ring.list('staff', { members: ['gone@example.org'], owners: [owner.address] });
    await ring.submit(alice, ['staff@example.org'], post('alice@example.org'));
    await ring.settle();
    expect(ring.texts(owner)).toEqual([expect.stringMatching(/^From: "Mail delivery" <staff@example\.org>/)]);
    expect(Buffer.from(ring.texts(owner)[0]!.split('\r\n\r\n')[2] ?? '', 'base64').toString()).toContain(
      'epost list remove staff@example.org gone@example.org',
    );
    expect(ring.texts(alice)).toEqual([]);
  });

  it('what failed is noted for the owners, not for the author', async () => {
    const ring = new ListRing();
    const alice = ring.user('alice');
    ring.user('bob');
    ring.list('staff', { members: ['bob@example.org'] });
    await ring.submit(alice, ['staff@example.org'], post('alice@example.org'));
    await ring.settle();
    expect([...ring.notes.values()].map(({ to, list, sender }) => ({ to, list, sender }))).toEqual([
      { to: 'staff@example.org', list: undefined, sender: 'alice@example.org' },
      { to: 'bob@example.org', list: 'staff@example.org', sender: 'staff@example.org' },
    ]);
  });
});

describe('who may post', () => {
  const list: ListState = {
    posting: 'members',
    owners: [address('owner@example.org')],
    members: new Map([[address('m@away.test'), 'm@away.test']]),
  };
  const outside = (text?: string): Poster => ({
    kind: 'outside',
    address: text === undefined ? undefined : address(text),
  });
  const inRing = (text: string): Poster => ({ kind: 'ring', address: address(text) });
  const rows: [why: string, posting: ListState['posting'], poster: Poster, may: boolean][] = [
    ['anyone from anywhere, proven or not', 'anyone', outside(), true],
    ['the ring, for somebody in it', 'ring', inRing('x@example.org'), true],
    ['the ring, for nobody outside, member or not', 'ring', outside('m@away.test'), false],
    ['members, proven', 'members', outside('m@away.test'), true],
    ['members, under a tag', 'members', outside('m+lists@away.test'), true],
    ['members, and not who merely says he is', 'members', outside(), false],
    ['members, the owner included', 'members', inRing('owner@example.org'), true],
    ['owners', 'owners', inRing('owner@example.org'), true],
    ['owners only from inside, where a signature proves them', 'owners', outside('owner@example.org'), false],
    ['owners, not members', 'owners', inRing('m@example.org'), false],
  ];
  it.each(rows)('%s', (_, posting, poster, may) => {
    expect(mayPost({ ...list, posting }, poster)).toBe(may);
  });
});

describe('lists in lists', () => {
  // Six lists; each holds any of the lists (itself included) and any of three users and two on the Internet.
  const graph = fc.array(fc.tuple(fc.subarray([0, 1, 2, 3, 4, 5]), fc.subarray([0, 1, 2]), fc.subarray([0, 1])), {
    minLength: 6,
    maxLength: 6,
  });

  it('end, and bring a post to everybody who can be reached, once each', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(graph, async (holds) => {
        const ring = new ListRing();
        const sender = ring.user('sender');
        const users = [0, 1, 2].map((n) => ring.user(`user${n}`));
        for (const [n, [lists, members, away]] of holds.entries())
          ring.list(`list${n}`, {
            members: [
              ...lists.map((one) => `list${one}@example.org`),
              ...members.map((one) => `user${one}@example.org`),
              ...away.map((one) => `away${one}@away.test`),
            ],
          });
        await ring.submit(sender, ['list0@example.org'], post(sender.address));
        await ring.settle(200);
        const reached = new Set<number>();
        const visit = (n: number): void => {
          if (reached.has(n)) return;
          reached.add(n);
          for (const next of holds[n]?.[0] ?? []) visit(next);
        };
        visit(0);
        const wanted = (n: number, place: 1 | 2): boolean =>
          [...reached].some((list) => holds[list]?.[place].includes(n));
        expect(users.map((user) => ring.texts(user).length)).toEqual([0, 1, 2].map((n) => (wanted(n, 1) ? 1 : 0)));
        // The gateway knows the posts that it has sent to an address (gateway/relay/intake.ts); here each list has asked once.
        for (const n of [0, 1]) {
          const asked = ring.outside.filter(({ letter }) => letter.envelope.to.includes(`away${n}@away.test`));
          expect(asked.length > 0).toBe(wanted(n, 2));
          expect(new Set(asked.map(({ by }) => by)).size).toBe(asked.length);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('a list whose members are public', () => {
  it('is expanded by the sender’s own node: its own has nothing to do with users', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.list('staff', { members: ['alice@example.org', 'bob@example.org'], seenBy: 'public' });
    const bytes = post('alice@example.org');
    expect(await ring.spread(alice, ['staff@example.org'], bytes)).toEqual(['sent']);
    await ring.settle();
    expect(ring.answers.map(({ from, to }) => `${from} ${to}`)).toEqual([
      'alice@example.org alice@example.org',
      'alice@example.org bob@example.org',
    ]);
    for (const user of [alice, bob])
      expect(ring.texts(user)).toEqual([
        expect.stringMatching(/^Delivered-To: staff@[\s\S]*^List-Id: <staff\.example\.org>/m),
      ]);
    expect([...ring.notes.values()].map(({ list }) => list)).toEqual(['staff@example.org', 'staff@example.org']);
  });

  it('with members elsewhere, too, brings it to everybody, once each, also to who is written to', async () => {
    const ring = new ListRing();
    const [alice, bob, carol] = [ring.user('alice'), ring.user('bob'), ring.user('carol')];
    ring.list('inner', { members: ['carol@example.org', 'bob@example.org'] });
    const members = ['bob@example.org', 'out@away.test', 'inner@example.org'];
    ring.list('staff', { members, seenBy: 'public' });
    const to = ['bob@example.org', 'staff@example.org', 'nobody@example.org'];
    expect(await ring.spread(alice, to, post('alice@example.org'))).toEqual(['sent', 'sent', 'no-such-user']);
    await ring.settle();
    expect([bob, carol].map((user) => ring.texts(user).length)).toEqual([1, 1]);
    expect(ring.outside.map(({ by, letter }) => [by, letter.envelope.to])).toEqual([
      ['staff@example.org', ['out@away.test']],
    ]);
  });

  it('is left to its own node, which says why not, where the sender may not post', async () => {
    const ring = new ListRing();
    const [alice, bob] = [ring.user('alice'), ring.user('bob')];
    ring.list('staff', { members: ['bob@example.org'], seenBy: 'public', posting: 'owners' });
    await ring.spread(alice, ['staff@example.org'], post('alice@example.org'));
    await ring.settle();
    expect(ring.answers).toMatchObject([{ handled: { rule: 'list-takes-posts-of-owners' } }]);
    expect(ring.texts(bob)).toEqual([]);
  });
});

describe('what an owner asks of his list from another machine', () => {
  async function ask(
    by: 'owner' | 'member',
    changes: Parameters<typeof encodeRequest>[0],
  ): Promise<[unknown, readonly string[]]> {
    const ring = new ListRing();
    const [owner, member] = [ring.user('owner'), ring.user('member')];
    const list = ring.list('staff', { owners: [owner.address], members: ['member@example.org'] });
    const { certificate, keys } = by === 'owner' ? owner : member;
    const sealed = compose({
      from: { certificate, signing: keys.signing },
      to: list.certificate,
      id: Buffer.alloc(32, 9),
      body: encodeRequest(changes, 1),
      now: Date.now(),
    });
    return [await ring.give(sealed), [...(ring.lists.get(list.address)?.members.values() ?? [])]];
  }

  it('is done, since he signed it', async () => {
    const changes = [
      { kind: 'add', members: ['New@away.test'] },
      { kind: 'remove', members: ['MEMBER@example.org'] },
    ] as const;
    expect(await ask('owner', changes)).toEqual([{ verdict: 'accepted' }, ['New@away.test']]);
  });

  it('is refused to anybody else, members included', async () => {
    const answer = await ask('member', [{ kind: 'add', members: ['New@away.test'] }]);
    expect(answer).toEqual([{ verdict: 'refused', rule: 'only-owners-change-a-list' }, ['member@example.org']]);
  });

  it('never leaves it without an owner, and fits into a notification', () => {
    expect(() => encodeRequest([{ kind: 'settings', posting: 'ring', owners: [] }], 1)).toThrow();
    const many = Array.from({ length: 40 }, (_, n) => `${'x'.repeat(60)}@${'y'.repeat(60)}${n}.test`);
    expect(() => encodeRequest([{ kind: 'add', members: many }], 1)).toThrow(/more addresses/);
  });
});

describe('what is carried on', () => {
  async function carriedTo(ring: ListRing, alice: MailUser): Promise<{ letter: MailLetter }> {
    ring.list('staff', { members: ['bob@example.org', 'out@away.test'] });
    await ring.submit(alice, ['staff@example.org'], post('alice@example.org'));
    await ring.settle();
    const [out] = ring.outside;
    if (out === undefined) throw new Error('nothing went out');
    const { message, trace, onward } = out.letter;
    return {
      letter: {
        kind: 'mail',
        message,
        envelope: { from: 'staff@example.org', to: 'x' },
        folder: 'inbox',
        trace,
        onward,
      },
    };
  }

  it('shows who wrote it, to whom it came, and that it is unchanged', async () => {
    const ring = new ListRing();
    const alice = ring.user('alice');
    ring.user('bob');
    const { letter } = await carriedTo(ring, alice);
    const found = await custodyOf(address('staff@example.org'), letter.onward!, {
      store: ring.store,
      trust,
      now: Date.now,
    });
    if (found.kind !== 'proven') throw new Error(JSON.stringify(found));
    expect(found.custody.root.opened.from.address).toBe('alice@example.org');
    expect(found.custody.path).toEqual(['staff@example.org']);
    const added = letter.onward?.added ?? 0;
    const bytes = Buffer.concat([Buffer.alloc(0), post('alice@example.org')]);
    expect(await isUnchanged(bytes, { added: 0 }, found.custody)).toBe(true);
    expect(await isUnchanged(Buffer.concat([bytes, Buffer.from('x')]), { added: 0 }, found.custody)).toBe(false);
    expect(added).toBeGreaterThan(0);
  });

  const forgeries: [
    why: string,
    change: (letter: MailLetter, ring: ListRing) => Promise<MailLetter> | MailLetter,
    rule: string,
  ][] = [
    ['without a proof is somebody’s own word', (letter) => ({ ...letter, onward: undefined }), 'author-is-not-signer'],
    [
      'with other octets is refused',
      async (letter, { store }) => {
        const forged = Buffer.from(post('alice@example.org').toString().replace('text', 'send money'));
        const lease = { identity: address('staff@example.org'), until: 1 };
        const message = await storeMessage(store, forged, { salt: Buffer.alloc(32), lease });
        return { ...letter, message, onward: { ...letter.onward!, added: 0 } };
      },
      'handed-on-changed',
    ],
    [
      'with a field on top that is read as who wrote it is refused',
      async (letter, { store }) => {
        const field = Buffer.from('From: <boss@example.org>\r\n');
        const lease = { identity: address('staff@example.org'), until: 1 };
        const bytes = Buffer.concat([field, post('alice@example.org')]);
        const message = await storeMessage(store, bytes, { salt: Buffer.alloc(32), lease });
        return { ...letter, message, onward: { ...letter.onward!, added: field.length } };
      },
      'handed-on-changed',
    ],
  ];
  it.each(forgeries)('%s', async (_, change, rule) => {
    const ring = new ListRing();
    const alice = ring.user('alice');
    const bob = ring.user('bob');
    const { letter } = await carriedTo(ring, alice);
    const before = ring.texts(bob).length;
    const thief = await forgedBy(ring, 'staff@example.org');
    const sealed = compose({
      from: { certificate: thief.certificate, signing: thief.keys.signing },
      to: bob.certificate,
      id: Buffer.alloc(32, 7),
      body: encodeLetter(await change(letter, ring)),
      now: Date.now(),
    });
    expect(await ring.give(sealed)).toEqual({ verdict: 'refused', rule });
    expect(ring.texts(bob)).toHaveLength(before);
  });

  it('by somebody else than it came to is refused', async () => {
    const ring = new ListRing();
    const alice = ring.user('alice');
    const bob = ring.user('bob');
    const mallory = ring.user('mallory');
    const { letter } = await carriedTo(ring, alice);
    const sealed = compose({
      from: { certificate: mallory.certificate, signing: mallory.keys.signing },
      to: bob.certificate,
      id: Buffer.alloc(32, 7),
      body: encodeLetter(letter),
      now: Date.now(),
    });
    expect(await ring.give(sealed)).toEqual({ verdict: 'refused', rule: 'handed-on-without-proof' });
  });

  /** The list itself, whose owner has its keys. */
  async function forgedBy(ring: ListRing, list: string): Promise<MailUser> {
    const { certificate } = (await ring.post.lookup(address(list))) as { certificate: MailUser['certificate'] };
    const user = ring.member(certificate.address);
    return user ?? makeUser('nobody');
  }
});
