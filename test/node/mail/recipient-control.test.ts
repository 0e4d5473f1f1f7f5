import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, test } from 'vitest';
import { type Provenance, signProvenance } from '../../../gateway/provenance.ts';
import { deliverTo } from '../../../node/mail/delivery.ts';
import { encodeLetter, type MailLetter } from '../../../node/mail/letter.ts';
import type { MailUser } from '../../../node/mail/mail-post.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { storeMessage } from '../../../node/mail/message.ts';
import { RecipientBook } from '../../../node/mail/recipient-book.ts';
import { personOf, recipientControl, slowedRate } from '../../../node/mail/recipient-control.ts';
import { seenOutside } from '../../../node/mail/seen-outside.ts';
import type { TraceEvent } from '../../../node/notify/notify.ts';
import type { Opened } from '../../../node/notify/sealed.ts';
import type { Domain } from '../../../policy/address.ts';
import { Limits } from '../../../policy/limits.ts';
import { loadPolicy } from '../../../policy/load.ts';
import { readyMadeForRecipients } from '../../../policy/ready-made.ts';
import { type MailboxFixture, makeMailbox, makeUser } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const gateway = makeUser('gateway', 'gateway');
const daemon = makeUser('mailer-daemon', 'service');
const alice = makeUser('alice');

interface World {
  readonly bob: MailboxFixture;
  readonly book: RecipientBook;
  readonly events: TraceEvent[];
  standing: 'good' | 'slowed' | 'blocked';
  now: number;
  policy: string | undefined;
  deliver(from: MailUser, more?: Partial<MailLetter>, id?: number): Promise<unknown>;
}

async function world(policy?: string): Promise<World> {
  const bob = await makeMailbox({ local: 'bob' });
  closers.push(() => bob.stop());
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-people-'));
  closers.push(() => rm(dir, { recursive: true, force: true }));
  const book = await RecipientBook.open(path.join(dir, 'book'), () => 1);
  closers.push(() => book.close());
  const events: TraceEvent[] = [];
  let next = 0;
  const self: World = {
    bob,
    book,
    events,
    standing: 'good',
    now: 1_000,
    policy,
    async deliver(from, more = {}, id = ++next) {
      const text = octets(`From: <${from.address}>`, 'To: bob@example.org', `Subject: ${id}`, '', 'text', '');
      const lease = { identity: from.address, until: 1 };
      const message = await storeMessage(bob.post.store, text, { salt: Buffer.alloc(32), lease });
      const envelope = { from: from.address, to: 'bob@example.org' };
      const letter: MailLetter = { kind: 'mail', message, envelope, folder: 'inbox', trace: `t${id}`, ...more };
      const opened: Opened = {
        kind: 'opened',
        from: from.certificate,
        id: Buffer.alloc(32, id),
        body: encodeLetter(letter),
        at: 5,
        proof: Buffer.alloc(0),
      };
      return deliverTo(bob.mailbox, { names: { ownership: async () => 'own' }, control })(opened);
    },
  };
  const limits = new Limits();
  const control = recipientControl({
    recipient: 'bob@example.org',
    policy: () => {
      if (self.policy === undefined) return undefined;
      const loaded = loadPolicy(self.policy, 'recipient');
      if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
      return loaded.policy;
    },
    limits,
    book,
    ring: { name: 'example.org' as Domain, domains: ['example.org' as Domain] },
    standing: () => self.standing,
    trace: (_id, event) => void events.push(event),
    now: () => self.now,
  });
  return self;
}

const ready = (name: string): string => readyMadeForRecipients.find((one) => one.name === name)?.text ?? '';

/** How the folders of a mailbox are filled. */
async function counts(mailbox: Mailbox): Promise<Record<string, number>> {
  const filled: Record<string, number> = {};
  for (const { name } of mailbox.folders()) {
    const count = (await mailbox.folder(name))?.entries().length ?? 0;
    if (count > 0) filled[name] = count;
  }
  return filled;
}

function provenance(
  author: string,
  dmarc: 'pass' | 'fail',
  verdict = 'accept',
  signer: MailUser = gateway,
): Uint8Array {
  const record: Provenance = {
    version: 1,
    trace: 't',
    at: 1,
    gateway: 'gateway@example.org',
    client: { ip: '192.0.2.1', name: '', iprev: 'none', helo: 'x' },
    tls: { used: false, version: '', cipher: '' },
    envelope: { from: author, recipientCount: 1 },
    author: { kind: 'single', address: author },
    spf: { result: 'none', domain: '' },
    dmarc: { result: dmarc, domain: 'far.example', policy: 'none' },
    arc: { result: 'none', sealer: '' },
    dkim: [{ domain: 'far.example', selector: 's', result: 'pass', keyHash: Buffer.alloc(32) }],
    decision: { verdict, rule: verdict === 'junk' ? 'spf-fail' : 'default', policyHash: 'h' },
    received: Buffer.alloc(32),
    handedOn: Buffer.alloc(32),
  };
  return signProvenance(record, signer.keys.signing);
}

const outside = (author: string, dmarc: 'pass' | 'fail' = 'pass', folder: 'inbox' | 'junk' = 'inbox') => ({
  envelope: { from: author, to: 'bob@example.org' },
  folder,
  provenance: provenance(author, dmarc, folder === 'junk' ? 'junk' : 'accept'),
});

describe('what comes to a user', () => {
  it('goes where the organisation said, and is no decision to be told, where he has no policy', async () => {
    const w = await world();
    await w.deliver(alice);
    await w.deliver(gateway, outside('x@far.example', 'pass', 'junk'));
    expect(await counts(w.bob.mailbox)).toEqual({ INBOX: 1, Junk: 1 });
    expect(w.events).toEqual([]);
  });

  it('is first contact once, until he writes to them', async () => {
    const w = await world(ready('introductions'));
    await w.deliver(gateway, outside('x@far.example'));
    await w.deliver(gateway, outside('x@far.example'));
    expect(await counts(w.bob.mailbox)).toEqual({ Introductions: 2 });
    await w.book.meet('wrote', personOf('X+tag@far.example'));
    await w.deliver(gateway, outside('x@far.example'));
    expect(await counts(w.bob.mailbox)).toEqual({ Introductions: 2, INBOX: 1 });
    expect(w.events.map(({ verdict, rule, recipient }) => [verdict, rule, recipient])).toEqual([
      ['introduce', 'first-contact', 'bob@example.org'],
      ['introduce', 'first-contact', 'bob@example.org'],
      ['accept', 'default', 'bob@example.org'],
    ]);
  });

  it('makes nobody known whose mail was not proven, and everybody whose was', async () => {
    const w = await world();
    await w.deliver(gateway, outside('forged@far.example', 'fail'));
    await w.deliver(gateway, outside('real@far.example'));
    expect([w.book.knows('seen', 'forged@far.example'), w.book.knows('seen', 'real@far.example')]).toEqual([
      false,
      true,
    ]);
  });

  it('is refused by his rule before a block of it is read, and the receipt names the rule', async () => {
    const w = await world(ready('introductions').replace('blocked: []', 'blocked: ["@far.example"]'));
    let reads = 0;
    const fetch = w.bob.post.store.fetch.bind(w.bob.post.store);
    w.bob.post.store.fetch = async (key) => {
      reads += 1;
      return fetch(key);
    };
    expect(await w.deliver(gateway, outside('x@far.example'))).toEqual({ verdict: 'refused', rule: 'blocked' });
    expect([reads, await counts(w.bob.mailbox)]).toEqual([0, {}]);
    expect(w.events[0]).toMatchObject({ what: 'decision', stage: 'notification', verdict: 'reject', rule: 'blocked' });
  });

  it('that is blocked is told to a sender of the ring just so', async () => {
    const w = await world(
      'version: 1\nrules:\n  - {id: not-alice, when: identity.address == "alice@example.org", do: reject}\ndefault: accept\n',
    );
    expect(await w.deliver(alice)).toEqual({ verdict: 'refused', rule: 'not-alice' });
  });

  it('comes out of the junk of the organisation where he names the person, and only then', async () => {
    const w = await world(ready('introductions').replace('  friends: []', '  friends: [x@far.example]'));
    await w.deliver(gateway, outside('x@far.example', 'pass', 'junk'));
    expect(await counts(w.bob.mailbox)).toEqual({ INBOX: 1 });
    await w.deliver(gateway, outside('x@far.example', 'fail', 'junk'));
    await w.deliver(gateway, outside('y@far.example', 'pass', 'junk'));
    expect(await counts(w.bob.mailbox)).toEqual({ INBOX: 1, Junk: 2 });
  });

  it('is quarantined into a folder of that name', async () => {
    const w = await world(
      'version: 1\nrules:\n  - {id: look, when: message.bytes > 10, do: quarantine}\ndefault: accept\n',
    );
    expect(await w.deliver(alice)).toEqual({ verdict: 'accepted' });
    expect(await counts(w.bob.mailbox)).toEqual({ Quarantine: 1 });
  });

  it('is decided once: what comes again after a crash, or when its message can be had, goes the same way', async () => {
    const w = await world(ready('introductions'));
    await w.deliver(gateway, outside('x@far.example'), 7);
    w.policy = 'version: 1\nrules: []\ndefault: reject\n';
    expect(await w.deliver(gateway, outside('x@far.example'), 7)).toEqual({ verdict: 'accepted' });
    expect(await counts(w.bob.mailbox)).toEqual({ Introductions: 1 });
    expect(w.events).toHaveLength(1);
  });

  it('stays as the organisation decided where the gateway’s word cannot be read', async () => {
    const w = await world(
      'version: 1\nrules:\n  - {id: unproven, when: dmarc.result == "fail", do: reject}\ndefault: accept\n',
    );
    await w.deliver(gateway, { ...outside('x@far.example', 'fail'), provenance: Buffer.from('rubbish') });
    await w.deliver(gateway, {
      ...outside('x@far.example', 'fail', 'junk'),
      provenance: provenance('x@far.example', 'fail', 'junk', alice),
    });
    expect(await counts(w.bob.mailbox)).toEqual({ INBOX: 1, Junk: 1 });
    expect(w.events.map(({ rule }) => rule)).toEqual(['organisation', 'organisation']);
  });

  it('tells him of what he sent whatever he thinks of strangers', async () => {
    const w = await world(ready('known-only'));
    const notice = { envelope: { from: '', to: 'bob@example.org' } };
    expect(await w.deliver(daemon, notice)).toEqual({ verdict: 'accepted' });
    expect(await w.deliver(gateway, outside('x@far.example'))).toEqual({
      verdict: 'refused',
      rule: 'only-who-is-known',
    });
  });
});

describe('whom the authority', () => {
  it('has blocked gets through to nobody, policy or none', async () => {
    const w = await world();
    w.standing = 'blocked';
    expect(await w.deliver(alice)).toEqual({ verdict: 'refused', rule: 'blocked-everywhere' });
    expect(w.events[0]).toMatchObject({ rule: 'blocked-everywhere' });
  });

  it('has slowed gets through as slowly, and loses nothing', async () => {
    const w = await world();
    w.standing = 'slowed';
    const answers = [];
    for (let n = 0; n < slowedRate.burst + 2; n += 1) answers.push(await w.deliver(alice));
    expect(answers.filter((one) => typeof one === 'object' && one !== null && 'later' in one)).toHaveLength(2);
    w.now += 3_600_000;
    expect(await w.deliver(alice, {}, slowedRate.burst + 1)).toEqual({ verdict: 'accepted' });
  });
});

test('what the gateway says is evidence only with its signature', () => {
  const signed = provenance('x@far.example', 'pass');
  expect(seenOutside(signed, gateway.certificate)).toMatchObject({
    author: { address: 'x@far.example', domain: 'far.example' },
    dmarc: { result: 'pass' },
    dkim: { result: 'pass', domains: ['far.example'] },
  });
  expect(seenOutside(signed, alice.certificate)).toBeUndefined();
  for (let at = 0; at < signed.length; at += 7) {
    const bent = Uint8Array.from(signed);
    bent[at] = (bent[at] ?? 0) ^ 1;
    expect(seenOutside(bent, gateway.certificate)).toBeUndefined();
  }
});

describe('the book of people', () => {
  it('is bounded: who was heard of longest ago is forgotten first', async () => {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-people-'));
    closers.push(() => rm(dir, { recursive: true, force: true }));
    let now = 0;
    const book = await RecipientBook.open(path.join(dir, 'book'), () => ++now, 10);
    for (let n = 0; n < 25; n += 1) await book.meet('seen', `p${n}@far.example`);
    await book.sweep();
    expect([book.knows('seen', 'p14@far.example'), book.knows('seen', 'p15@far.example')]).toEqual([false, true]);
    await book.close();
    now = 800 * 86_400_000;
    const later = await RecipientBook.open(path.join(dir, 'book'), () => now, 10);
    expect(later.knows('seen', 'p24@far.example')).toBe(false);
    await later.close();
  });
});
