/** The ready-made policy `standard`: the text that `epost init` writes, to be read and changed by the postmaster. */
export const standardPolicy = `# ePOST policy: what comes in, what goes out, and why.
#
# A decision is made at each stage: connect, mail, rcpt, data (the message is there), relay (a user of the ring sends
# to the Internet). The first rule that matches decides; no rule: the default. A rule without "stages:" is for data.
# What comes to one user he can decide himself, by a policy of his own: "epost policy user". Conditions are CEL;
# "epost policy check" finds every mistake with its line, "epost explain ID" tells why a message was decided as it was.
#
# Results of checks are pass, fail, none or unknown. "unknown" means that it could not be found out (a silent name
# server): it never counts as pass or fail. If it matters, the sender is asked to try again later, unless a rule names
# "unknown" itself.

version: 1

# An entry stands for itself; .example.net for every name below it; @example.net for every address there;
# 192.0.2.0/24 for the addresses in it.
lists:
  # Mailing lists and forwarders whose ARC seal we trust to say that a message was genuine before they changed it:
  #   forwarders: [lists.example.net, .forwarder.example]
  forwarders: []
  # Senders nobody here wants to hear from:
  #   blocked_senders: [spammer@example.com, "@spam.example"]
  blocked_senders: []
  # Networks that may not even connect:
  #   blocked_networks: [192.0.2.0/24, "2001:db8::/32"]
  blocked_networks: []

# Every sender has exactly one class: the first that fits, or "none".
classes:
  ambiguous: author.kind == "ambiguous" || (stage == "relay" && author.kind == "none")
  forwarded: arc.result == "pass" && arc.sealer in lists.forwarders
  aligned: dmarc.result == "pass"

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

  # A program shows one author. A message that names several, or in a way that can be read as several, shows whatever
  # the sender likes.
  - id: one-author
    stages: [data, relay]
    when: class == "ambiguous"
    do: reject
    reply: the From field must name exactly one author

  # A report that a message of ours could not be delivered, sent to an address that none of ours went out with: noise
  # of a forger's mail, or a letter dressed up as a bounce. People whose mail also leaves by other servers take this out.
  - id: forged-bounce
    when: bounce.result == "fail"
    do: reject
    reply: no message of ours led to this report, its return address is not one we gave out

  # Claims to be from nobody, so that nothing can be checked: not for the inbox. Old programs and logs write such mail.
  - id: no-author
    when: author.kind == "none"
    do: junk

  - id: blocked-author
    when: author.address in lists.blocked_senders || author.domain in lists.blocked_senders
    do: reject
    reply: this author is blocked here

  # For the first try on one machine, without any DNS. DELETE THIS RULE when the gateway faces the Internet.
  - id: local-trial
    when: >-
      client.loopback && (dmarc.result == "unknown" || (dmarc.result == "none" && spf.result == "unknown"))
    do: accept
    note: mail from this very machine is accepted although its sender could not be checked

  # Where epost.yaml names a ClamAV ("gateway: scan:"). While it does not answer, mail is asked to come again.
  - id: virus
    when: clamav.result == "infected"
    do: reject
    reply: the message carries something that a virus scanner knows

  # Where it names an rspamd. "unknown" is named, so that mail does not wait for it while it is away.
  - id: rspamd-advice
    when: rspamd.result != "unknown" && (rspamd.result == "reject" || rspamd.result == "add-header")
    do: junk

  # The author's domain says that mail which is not provably its own must be refused.
  - id: dmarc-reject
    when: dmarc.result == "fail" && dmarc.policy == "reject" && class != "forwarded"
    do: reject
    reply: the domain in From asks to refuse messages that are not provably from it (DMARC)

  - id: dmarc-quarantine
    when: dmarc.result == "fail" && dmarc.policy == "quarantine" && class != "forwarded"
    do: junk

  # Without a DMARC policy, a plain "this host may not send for us" still counts for something.
  - id: spf-fail
    when: spf.result == "fail" && dmarc.result == "none" && class != "forwarded"
    do: junk

  # Messages from outside that claim to be ours. In shadow mode: counted, not acted upon. Remove "mode:" to act.
  - id: claims-to-be-ours
    when: author.domain in ring.domains && dmarc.result != "pass" && class != "forwarded"
    do: junk
    mode: shadow

  # Unknown senders from one network, all together. In shadow mode: choose your rate before you act.
  - id: strangers-slow-down
    when: class == "none" && !client.loopback
    limit: {by: client.subnet, rate: 600/h, over: defer}
    reply: {code: 451, text: too many messages from your network; please try again later}
    mode: shadow

  # What leaves. Only a user with a verified identity can send to the Internet: that rule is built in and comes first.
  # A stolen account shows by what it sends. What is held waits for the postmaster, who looks at it and lets it go or
  # drops it, in bulk: "epost queue release --sender ... --reason unusual-volume", or "drop". "epost identity block" stops
  # an account everywhere.
  - id: slowed-identity
    stages: relay
    when: identity.standing == "slowed"
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 20/h, over: hold}

  # Far more in the last hour than is usual for this sender. "volume.usual" learns slowly, and is never below 10.
  # A mailing list has as many members as the postmaster gave it.
  - id: unusual-volume
    stages: relay
    when: volume.lastHour > 200 && volume.timesUsual >= 10 && carried.on != "list"
    do: hold

  # Recipients this sender never wrote to. Who writes to his acquaintances does not come near this.
  - id: many-strangers
    stages: relay
    when: history.firstTimeRecipients > 0 && carried.on != "list"
    limit: {by: identity.address, cost: history.firstTimeRecipients, rate: 200/h, burst: 500, over: hold}

  - id: relay-volume
    stages: relay
    when: identity.verified
    limit: {by: identity.address, cost: envelope.recipientCount, rate: 1000/h, burst: 2000, over: hold}

default: accept

# Checked whenever this file is loaded. "given" is laid over an ordinary, unremarkable message.
expect:
  - {given: {}, verdict: accept, rule: default}
  - {given: {author: {kind: none}}, verdict: junk, rule: no-author}
  - {given: {stage: relay, author: {kind: none}}, verdict: reject, rule: one-author}
  - {given: {author: {kind: ambiguous}}, verdict: reject, rule: one-author}
  - {given: {bounce: {result: fail}}, verdict: reject, rule: forged-bounce}
  - {given: {bounce: {result: pass}}, verdict: accept}
  - {given: {dmarc: {result: pass}}, verdict: accept, class: aligned}
  - {given: {dmarc: {result: fail, policy: reject}}, verdict: reject, rule: dmarc-reject}
  - {given: {dmarc: {result: fail, policy: reject}, arc: {result: pass, sealer: stranger.example}}, verdict: reject}
  - {given: {dmarc: {result: fail, policy: quarantine}}, verdict: junk, rule: dmarc-quarantine}
  - {given: {dmarc: {result: fail, policy: none}}, verdict: accept}
  - {given: {spf: {result: fail}}, verdict: junk, rule: spf-fail}
  - {given: {dmarc: {result: unknown}}, verdict: defer, rule: could-not-find-out}
  - {given: {dmarc: {result: unknown}, client: {loopback: true}}, verdict: accept, rule: local-trial}
  - {given: {dmarc: {result: fail, policy: reject}, client: {loopback: true}}, verdict: reject, rule: dmarc-reject}
  - {given: {clamav: {result: infected}}, verdict: reject, rule: virus}
  - {given: {clamav: {result: unknown}}, verdict: defer, rule: could-not-find-out}
  - {given: {rspamd: {result: reject}}, verdict: junk, rule: rspamd-advice}
  - {given: {rspamd: {result: unknown}}, verdict: accept}
  - {given: {stage: relay}, verdict: accept}
  - {given: {stage: relay, identity: {verified: false}}, verdict: reject, rule: no-relay-for-strangers}
  - {given: {stage: relay, identity: {standing: blocked}}, verdict: reject, rule: blocked-everywhere}
  - {given: {stage: relay, identity: {standing: slowed}, envelope: {recipientCount: 21}}, verdict: hold, rule: slowed-identity}
  - {given: {stage: relay, volume: {lastHour: 201, timesUsual: 20}}, verdict: hold, rule: unusual-volume}
  - {given: {stage: relay, volume: {lastHour: 201, timesUsual: 2}}, verdict: accept}
  - {given: {stage: relay, volume: {lastHour: 201, timesUsual: 20}, carried: {on: list}}, verdict: accept}
  - {given: {stage: relay, history: {firstTimeRecipients: 501}}, verdict: hold, rule: many-strangers}
  - {given: {stage: relay, envelope: {recipientCount: 2001}}, verdict: hold, rule: relay-volume}
`;
