/** Decisions of every kind, to be read by a person: facts that occur, over a policy that asks in every form the language has. */
import fc from 'fast-check';
import { completeEvidence, evidenceAt } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import { type Fact, facts, factsByPath, type KnownEvidence, stages } from '../../policy/evidence.ts';
import { explain } from '../../policy/explain.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';

const rich = `version: 1
lists:
  friends: [friend@a.example, "@b.example"]
  networks: [192.0.2.0/24]
classes:
  partner: dkim.domains.exists(d, d in lists.friends)
  aligned: dmarc.result == "pass"
rules:
  - {id: dead-network, stages: connect, when: client.ip in lists.networks && !client.loopback, do: reject}
  - {id: helo-is-number, stages: [mail, rcpt], when: client.helo.startsWith("192."), do: defer}
  - {id: many, stages: rcpt, when: envelope.recipientCount >= 50 || size(envelope.recipients) > 20, do: reject, reply: too many recipients}
  - {id: listed, when: dnslist.block == "listed" && !(client.iprev == "pass"), do: reject}
  - {id: partners, when: class == "partner" && (spf.result == "pass" || dkim.result == "pass"), do: accept}
  - {id: shouting, when: author.name.lowerAscii().contains("viagra"), do: junk}
  - {id: by-domain, when: author.domain != "" && author.domain == envelope.fromDomain, limit: {by: author.domain, rate: 1/h, over: defer}}
  - {id: all-lists, when: 'dnslist.domainListedBy.all(l, l != "x.example") && dnslist.domain == "listed"', do: junk, mode: shadow}
  - {id: either, when: 'message.listId != "" ? arc.result == "pass" : message.bytes > 1000000', do: quarantine, note: large or forwarded}
  - {id: unproven, when: 'dmarc.result in ["fail", "unknown"] && !(dmarc.policy == "none")', do: junk}
  - {id: slow-people, stages: relay, when: identity.certificateAgeDays < 30, limit: {by: identity.address, cost: envelope.recipientCount, rate: 5/h, over: hold}}
  - {id: not-for-services, stages: relay, when: identity.kind == "service" || volume.timesUsual - 2 > 8, do: hold}
default: accept
`;

const words: Readonly<Record<string, readonly string[]>> = {
  address: ['friend@a.example', 'x@c.example'],
  from: ['', 'friend@a.example', 'x@c.example'],
  domain: ['a.example', 'c.example'],
  fromDomain: ['', 'a.example', 'c.example'],
  ip: ['192.0.2.7', '2001:db8::1'],
  helo: ['mail.a.example', '192.0.2.7'],
  name: ['A Friend', 'Buy VIAGRA "now"'],
  listId: ['', 'news.c.example'],
  reason: ['', 'no aligned signature', 'name server did not answer'],
};

function valueOf(fact: Fact): fc.Arbitrary<unknown> {
  if (fact.values !== undefined) return fc.constantFrom(...fact.values);
  if (fact.type === 'bool') return fc.boolean();
  if (fact.type === 'int') return fc.constantFrom(0, 1, 3, 60, 400, 2_000_000);
  if (fact.type === 'string') return fc.constantFrom(...(words[fact.name] ?? ['a.example']));
  return fc.array(fc.constantFrom('b.example', 'x.example', 'friend@a.example'), { maxLength: 3 });
}

const known = fc.record(
  Object.fromEntries(
    Object.keys(facts).map((group) => {
      const members = [...factsByPath.values()].filter((fact) => fact.group === group);
      return [group, fc.record(Object.fromEntries(members.map((fact) => [fact.name, valueOf(fact)])))];
    }),
  ),
) as fc.Arbitrary<KnownEvidence>;

/** `count` decisions by `text` (or the rich policy above) as `epost explain` tells them; the same for the same seed. */
export function explained(count: number, seed: number, text = rich): readonly string[] {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  const limits = new Limits();
  const stage = fc.constantFrom(...stages.filter((one) => one !== 'notification'));
  return fc
    .sample(fc.tuple(stage, known), { numRuns: count, seed })
    .map(([at, given]) => explain(decide(loaded.policy, evidenceAt(at, completeEvidence(at, given)), limits, 0)));
}
