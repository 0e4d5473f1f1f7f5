import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Door } from '../../../node/door/door.ts';
import { GatewayPost, type RelayAnswer, type RelayRequest } from '../../../node/door/gateway-post.ts';
import { decodeLetter, encodeLetter, type Letter, type MailLetter } from '../../../node/mail/letter.ts';
import type { Receipt } from '../../../node/notify/receipt.ts';
import { compose } from '../../../node/notify/sealed.ts';
import { openSeenIds, type SeenIds } from '../../../node/notify/seen.ts';
import type { Address } from '../../../policy/address.ts';
import type { Person } from '../notify/network.ts';
import { until } from '../notify/ring.ts';
import { NodeBehind } from './node-behind.ts';

const message = Buffer.from('From: a@example.net\r\nSubject: hello\r\n\r\nhello\r\n');
const salt = createHash('sha256').update('salt').digest();

describe.each(['in process', 'over a socket'] as const)('a gateway at a door %s', (kind) => {
  let node: NodeBehind;
  let door: Door;
  let seen: SeenIds;
  let bob: Person;
  let gateway: Person;
  let daemon: Person;
  let post: GatewayPost;
  const inbox: { letter: MailLetter; from: string }[] = [];

  beforeEach(async () => {
    node = await NodeBehind.start();
    const { network } = node.ring;
    const here = [node.ring.node(0).overlay];
    bob = network.person('bob', here);
    gateway = network.person('gateway', here, 'gateway');
    daemon = network.person('mailer-daemon', here, 'service');
    inbox.length = 0;
    node.ring.attach(0, bob, async (opened) => {
      const letter = decodeLetter(opened.body);
      if (letter.kind === 'mail') inbox.push({ letter, from: opened.from.address });
      return { verdict: 'accepted' };
    });
    door = await node.open(kind);
    seen = openSeenIds({ dir: `${node.root}/seen`, now: network.clock });
    post = new GatewayPost({
      door,
      identity: gateway,
      mailerDaemon: daemon,
      hostname: 'mx.example.org',
      seen,
      now: network.clock,
    });
  });
  afterEach(async () => {
    await door.close();
    await seen.stop();
    await node.stop();
  });

  const delivery = () => ({
    id: 'job 1',
    message,
    recipient: bob.certificate.address,
    envelopeFrom: 'a@example.net',
    folder: 'junk' as const,
    trace: 'trace-1',
    provenance: Buffer.from('provenance'),
    requireTls: true as const,
  });

  it('delivers a message once, however often the job is repeated, and hears of it', async () => {
    const receipts: Receipt[] = [];
    post.onReceipt((receipt) => receipts.push(receipt));
    const first = await post.deliver(delivery());
    const second = await post.deliver(delivery());
    expect(first).toMatchObject({ kind: 'sent', copies: 1 });
    await until(() => receipts.length > 0 && inbox.length > 0);
    expect(await post.deliver(delivery())).toMatchObject({ kind: 'sent' });
    expect(second).toMatchObject({ kind: 'sent' });
    expect(inbox).toHaveLength(1);
    expect(inbox[0]?.from).toBe('gateway@example.org');
    expect(inbox[0]?.letter).toMatchObject({
      folder: 'junk',
      trace: 'trace-1',
      envelope: { from: 'a@example.net', requireTls: true },
    });
    expect(first.kind === 'sent' && Buffer.compare(first.id, receipts[0]?.id ?? salt)).toBe(0);
    const ref = inbox[0]?.letter.message;
    expect(ref && Buffer.compare(await post.fetch(ref), message)).toBe(0);
    // The same job stored its blocks once.
    expect(node.blocks.size).toBe(1);
  });

  it('tells "no such user" from "not now"', async () => {
    const { network } = node.ring;
    expect(await post.deliver({ ...delivery(), recipient: 'nobody@example.org' as Address })).toEqual({
      kind: 'no-such-user',
    });
    node.full = true;
    expect(await post.deliver(delivery())).toMatchObject({ kind: 'later', reason: /copies/ });
    network.directory.set(bob.certificate.address, { kind: 'revoked' });
    // Who was found is believed for some seconds.
    network.now += 6_000;
    expect(await post.deliver(delivery())).toEqual({ kind: 'no-such-user' });
    network.directory.set(bob.certificate.address, { kind: 'unknown', reason: 'no holder answers' });
    expect(await post.deliver(delivery())).toEqual({ kind: 'later', reason: 'no holder answers' });
    await door.close();
    expect(await post.deliver(delivery())).toMatchObject({ kind: 'later' });
  });

  it('takes relay requests in once each, with the message, and answers by receipt', async () => {
    const requests: RelayRequest[] = [];
    const answers: RelayAnswer[] = [{ verdict: 'accepted' }];
    post.onRelayRequest(async (request) => {
      requests.push(request);
      return answers[0] ?? { later: 'no answer' };
    });
    const ref = await post.store(message, { salt, lease: { identity: bob.certificate.address, until: 2e12 } });
    const envelope = { from: 'bob@example.org', to: ['c@example.net'] };
    const sealed = write(bob, { kind: 'relay', message: ref, envelope, trace: 'trace-2' });
    const receipts: Receipt[] = [];
    node.ring.node(0).notify.onReceipt((receipt) => receipts.push(receipt));
    await node.ring.node(0).notify.send(sealed);
    await until(() => receipts.length === 1);
    expect(receipts[0]).toMatchObject({ verdict: 'accepted', by: 'gateway@example.org' });
    expect(requests).toHaveLength(1);
    const [request] = requests;
    expect(request).toMatchObject({ trace: 'trace-2', envelope, id: Buffer.from(sealed.id).toString('hex') });
    expect(request?.from.address).toBe('bob@example.org');
    expect(request && Buffer.compare(await request.bytes(), message)).toBe(0);
  });

  const nonsense: [why: string, who: () => Person, body: () => Uint8Array, rule: string][] = [
    ['who is no user', () => daemon, () => Buffer.from('x'), 'only-users-relay'],
    ['whose letter is none', () => bob, () => Buffer.from('nothing'), 'not-a-relay-request'],
  ];
  it.each(nonsense)('refuses one %s, and says which rule that was', async (_why, who, body, rule) => {
    post.onRelayRequest(async () => {
      throw new Error('it is not asked');
    });
    const receipts: Receipt[] = [];
    node.ring.node(0).notify.onReceipt((receipt) => receipts.push(receipt));
    await node.ring.node(0).notify.send(seal(who(), body()));
    await until(() => receipts.length === 1);
    expect(receipts[0]).toMatchObject({ verdict: 'refused', rule });
  });

  it('puts a notice from the mailer-daemon into the inbox, with the null reverse-path', async () => {
    const facts = {
      reportingMta: 'mx.example.org',
      sender: 'bob@example.org',
      recipients: [
        { address: 'c@example.net', action: 'failed' as const, status: '5.1.1', text: 'There is no such user.' },
      ],
      originalHeader: Buffer.from('Subject: hello\r\n\r\n'),
      arrivedAt: node.ring.network.now,
      now: node.ring.network.now,
      traceId: 'trace-3',
    };
    expect(await post.sendNotice(facts, bob.certificate.address)).toMatchObject({ kind: 'sent' });
    await until(() => inbox.length === 1);
    expect(inbox[0]).toMatchObject({
      from: 'mailer-daemon@example.org',
      letter: { folder: 'inbox', envelope: { from: '', to: 'bob@example.org' } },
    });
    const ref = inbox[0]?.letter.message;
    expect(ref && Buffer.from(await post.fetch(ref)).toString()).toContain('5.1.1');
  });

  function seal(from: Person, body: Uint8Array) {
    const { network } = node.ring;
    const author = { certificate: from.certificate, signing: from.keys.signing };
    return compose({ from: author, to: gateway.certificate, id: Buffer.from('relay 1'), body, now: network.now });
  }

  function write(from: Person, letter: Letter) {
    return seal(from, encodeLetter(letter));
  }
});
