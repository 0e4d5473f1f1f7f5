import { describe, expect, it } from 'vitest';
import { type Provenance, signProvenance } from '../../../gateway/provenance.ts';
import { carriedSender, ownSender, type SenderFacts } from '../../../gateway/relay/carried.ts';
import { returnPaths } from '../../../gateway/returns/return-path.ts';
import type { CarriedOn } from '../../../node/door/gateway-post.ts';
import type { Address } from '../../../policy/address.ts';
import { makeUser } from '../../node/mail/mailbox-fixture.ts';

const gateway = makeUser('gateway', 'gateway');
const [alice, bob, mallory] = [makeUser('alice'), makeUser('bob'), makeUser('mallory')];
const staff = makeUser('staff', 'list');
const hash = Buffer.alloc(32, 1);
const now = Date.parse('2026-11-26T12:00:00Z');
const paths = returnPaths(Buffer.alloc(32, 3));
const stranger = 'friend@sender.test';

const bytes = Buffer.from(
  [
    'Delivered-To: alice@example.org',
    `Return-Path: <${stranger}>`,
    'Received: from x by mx.example.org',
    'Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=sender.test;\r\n\tdmarc=pass (p=none)',
    'X-ePOST-Trace: T1',
    'Authentication-Results: forged.test; dmarc=pass',
    `From: ${stranger}`,
    '',
    'text',
  ].join('\r\n'),
);

function provenance(more: Partial<Provenance> = {}, signer = gateway.keys.signing): Uint8Array {
  return signProvenance(
    {
      version: 1,
      trace: 'T1',
      at: now,
      gateway: gateway.address,
      client: { ip: '192.0.2.1', name: '', iprev: 'none', helo: 'x' },
      tls: { used: false, version: '', cipher: '' },
      envelope: { from: stranger, recipientCount: 1 },
      author: { kind: 'single', address: stranger },
      spf: { result: 'pass', domain: 'sender.test' },
      dmarc: { result: 'pass', domain: 'sender.test', policy: 'none' },
      arc: { result: 'none', sealer: '' },
      dkim: [],
      decision: { verdict: 'accept', rule: 'default', policyHash: '' },
      received: hash,
      handedOn: hash,
      ...more,
    },
    signer,
  );
}

/** A stranger's mail that came to alice from outside. */
function fromOutside(more: Partial<CarriedOn> = {}): CarriedOn {
  return {
    root: gateway.certificate,
    rootFrom: stranger,
    provenance: provenance(),
    hash,
    added: 0,
    cameFrom: stranger,
    post: 'p',
    isUnchanged: async () => true,
    ...more,
  };
}

/** What bob wrote to alice. */
function fromBob(more: Partial<CarriedOn> = {}): CarriedOn {
  return fromOutside({
    root: bob.certificate,
    rootFrom: bob.address,
    cameFrom: bob.address,
    provenance: undefined,
    ...more,
  });
}

function facts(by = alice, from: string = stranger, author: string = stranger): SenderFacts {
  return {
    request: { from: by.certificate, envelope: { from, to: ['x@away.test'] } },
    bytes,
    author: author as Address,
    now,
    forwardPath: (sender, at) => paths.forward(sender, 'example.org', at),
    owns: async (address, identity) => address === identity,
  };
}

const none = { result: 'none', domain: '' };
const unproven = provenance({ spf: { result: 'softfail', domain: 'sender.test' }, dmarc: { ...none, policy: 'none' } });

describe('what somebody carries on', () => {
  it('from outside leaves under a rewritten sender, with what was seen of it for the seal', async () => {
    const sender = await carriedSender(fromOutside(), facts());
    if (sender.kind === 'refused') throw new Error(sender.rule);
    expect(paths.open(sender.envelopeFrom, now)).toEqual({ kind: 'forwarded', address: stranger });
    expect(sender.carried).toMatchObject({ by: 'forward', post: 'p', seen: { chain: 'none' } });
    // Our own field, and not the one that a stranger wrote below it.
    expect(sender.carried?.seen?.results).toBe(
      'mx.example.org;\r\n\tspf=pass smtp.mailfrom=sender.test;\r\n\tdmarc=pass (p=none)',
    );
  });

  const senders: [why: string, carried: CarriedOn, facts: SenderFacts, from: string][] = [
    ['of an unproven sender under the forwarder’s own', fromOutside({ provenance: unproven }), facts(), alice.address],
    [
      'of one that is too long under the forwarder’s own',
      fromOutside({ rootFrom: `${'a'.repeat(50)}@sender.test`, cameFrom: `${'a'.repeat(50)}@sender.test` }),
      facts(alice, `${'a'.repeat(50)}@sender.test`),
      alice.address,
    ],
    ['with the null sender under that', fromOutside({ rootFrom: '', cameFrom: '' }), facts(alice, ''), ''],
    ['by a list under the list’s', fromOutside(), facts(staff, staff.address), staff.address],
    ['from inside under the author’s', fromBob(), facts(alice, bob.address, bob.address), bob.address],
    [
      'out of a list under the list’s',
      fromOutside({ cameFrom: staff.address }),
      facts(alice, staff.address),
      staff.address,
    ],
  ];
  it.each(senders)('%s', async (_, carried, given, from) => {
    expect(await carriedSender(carried, given)).toMatchObject({ kind: 'fine', envelopeFrom: from });
  });

  const refusals: [why: string, carried: CarriedOn, facts: SenderFacts, rule: string][] = [
    ['that is not what came to him', fromOutside({ isUnchanged: async () => false }), facts(), 'handed-on-changed'],
    ['without the gateway’s record', fromOutside({ provenance: undefined }), facts(), 'handed-on-without-proof'],
    [
      'with a record about other octets',
      fromOutside({ provenance: provenance({ handedOn: Buffer.alloc(32, 9) }) }),
      facts(),
      'handed-on-without-proof',
    ],
    [
      'with a record that he signed himself',
      fromOutside({ provenance: provenance({}, alice.keys.signing) }),
      facts(),
      'handed-on-without-proof',
    ],
    ['under another sender than it came with', fromOutside(), facts(alice, 'victim@bank.test'), 'sender-not-yours'],
    [
      'that bob signed and says the boss wrote',
      fromBob(),
      facts(alice, bob.address, 'boss@example.org'),
      'author-not-yours',
    ],
    [
      'that bob sent under another sender',
      fromBob({ rootFrom: 'boss@example.org', cameFrom: 'boss@example.org' }),
      facts(alice, 'boss@example.org', bob.address),
      'sender-not-yours',
    ],
  ];
  it.each(refusals)('%s is refused', async (_, carried, given, rule) => {
    expect(await carriedSender(carried, given)).toEqual({ kind: 'refused', rule });
  });
});

describe('what somebody says are his own words', () => {
  it('is his, or refused', async () => {
    expect(await ownSender(facts(bob, bob.address, bob.address))).toEqual({ kind: 'fine', envelopeFrom: bob.address });
    expect(await ownSender(facts(mallory, stranger, mallory.address))).toMatchObject({ rule: 'sender-not-yours' });
    expect(await ownSender(facts(mallory, '', bob.address))).toMatchObject({ rule: 'author-not-yours' });
  });
});
