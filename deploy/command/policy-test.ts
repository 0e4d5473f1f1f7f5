import { isIP } from 'node:net';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { clientNetwork } from '../../gateway/evidence/client-network.ts';
import type { History } from '../../gateway/evidence/history.ts';
import { defaultInboundLimits as inboundLimits } from '../../gateway/inbound/limits.ts';
import { parseAddress } from '../../policy/address.ts';
import { decide } from '../../policy/decide.ts';
import { explain } from '../../policy/explain.ts';
import { Limits } from '../../policy/limits.ts';
import { scanSettings } from '../config/gateway-section.ts';
import { readGivenFile } from '../config/given-file.ts';
import { loadConfig } from '../config/load.ts';
import { InputFault } from '../config/problem.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { loadPolicyFile } from '../process/policy-file.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption, setupOptions } from './options.ts';
import { print, printJson } from './screen.ts';

// DESIGN §14: the largest message a gateway takes.
const maxMessageBytes = 35 * 1_048_576;
// One DNS query of two tries, as the gateway asks.
const queryMs = 2_000;
// A message decided from disk has no past: nobody was seen before, and nothing is remembered.
const noHistory: History = {
  of: async (_author, recipients) => ({ seenSender: false, firstTimeRecipients: recipients.length }),
  marks: () => [],
};

export const policyTest: Command = {
  name: 'policy test',
  summary: 'decide a message from disk as if it came in now, and say why; nothing is delivered',
  details:
    'DNS, and scanners where the configuration names some, are asked as the gateway would. Limits are as if this were the first message.',
  positionals: [{ name: 'FILE.eml', help: 'the message' }],
  options: {
    home: homeOption,
    policy: { value: 'FILE', help: 'this policy instead of the home’s' },
    ip: {
      value: 'ADDRESS',
      help: 'the client’s IP address (default: 192.0.2.1)',
      check: (text) => (isIP(text) === 0 ? 'an IP address' : undefined),
    },
    helo: { value: 'NAME', help: 'what the client calls itself (default: mail.example.net)' },
    from: { value: 'ADDRESS', help: 'the envelope sender; empty for <> (default: none)' },
    to: { value: 'ADDRESS', help: 'an envelope recipient (default: postmaster of the ring)' },
    dns: setupOptions['dns'] ?? { help: '' },
    json: jsonOption,
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const config = loadConfig(layout.config);
    const policy = loadPolicyFile(given.values['policy'] ?? layout.policy);
    const message = readMessage(given.positionals[0] ?? '');
    const {
      ip = '192.0.2.1',
      helo = 'mail.example.net',
      from = '',
      to = `postmaster@${ring.name}`,
      dns,
    } = given.values;
    const recipient = parseAddress(to);
    if (recipient.kind === 'invalid') {
      throw new InputFault([
        {
          file: 'command line',
          path: '--to',
          found: to,
          expected: `a mail address: ${recipient.reason}`,
          suggestion: 'correct it',
        },
      ]);
    }
    const { envelopeFacts, gatherAtData } = await import('../../gateway/evidence/gather.ts');
    const { verifyHere } = await import('../../gateway/evidence/verifier.ts');
    const { dnsLists } = await import('../../gateway/evidence/dns-lists.ts');
    const { scanners } = await import('../../gateway/scan/scanners.ts');
    const servers = dns === undefined ? (config.gateway?.dns.servers ?? []) : [dns];
    const resolver = createResolver({
      ...(servers.length === 0 ? {} : { servers }),
      timeoutMs: queryMs,
      now: Date.now,
    });
    const { evidence } = await gatherAtData(
      message,
      {
        client: { ...clientNetwork(ip), helo, name: '', iprev: 'none' },
        tls: { used: false, version: '', cipher: '' },
        envelope: envelopeFacts(from, [recipient.address]),
      },
      [recipient.address],
      {
        hostname: config.hostname,
        resolver,
        verify: verifyHere(resolver, Date.now),
        history: noHistory,
        lists: dnsLists(config.gateway?.dns.lists ?? { block: [], allow: [], domains: [] }, Date.now),
        scan: scanners(scanSettings(config.gateway)),
        ring: { name: ring.name, domains: ring.domains },
        evidenceMs: inboundLimits.evidenceMs,
        dnsLookups: inboundLimits.dnsLookups,
        now: Date.now,
        // Nothing was sent that this could answer.
        returned: new Set(),
      },
    );
    const decision = decide(policy, evidence, new Limits(), Date.now());
    if (given.switches.has('json')) printJson({ decision, evidence });
    else print(explain(decision, evidence));
    return exitCodes.done;
  },
};

function readMessage(file: string): Uint8Array {
  const bytes = readGivenFile(file, 'a message', maxMessageBytes);
  // On disk lines mostly end with LF alone; on the wire they end with CRLF (RFC 5322 §2.1), and signatures cover that.
  return Buffer.from(bytes.toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1');
}
