import { describe, expect, it } from 'vitest';
import { publishRecord } from '../../deploy/process/publish-record.ts';
import { publishedAliases } from '../../deploy/process/published-aliases.ts';
import { checkIdentityCertificate } from '../../node/identity/certificate.ts';
import { checkEntry, type DirectoryEntry, type Lookup } from '../../node/store/directory.ts';
import type { Address, Domain } from '../../policy/address.ts';
import { makeUser, trust } from '../node/mail/mailbox-fixture.ts';

const domains = { name: 'example.org' as Domain, domains: ['example.org', 'example.com'] as Domain[] };
const alice = 'alice@example.org' as Address;

function published(configured: Record<string, Address>): { names: string[]; warnings: object[] } {
  const warnings: object[] = [];
  const map = publishedAliases(configured, domains, { warn: (fields) => warnings.push(fields) });
  return { names: [...map.keys()], warnings };
}

describe('of the aliases of a gateway the ring is told', () => {
  it('a name without a domain for each domain of the ring, a whole one alone', () => {
    expect(published({ postmaster: alice, 'info@example.com': alice })).toEqual({
      names: ['postmaster@example.org', 'postmaster@example.com', 'info@example.com'],
      warnings: [],
    });
  });

  it('none that lead out of the ring or are not of it, and the log says so', () => {
    const elsewhere = 'alice@example.net' as Address;
    expect(published({ 'info@example.net': alice, 'sales@example.org': elsewhere })).toEqual({
      names: [],
      warnings: [{ left: 2, published: 0 }],
    });
  });

  it('as many as a record holds, whatever their length, and that record is one the ring takes', async () => {
    const long = `${'l'.repeat(60)}@example.org` as Address;
    const configured = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`name-${n}@example.org`, long]));
    const warnings: object[] = [];
    const aliases = publishedAliases(configured, domains, { warn: (fields) => warnings.push(fields) });
    expect(aliases.size).toBeGreaterThan(40);
    expect(warnings).toEqual([{ left: 500 - aliases.size, published: aliases.size }]);

    const gateway = makeUser('gateway', 'gateway');
    const entries: DirectoryEntry[] = [];
    const lookupIdentity = async (): Promise<Lookup> => {
      const last = entries.at(-1);
      const record = last === undefined ? undefined : checkEntry(last, trust())?.record;
      return { kind: 'found', certificate: gateway.certificate, record };
    };
    const publish = async (now: number, known = aliases, keepAliases = false): Promise<void> =>
      publishRecord({
        store: { lookupIdentity, publishIdentity: async (entry) => entries.push(entry) },
        peerId: 'p'.repeat(52),
        alsoAt: () => Array.from({ length: 7 }, (_, n) => `${n}`.repeat(52)),
        address: gateway.address,
        certificate: gateway.certificate.bytes,
        signing: gateway.keys.signing,
        now,
        aliases: known,
        keepAliases,
      });
    await publish(1);
    expect(checkIdentityCertificate(gateway.certificate.bytes, trust()).kind).toBe('valid');
    expect(checkEntry(entries[0]!, trust())?.record?.aliases).toHaveLength(aliases.size);
    // Nothing new is not said again; one alias less is.
    await publish(2);
    expect(entries).toHaveLength(1);
    // What another gateway said since stays.
    await publish(3, new Map(), true);
    expect(entries).toHaveLength(1);
    await publish(3, new Map([...aliases].slice(1)));
    expect(checkEntry(entries[1]!, trust())?.record?.aliases).toHaveLength(aliases.size - 1);
    await publish(4, new Map());
    expect(checkEntry(entries[2]!, trust())?.record?.aliases).toBeUndefined();
  });
});
