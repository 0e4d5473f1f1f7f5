import { standardPolicy } from './standard.ts';

/** A ready-made policy: a text to be read and changed by the postmaster, with expectations of its own. */
export interface ReadyMade {
  readonly name: string;
  readonly summary: string;
  readonly text: string;
}

const strict = `# ePOST policy "strict": mail whose author is not proven is refused.
#
# Proven means: DMARC passes, or the author's own domain signed the message (DKIM), or SPF passes for it. Mailing lists
# and forwarders that you name may vouch by ARC. What could not be found out is asked to come again.
version: 1

lists:
  forwarders: []
  blocked_senders: []
  blocked_networks: []

classes:
  ambiguous: author.kind != "single"
  forwarded: arc.result == "pass" && arc.sealer in lists.forwarders
  aligned: dmarc.result == "pass"
  signed: dkim.result == "pass" && author.domain in dkim.domains
  sent-by-its-host: spf.result == "pass" && spf.domain == author.domain

rules:
  - id: blocked-network
    stages: connect
    when: client.ip in lists.blocked_networks
    do: reject
    reply: your network is blocked here; please write to the postmaster by another way

  - id: blocked-sender
    stages: [mail, data]
    when: envelope.from in lists.blocked_senders || envelope.fromDomain in lists.blocked_senders
    do: reject
    reply: this sender is blocked here

  # A bounce of something that was sent has proven itself by the address it came to.
  - id: bounce
    when: bounce.result == "pass"
    do: accept

  - id: forged-bounce
    when: bounce.result == "fail"
    do: reject
    reply: no message of ours led to this report, its return address is not one we gave out

  - id: one-author
    stages: [data, relay]
    when: class == "ambiguous"
    do: reject
    reply: the From field must name exactly one author

  - id: dmarc-fail
    when: dmarc.result == "fail" && class != "forwarded"
    do: reject
    reply: the message is not provably from the domain in From (DMARC)

  - id: not-proven
    when: class == "none"
    do: reject
    reply: the author's domain neither signs this message (DKIM) nor names your host (SPF); please ask your postmaster

  # A stolen account shows by what it sends; what is held waits for the postmaster ("epost queue").
  - id: slowed-identity
    stages: relay
    when: identity.standing == "slowed"
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 20/h, over: hold}

  - id: unusual-volume
    stages: relay
    when: volume.lastHour > 200 && volume.timesUsual >= 10 && carried.on != "list"
    do: hold

  - id: many-strangers
    stages: relay
    when: history.firstTimeRecipients > 0 && carried.on != "list"
    limit: {by: identity.address, cost: history.firstTimeRecipients, rate: 200/h, burst: 500, over: hold}

  - id: relay-volume
    stages: relay
    when: identity.verified
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 1000/h, burst: 2000, over: hold}

default: accept

expect:
  - {given: {}, verdict: reject, rule: not-proven, class: none}
  - {given: {dmarc: {result: pass}}, verdict: accept, class: aligned}
  - {given: {dkim: {result: pass, domains: [sender.example]}}, verdict: accept, class: signed}
  - {given: {dkim: {result: pass, domains: [other.example]}}, verdict: reject, rule: not-proven}
  - {given: {spf: {result: pass, domain: sender.example}}, verdict: accept, class: sent-by-its-host}
  - {given: {spf: {result: pass, domain: other.example}}, verdict: reject, rule: not-proven}
  - {given: {dmarc: {result: fail, policy: none}}, verdict: reject, rule: dmarc-fail}
  - {given: {dmarc: {result: unknown}}, verdict: defer, rule: could-not-find-out}
  - {given: {author: {kind: ambiguous}, dmarc: {result: pass}}, verdict: reject, rule: one-author}
  - {given: {author: {kind: none}}, verdict: reject, rule: one-author}
  - {given: {author: {kind: none}, bounce: {result: pass}}, verdict: accept, rule: bounce}
  - {given: {bounce: {result: fail}}, verdict: reject, rule: forged-bounce}
  - {given: {stage: relay}, verdict: accept}
  - {given: {stage: relay, identity: {verified: false}}, verdict: reject, rule: no-relay-for-strangers}
  - {given: {stage: relay, volume: {lastHour: 201, timesUsual: 20}}, verdict: hold, rule: unusual-volume}
`;

const closed = `# ePOST policy "closed": mail from the ring itself and from partners named here, and from nobody else.
#
# Inside the ring nothing passes here. From the Internet only partners come in, and only with mail that is provably theirs.
version: 1

lists:
  # Domains, or whole addresses: partners: [partner.example, .partner.example, consultant@example.net]
  partners: []
  blocked_networks: []

classes:
  partner: >-
    author.kind == "single" && dmarc.result == "pass" &&
    (author.domain in lists.partners || author.address in lists.partners)

rules:
  - id: blocked-network
    stages: connect
    when: client.ip in lists.blocked_networks
    do: reject
    reply: your network is blocked here; please write to the postmaster by another way

  - id: bounce
    when: bounce.result == "pass"
    do: accept

  - id: partners-only
    when: class != "partner"
    do: reject
    reply: this host takes mail from its partners only; please reach the person by another way

  - id: one-author
    stages: relay
    when: author.kind != "single"
    do: reject
    reply: the From field must name exactly one author

  # A stolen account shows by what it sends; what is held waits for the postmaster ("epost queue").
  - id: slowed-identity
    stages: relay
    when: identity.standing == "slowed"
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 20/h, over: hold}

  - id: unusual-volume
    stages: relay
    when: volume.lastHour > 200 && volume.timesUsual >= 10 && carried.on != "list"
    do: hold

  - id: many-strangers
    stages: relay
    when: history.firstTimeRecipients > 0 && carried.on != "list"
    limit: {by: identity.address, cost: history.firstTimeRecipients, rate: 200/h, burst: 500, over: hold}

  - id: relay-volume
    stages: relay
    when: identity.verified
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 1000/h, burst: 2000, over: hold}

default: accept

expect:
  - {given: {}, verdict: reject, rule: partners-only}
  - {given: {dmarc: {result: pass}}, verdict: reject, rule: partners-only}
  - {given: {dmarc: {result: fail, policy: reject}}, verdict: reject, rule: partners-only}
  - {given: {bounce: {result: pass}}, verdict: accept, rule: bounce}
  - {given: {bounce: {result: fail}}, verdict: reject, rule: partners-only}
  - {given: {stage: relay}, verdict: accept}
  - {given: {stage: relay, author: {kind: none}}, verdict: reject, rule: one-author}
  - {given: {stage: relay, identity: {verified: false}}, verdict: reject, rule: no-relay-for-strangers}
  - {given: {stage: relay, volume: {lastHour: 201, timesUsual: 20}}, verdict: hold, rule: unusual-volume}
`;

/** Every rule of the standard policy counted, none acted upon. */
function observed(text: string): string {
  const [head = '', rest = ''] = text.split('\nversion: 1\n');
  const [rules = ''] = rest.split('\n# Checked whenever this file is loaded.');
  const counted = rules
    .replaceAll(/\n {4}mode: shadow(?=\n)/g, '')
    .replaceAll(/(\n {2}- id: [a-z-]+)(?=\n)/g, '$1\n    mode: shadow');
  const about = head.replace(
    '# ePOST policy: what comes in, what goes out, and why.',
    '# ePOST policy "observe": every rule is in shadow mode: it counts, and everything is accepted. "epost policy replay"\n# shows what the rules would have done; "epost policy promote RULE" makes one act.',
  );
  return `${about}
version: 1
${counted}
# "given" is laid over an ordinary, unremarkable message.
expect:
  - {given: {}, verdict: accept, rule: default}
  - {given: {dmarc: {result: fail, policy: reject}}, verdict: accept, rule: default}
  - {given: {dmarc: {result: unknown}}, verdict: accept, rule: default}
  - {given: {author: {kind: ambiguous}}, verdict: accept, rule: default}
  - {given: {stage: relay}, verdict: accept}
  - {given: {stage: relay, identity: {verified: false}}, verdict: reject, rule: no-relay-for-strangers}
`;
}

/** All of them, the default first. */
export const readyMade: readonly ReadyMade[] = [
  {
    name: 'standard',
    summary: 'DMARC is kept to, what is doubtful goes to the junk folder (the default)',
    text: standardPolicy,
  },
  { name: 'strict', summary: 'mail whose author is not proven is refused', text: strict },
  { name: 'closed', summary: 'the ring and partners that the file names, nobody else', text: closed },
  {
    name: 'observe',
    summary: 'everything is accepted, and counted by the rules of the standard policy',
    text: observed(standardPolicy),
  },
];

const introductions = `# What comes to me: people I know into the inbox, first contacts into the folder Introductions, nobody I blocked.
#
# This is decided on my own node, before anything of a message is fetched but what its notification says. It can be
# stricter than my organisation's policy; it can be milder only by a rule that names a person ("friends" below).
# Verdicts: accept (inbox), introduce (folder Introductions), junk, quarantine (folder Quarantine), reject (the sender
# is told the name of the rule). What cannot be settled stays as my organisation decided it.
version: 1

# An entry is an address; "@example.net" or a domain stands for everybody there.
lists:
  # friends: [friend@example.net]
  friends: []
  # blocked: [somebody@example.com, "@spam.example"]
  blocked: []

rules:
  - id: blocked
    when: author.address in lists.blocked || author.domain in lists.blocked || envelope.from in lists.blocked
    do: reject

  # Into the inbox whatever my organisation says, if they are proven to have written it.
  - id: friends
    when: author.address in lists.friends
    do: accept

  # Reports on what I sent, lists and services of my ring.
  - id: of-my-ring
    when: identity.kind != "gateway" && identity.ring == ring.name
    do: accept

  # Nobody I wrote to, and nobody whose proven mail came into my inbox before.
  - id: first-contact
    when: "!history.seenSender && !history.wroteTo"
    do: introduce

default: accept

expect:
  - {given: {}, verdict: accept, rule: of-my-ring}
  - {given: {identity: {kind: gateway}}, verdict: introduce, rule: first-contact}
  - {given: {identity: {kind: gateway}, history: {wroteTo: true}}, verdict: accept}
  - {given: {identity: {kind: gateway}, history: {wroteTo: true}, organisation: {verdict: junk}}, verdict: junk}
`;

const knownOnly = `# What comes to me: people of my ring, people I wrote to, and friends named here. Everybody else is refused, and is told.
version: 1

lists:
  # friends: [friend@example.net]
  friends: []
  # blocked: [somebody@example.org]
  blocked: []

rules:
  - id: blocked
    when: author.address in lists.blocked || author.domain in lists.blocked || envelope.from in lists.blocked
    do: reject

  - id: friends
    when: author.address in lists.friends
    do: accept

  - id: of-my-ring
    when: identity.kind != "gateway" && identity.ring == ring.name
    do: accept

  # A report about a letter of mine comes from nobody (RFC 5321 §4.5.5).
  - id: reports
    when: envelope.from == ""
    do: introduce

  # Who is not proven may be anybody: to be looked at, not to be believed.
  - id: known-but-not-proven
    when: history.wroteTo && dmarc.result != "pass"
    do: introduce

  - id: known
    when: history.wroteTo
    do: accept

  - id: only-who-is-known
    do: reject
    when: "true"

default: reject

expect:
  - {given: {}, verdict: accept, rule: of-my-ring}
  - {given: {identity: {kind: gateway}}, verdict: reject, rule: only-who-is-known}
  - {given: {identity: {kind: gateway}, history: {wroteTo: true}, dmarc: {result: pass}}, verdict: accept, rule: known}
  - {given: {identity: {kind: gateway}, history: {wroteTo: true}}, verdict: introduce, rule: known-but-not-proven}
  - {given: {identity: {kind: gateway}, envelope: {from: ""}}, verdict: introduce, rule: reports}
`;

const people = `# What comes to me: whom I trust into the inbox, whom I blocked not at all, all else as my organisation decides.
# "epost policy user trust" and "block" write into the lists.
version: 1

# An entry is an address; in "blocked" also "@example.net" or a domain for everybody there.
lists:
  friends: []
  blocked: []

rules:
  - id: blocked
    when: author.address in lists.blocked || author.domain in lists.blocked || envelope.from in lists.blocked
    do: reject

  # Whatever my organisation says, if they are proven to have written it.
  - id: friends
    when: author.address in lists.friends
    do: accept

default: accept

expect:
  - {given: {}, verdict: accept}
  - {given: {organisation: {verdict: junk}}, verdict: junk}
`;

/** For a recipient's own policy. */
export const readyMadeForRecipients: readonly ReadyMade[] = [
  {
    name: 'introductions',
    summary: 'first contacts go into a folder of their own, whom you block is refused',
    text: introductions,
  },
  {
    name: 'people',
    summary: 'whom you trust and whom you block by name, all else as the organisation decides',
    text: people,
  },
  { name: 'known-only', summary: 'the ring and people you wrote to, everybody else is refused', text: knownOnly },
];
