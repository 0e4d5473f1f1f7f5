import { describe, expect, it } from 'vitest';
import { RingNames } from '../../../node/mail/ring-names.ts';
import type { Lookup } from '../../../node/store/directory.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { makeUser } from './mailbox-fixture.ts';

const gateway = makeUser('gateway', 'gateway');
const [alice, bob, clerk] = ['alice', 'bob', 'clerk'].map((name) => makeUser(name));
const address = (local: string): Address => `${local}@example.org` as Address;
const found = (who = alice): Lookup => ({ kind: 'found', certificate: who!.certificate });

function recordOf(pairs: readonly (readonly [string, string])[]): Lookup {
  const aliases = pairs.map(([name, target]) => [address(name), address(target)] as const);
  const record = { address: gateway.address, version: 1, contacts: [], publishedAt: 1, aliases };
  return { kind: 'found', certificate: gateway.certificate, record };
}

function ring(answers: Record<string, Lookup>): RingNames {
  const all: Record<string, Lookup> = {
    alice: found(alice),
    bob: found(bob),
    gateway: recordOf([
      ['postmaster', 'alice'],
      ['bob', 'alice'],
      ['gone', 'alice'],
      ['chain', 'postmaster'],
    ]),
    gone: { kind: 'revoked' },
    ...answers,
  };
  const lookup = async (who: Address): Promise<Lookup> => all[who.split('@')[0] ?? ''] ?? { kind: 'none' };
  return new RingNames({ lookup, domains: ['example.org' as Domain], gateway: gateway.address });
}

const silence: Lookup = { kind: 'unknown', reason: 'silence' };
/** Whom an answer names, or what kind of answer it is. */
const whom = (lookup: Lookup): string => (lookup.kind === 'found' ? lookup.certificate.address : lookup.kind);

describe('an address of the ring means', () => {
  it.each<[why: string, who: string, answers: Record<string, Lookup>, means: string]>([
    ['the identity of that name', 'alice', {}, 'alice@example.org'],
    ['for an alias, the identity that it leads to', 'postmaster', {}, 'alice@example.org'],
    ['himself, where a gateway calls a user another’s alias', 'bob', {}, 'bob@example.org'],
    ['nobody else, once the identity of that name was put out of the ring', 'gone', {}, 'revoked'],
    ['nobody, where an alias leads to an alias', 'chain', {}, 'none'],
    ['nobody, where there is neither', 'nobody', {}, 'none'],
    ['nobody, where the ring has no gateway', 'postmaster', { gateway: { kind: 'none' } }, 'none'],
    ['nobody, where the gateway says nothing of aliases', 'postmaster', { gateway: found(gateway) }, 'none'],
    ['nobody, where who has the gateway’s address is none', 'postmaster', { gateway: found(clerk) }, 'none'],
    ['it is not known who, while the directory is silent', 'postmaster', { postmaster: silence }, 'unknown'],
    ['it is not known who, while the gateway’s record cannot be had', 'postmaster', { gateway: silence }, 'unknown'],
    ['it is not known who, while the alias’s user cannot be found', 'postmaster', { alice: silence }, 'unknown'],
  ])('%s', async (_why, who, answers, means) => {
    expect(whom(await ring(answers).resolve(address(who)))).toBe(means);
  });
});

describe('alice', () => {
  it.each<[why: string, text: string, answers: Record<string, Lookup>, expected: string]>([
    ['owns her address, however it is written', 'Alice@EXAMPLE.org', { alice: silence }, 'own'],
    ['owns it with a tag', 'alice+shop@example.org', { alice: silence }, 'own'],
    ['owns an alias that leads to her', 'Postmaster@example.org', {}, 'own'],
    ['owns it with a tag too', 'postmaster+x@example.org', {}, 'own'],
    ['does not own what nobody has', 'nobody@example.org', {}, 'foreign'],
    ['does not own another user, whatever the gateway calls him', 'bob@example.org', {}, 'foreign'],
    ['does not own an address elsewhere', 'alice@example.net', {}, 'foreign'],
    ['does not own the null sender', '', {}, 'foreign'],
    ['may own an alias or not, while the ring is silent', 'postmaster@example.org', { gateway: silence }, 'unknown'],
  ])('%s', async (_why, text, answers, expected) => {
    expect(await ring(answers).ownership(text, alice!.address)).toBe(expected);
  });
});
