import { afterEach, describe, expect, it } from 'vitest';
import { deliverTo } from '../../../node/mail/delivery.ts';
import { decodeLetter, encodeLetter, type Letter } from '../../../node/mail/letter.ts';
import type { MailUser } from '../../../node/mail/mail-post.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import { handOn } from '../../../node/mail/onward/hand-on.ts';
import { RingNames } from '../../../node/mail/ring-names.ts';
import { type SendPost, type SubmitOptions, submit } from '../../../node/mail/send.ts';
import type { SentNote } from '../../../node/mail/sent-book.ts';
import type { Handled } from '../../../node/notify/local-recipient.ts';
import { compose, type Opened, openSealed, type Sealed } from '../../../node/notify/sealed.ts';
import type { Lookup } from '../../../node/store/directory.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { type MailboxFixture, makeMailbox, makeUser, trust } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const fixtures: MailboxFixture[] = [];
afterEach(async () => {
  await Promise.all(fixtures.splice(0).map(async (fixture) => fixture.stop()));
});

const gateway = makeUser('gateway', 'gateway');
const alice = makeUser('alice');
const record = { address: gateway.address, version: 1, contacts: [], publishedAt: 1 };
const aliases = [['office@example.org' as Address, 'alice@example.org' as Address] as const];
const names = new RingNames({
  domains: ['example.org' as Domain],
  gateway: gateway.address,
  lookup: async (address): Promise<Lookup> => {
    if (address === ('silent@example.org' as Address)) return { kind: 'unknown', reason: 'silence' };
    if (address === alice.address) return { kind: 'found', certificate: alice.certificate };
    if (address !== gateway.address) return { kind: 'none' };
    return { kind: 'found', certificate: gateway.certificate, record: { ...record, aliases } };
  },
});
const text = octets('From: Alice <alice@example.org>', 'To: bob@example.org', 'Subject: hello', '', 'text', '');

interface Ring {
  readonly bob: MailboxFixture;
  readonly post: SendPost;
  readonly sent: Sealed[];
  readonly answers: Map<string, Lookup>;
}

async function ringWithBob(): Promise<Ring> {
  const bob = await makeMailbox({ local: 'bob' });
  fixtures.push(bob);
  const sent: Sealed[] = [];
  const answers = new Map<string, Lookup>(
    [bob.user, gateway, alice].map(({ address, certificate }) => [address, { kind: 'found', certificate }]),
  );
  const post: SendPost = {
    store: bob.post.store,
    overlay: { ring: { domains: ['example.org' as Domain] } },
    lookup: async (address) => answers.get(address) ?? { kind: 'none' },
    notify: {
      send: async (sealed) => {
        sent.push(sealed);
        return { kind: 'pending', copies: 1 };
      },
    },
  };
  return { bob, post, sent, answers };
}

async function send(
  { post }: Ring,
  to: readonly string[],
  more: Partial<SubmitOptions> = {},
): Promise<readonly string[]> {
  const submission = await submit({
    post,
    user: alice,
    envelope: { from: 'alice@example.org', to },
    bytes: text,
    gateway: gateway.address,
    now: Date.now,
    traceId: 't1',
    ...more,
  });
  expect(submission.recipients.map(({ address }) => address)).toEqual(to);
  return submission.recipients.map(({ outcome }) => (outcome.kind === 'sent' ? `sent ${outcome.via}` : outcome.kind));
}

function opened(sealed: Sealed | undefined, by: MailUser): Opened {
  if (sealed === undefined) throw new Error('nothing was sent');
  const result = openSealed({ sealed: sealed.bytes, me: by, trust: trust(), now: Date.now() });
  if (result.kind === 'refused') throw new Error(result.reason);
  return result;
}

async function inbox(mailbox: Mailbox): Promise<readonly string[]> {
  const folder = await mailbox.folder('INBOX');
  const messages = (folder?.entries() ?? []).map(async ({ uid }) => folder?.bytes(uid));
  return (await Promise.all(messages)).map((bytes) => Buffer.from(bytes ?? []).toString('latin1'));
}

describe('a submitted message', () => {
  it('for somebody in the ring arrives in the inbox octet for octet', async () => {
    const ring = await ringWithBob();
    expect(await send(ring, ['bob@example.org'])).toEqual(['sent ring']);
    const { mailbox, user } = ring.bob;
    expect(await deliverTo(mailbox, { names })(opened(ring.sent[0], user))).toEqual({ verdict: 'accepted' });
    expect(await inbox(mailbox)).toEqual([Buffer.from(text).toString('latin1')]);
  });

  it('that requires TLS says so to whoever gets it in the ring, and whoever sends it on requires it, too (RFC 8689)', async () => {
    const ring = await ringWithBob();
    const { user } = ring.bob;
    await send(ring, ['bob@example.org'], {
      envelope: { from: 'alice@example.org', to: ['bob@example.org'], requireTls: true },
    });
    const came = opened(ring.sent[0], user);
    const letter = decodeLetter(came.body);
    if (letter.kind !== 'mail') throw new Error('no mail');
    expect(letter.envelope).toMatchObject({ requireTls: true });
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const parts = { user, post: ring.post, gateway: gateway.address, book: undefined, now: Date.now, log };
    await handOn(parts, { opened: came, letter, by: alice.certificate }, text, {
      fields: () => new Uint8Array(),
      envelope: { from: 'alice@example.org', to: ['carol@example.net'] },
      post: new Uint8Array(32),
    });
    expect(decodeLetter(opened(ring.sent[1], gateway).body)).toMatchObject({
      kind: 'relay',
      envelope: { to: ['carol@example.net'], requireTls: true },
    });
  });

  it('of 35 MiB in a thousand parts is told in a notification of a few KiB', { timeout: 120_000 }, async () => {
    const ring = await ringWithBob();
    const part = Buffer.concat([
      octets('--b', 'Content-Type: application/octet-stream', '', ''),
      Buffer.alloc(36_000, 'x'),
    ]);
    const parts = Array.from({ length: 1_000 }, (_, at) => Buffer.concat([part, octets('', `part ${at}`, '')]));
    const head = octets('From: alice@example.org', 'Content-Type: multipart/mixed; boundary=b', '', '');
    const bytes = Buffer.concat([head, ...parts, octets('--b--', '')]);
    expect(bytes.length).toBeGreaterThan(34 * 1024 * 1024);
    expect(await send(ring, ['bob@example.org'], { bytes })).toEqual(['sent ring']);
    expect(ring.sent[0]?.bytes.length).toBeLessThan(4 * 1024);
    const { mailbox, user } = ring.bob;
    expect(await deliverTo(mailbox, { names })(opened(ring.sent[0], user))).toEqual({ verdict: 'accepted' });
    const folder = await mailbox.folder('INBOX');
    expect(Buffer.compare((await folder?.bytes(1)) ?? Buffer.alloc(0), bytes)).toBe(0);
  });

  it('submitted again after a lost answer is one message', async () => {
    const ring = await ringWithBob();
    await send(ring, ['bob@example.org']);
    await send(ring, ['bob@example.org'], { traceId: 't2', now: () => Date.now() + 5_000 });
    expect(ring.sent).toHaveLength(2);
    const { mailbox, user } = ring.bob;
    for (const sealed of ring.sent) await deliverTo(mailbox, { names })(opened(sealed, user));
    expect(await inbox(mailbox)).toHaveLength(1);
  });

  it('gives each recipient an answer of his own, in the order given', async () => {
    const ring = await ringWithBob();
    ring.answers.set('dora@example.org', { kind: 'revoked' });
    ring.answers.set('eve@example.org', { kind: 'unknown', reason: 'holders silent' });
    const to = [
      'x@example.net',
      'nobody@example.org',
      'Bob+list@example.org',
      'eve@example.org',
      'dora@example.org',
      'no',
    ];
    expect(await send(ring, to)).toEqual([
      'sent gateway',
      'no-such-user',
      'sent ring',
      'try-later',
      'no-such-user',
      'no-such-user',
    ]);
  });

  it('for the outside goes to the gateway in letters that fit, addresses as they were written', async () => {
    const ring = await ringWithBob();
    const to = Array.from({ length: 45 }, (_, i) => `${'Long'.repeat(i % 2 === 0 ? 1 : 15)}${i}@example.net`);
    const dsn = new Map([[to[1] ?? '', { notify: ['NEVER'] }]]);
    const outcomes = await send(ring, to, {
      envelope: { from: 'alice@example.org', to, dsn, ret: 'HDRS', envid: 'e1', requireTls: true },
    });
    expect(new Set(outcomes)).toEqual(new Set(['sent gateway']));
    const letters = ring.sent.map((sealed) => decodeLetter(opened(sealed, gateway).body));
    expect(letters.flatMap(({ envelope }) => envelope.to)).toEqual(to);
    expect(letters.length).toBeGreaterThanOrEqual(3);
    expect(letters[0]?.envelope).toMatchObject({
      ret: 'HDRS',
      envid: 'e1',
      requireTls: true,
      dsn: { 1: { notify: ['NEVER'] } },
    });
  });

  it('for an address literal goes to the gateway, whose affair that is', async () => {
    const ring = await ringWithBob();
    expect(await send(ring, ['bob@[192.0.2.1]', 'bob@[nowhere]'])).toEqual(['sent gateway', 'no-such-user']);
  });

  it('is noted before it goes, under the id that its receipt will have', async () => {
    const ring = await ringWithBob();
    const noted: string[] = [];
    const book = {
      note: async (id: Uint8Array, { recipients }: SentNote) => {
        noted.push(`${recipients.join()} ${Buffer.from(id).toString('hex')} after ${ring.sent.length}`);
      },
    };
    await send(ring, ['bob@example.org'], { book });
    await send(ring, ['x@example.net', 'y@example.net'], { book });
    const ids = ring.sent.map(({ id }) => Buffer.from(id).toString('hex'));
    expect(noted).toEqual([`bob@example.org ${ids[0]} after 0`, `x@example.net,y@example.net ${ids[1]} after 1`]);
  });

  it('is tried later, not refused, where the ring has no gateway, no quorum, or does not say', async () => {
    const ring = await ringWithBob();
    ring.answers.delete(gateway.address);
    expect(await send(ring, ['x@example.net'])).toEqual(['try-later']);
    const unsure: SendPost = {
      ...ring.post,
      notify: { send: async () => ({ kind: 'unknown', reason: 'one copy only' }) },
    };
    expect(await send(ring, ['bob@example.org'], { post: unsure })).toEqual(['try-later']);
    const insert = async (): Promise<never> => {
      throw new StoreFault('quorum', 'one copy of two');
    };
    expect(await send(ring, ['bob@example.org'], { post: { ...ring.post, store: { insert } } })).toEqual(['try-later']);
  });
});

describe('a delivery', () => {
  async function delivered(letter: Partial<Letter> & object, bytes = text, from = alice): Promise<[Handled, Ring]> {
    const ring = await ringWithBob();
    const lease = { identity: alice.address, until: 1 };
    const message = await storeMessage(ring.bob.post.store, bytes, { salt: Buffer.alloc(32), lease });
    const whole = {
      kind: 'mail',
      message,
      envelope: { from: from.address, to: 'bob@example.org' },
      folder: 'inbox',
      trace: 't',
      ...letter,
    } as Letter;
    const sealed = compose({
      from: { certificate: from.certificate, signing: from.keys.signing },
      to: ring.bob.user.certificate,
      id: Buffer.from('id'),
      body: encodeLetter(whole),
      now: Date.now(),
    });
    return [await deliverTo(ring.bob.mailbox, { names })(opened(sealed, ring.bob.user)), ring];
  }

  const forged = octets('From: bob@example.org', '', 'I am bob');
  it.each<[string, Partial<Letter> & object, Uint8Array, MailUser, object]>([
    [
      'with the sender’s tag is accepted',
      { envelope: { from: 'alice+x@example.org', to: 'b@c' } },
      text,
      alice,
      { verdict: 'accepted' },
    ],
    [
      'in the name of an alias that leads to him is accepted',
      { envelope: { from: 'office@example.org', to: 'b@c' } },
      octets('From: Office <office@example.org>', '', ''),
      alice,
      { verdict: 'accepted' },
    ],
    [
      'in a name of which nobody can say just now whose it is, is asked for again',
      { envelope: { from: 'silent@example.org', to: 'b@c' } },
      text,
      alice,
      { later: 'whether silent@example.org is the sender’s could not be found out' },
    ],
    ['of an automatic answer is accepted', { envelope: { from: '', to: 'b@c' } }, text, alice, { verdict: 'accepted' }],
    ['by the gateway may carry anybody’s words', {}, forged, gateway, { verdict: 'accepted' }],
    ['by a user in another’s name is refused', {}, forged, alice, { verdict: 'refused', rule: 'author-is-not-signer' }],
    [
      'with two authors is refused',
      {},
      octets('From: alice@example.org', 'From: bob@example.org', '', ''),
      alice,
      { verdict: 'refused', rule: 'author-unclear' },
    ],
    [
      'under another’s envelope sender is refused',
      { envelope: { from: 'bob@example.org', to: 'b@c' } },
      text,
      alice,
      { verdict: 'refused', rule: 'envelope-sender-is-not-signer' },
    ],
    [
      'meant for a gateway is refused',
      { kind: 'relay', envelope: { from: '', to: ['x@example.net'] }, folder: undefined } as never,
      text,
      alice,
      { verdict: 'refused', rule: 'not-a-gateway' },
    ],
  ])('%s', async (_why, letter, bytes, from, expected) => {
    const [handled, { bob }] = await delivered(letter, bytes, from);
    expect(handled).toEqual(expected);
    expect(await inbox(bob.mailbox)).toHaveLength('verdict' in handled && handled.verdict === 'accepted' ? 1 : 0);
  });

  it('for junk goes to the folder of that use, whatever it is called, and never to the inbox', async () => {
    const ring = await ringWithBob();
    const { mailbox, user, post } = ring.bob;
    const message = await storeMessage(post.store, text, {
      salt: Buffer.alloc(32),
      lease: { identity: alice.address, until: 1 },
    });
    const letter: Letter = { kind: 'mail', message, envelope: { from: '', to: 'b@c' }, folder: 'junk', trace: 't' };
    const facts = {
      kind: 'opened' as const,
      proof: Buffer.alloc(0),
      from: gateway.certificate,
      at: 5,
      body: encodeLetter(letter),
    };
    expect(user.certificate.kind).toBe('user');
    await mailbox.rename('Junk', 'Spam');
    await deliverTo(mailbox, { names })({ ...facts, id: Buffer.alloc(32, 1) });
    expect((await mailbox.folder('Spam'))?.entries()).toHaveLength(1);
    await mailbox.remove('Spam');
    await deliverTo(mailbox, { names })({ ...facts, id: Buffer.alloc(32, 2) });
    expect((await mailbox.folder('Junk'))?.entries()).toHaveLength(1);
    expect(await inbox(mailbox)).toEqual([]);
  });

  it('is asked for again later where the ring takes no write or the message cannot be had, and then succeeds', async () => {
    const ring = await ringWithBob();
    await send(ring, ['bob@example.org']);
    const { mailbox, user, post } = ring.bob;
    const notification = opened(ring.sent[0], user);
    const blocks = new Map(post.store.blocks);
    post.store.blocks.clear();
    expect(await deliverTo(mailbox, { names })(notification)).toHaveProperty('later');
    for (const [key, bytes] of blocks) post.store.blocks.set(key, bytes);
    post.down = true;
    expect(await deliverTo(mailbox, { names })(notification)).toHaveProperty('later');
    post.down = false;
    expect(await deliverTo(mailbox, { names })(notification)).toEqual({ verdict: 'accepted' });
    expect(await inbox(mailbox)).toHaveLength(1);
  });

  it('with a large message is read with few others at a time, however many arrive at once', async () => {
    const { bob } = await ringWithBob();
    const { store } = bob.post;
    const large = Buffer.concat([text, Buffer.alloc(20 * 2 ** 20, 'x')]);
    const message = await storeMessage(store, large, {
      salt: Buffer.alloc(32),
      lease: { identity: alice.address, until: 1 },
    });
    const envelope = { from: 'alice@example.org', to: 'bob@example.org' };
    const body = encodeLetter({ kind: 'mail', message, envelope, folder: 'inbox', trace: 't' });
    const fetch = store.fetch.bind(store);
    let [held, most] = [0, 0];
    store.fetch = async (key) => {
      if (Buffer.compare(key, message.manifest.key) === 0) {
        most = Math.max(most, ++held);
        await new Promise((resolve) => setTimeout(resolve, 20));
        held -= 1;
      }
      return fetch(key);
    };
    const facts = { kind: 'opened' as const, proof: Buffer.alloc(0), from: alice.certificate, at: 5, body };
    const answers = await Promise.all(
      Array.from({ length: 9 }, async (_, n) =>
        deliverTo(bob.mailbox, { names })({ ...facts, id: Buffer.alloc(32, n) }),
      ),
    );
    expect(answers).toEqual(answers.map(() => ({ verdict: 'accepted' })));
    expect(most).toBeLessThanOrEqual(3);
  });

  it('that is no letter is refused', async () => {
    const { bob } = await ringWithBob();
    const junk: Opened = {
      kind: 'opened',
      from: alice.certificate,
      id: Buffer.alloc(32),
      proof: Buffer.alloc(0),
      body: Buffer.from('x'),
      at: 1,
    };
    expect(await deliverTo(bob.mailbox, { names })(junk)).toEqual({ verdict: 'refused', rule: 'letter-malformed' });
    expect(alice.address satisfies Address).toBe('alice@example.org');
  });
});
