import { readStagedKeys } from '../../gateway/dkim/key-stages.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import type { Stage } from '../../gateway/dkim/stages.ts';
import { gatewaySection } from '../config/gateway-section.ts';
import { loadConfig } from '../config/load.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { checkPublished } from './dns-published.ts';
import { resolverOf } from './dns-resolver.ts';
import { txtRecordText } from './dns-text.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

export interface DnsRecord {
  readonly name: string;
  readonly type: 'MX' | 'TXT' | 'A';
  /** As character-strings where the type is TXT (RFC 1035 §3.3.14: at most 255 octets each). */
  readonly value: string | readonly string[];
  readonly why: string;
}

const keyUse: Readonly<Record<Stage, string>> = {
  new: 'a key that will sign what leaves: publish it, then `epost dkim rotate`',
  published: 'a key that will sign what leaves',
  signing: 'the key that signs what leaves',
  retiring: 'a key that signed what left: it stays while such mail is under way',
};

export const dns: Command = {
  name: 'dns',
  summary: 'print the DNS records to publish, so that mail comes here and what leaves is believed',
  positionals: [],
  options: {
    home: homeOption,
    json: jsonOption,
    check: {
      help: 'ask the DNS instead, and say what of it is published and what is wrong; exit code 1 if anything is',
    },
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const config = loadConfig(layout.config);
    gatewaySection(config, layout.config);
    const keys = await readStagedKeys(layout.gateway.dkim);
    const records = ring.domains.flatMap((domain): DnsRecord[] => [
      {
        name: domain,
        type: 'MX',
        value: `10 ${config.hostname}.`,
        why: 'other servers bring mail here (RFC 5321 §5.1)',
      },
      {
        name: domain,
        type: 'TXT',
        value: ['v=spf1 mx -all'],
        why: 'only the MX host sends for the domain (RFC 7208); add others that do',
      },
      ...keys.map(({ key, stage }): DnsRecord => {
        const record = dkimRecord(key, domain);
        return {
          name: record.name,
          type: 'TXT',
          value: record.strings,
          why: `${keyUse[stage]} (${key.algorithm}, RFC 6376)`,
        };
      }),
      {
        name: `_dmarc.${domain}`,
        type: 'TXT',
        value: [`v=DMARC1; p=none; rua=mailto:postmaster@${domain}`],
        why: 'begin with p=none; go to quarantine and reject when the reports show only your own mail (RFC 9989)',
      },
    ]);
    if (given.switches.has('check')) {
      const { dns: settings } = gatewaySection(config, layout.config);
      const signing = keys.filter(({ stage }) => stage === 'signing').map(({ key }) => key);
      const domains = [...new Set([ring.name, ...ring.domains])];
      const findings = await checkPublished(
        { hostname: config.hostname, domains, keys: signing },
        resolverOf(settings),
      );
      if (given.switches.has('json')) printJson({ hostname: config.hostname, findings });
      else
        print(
          tableText(
            ['STATE', 'RECORD', 'FOUND'],
            findings.map(({ state, record, found }) => [state, record, printable(found)]),
          ),
        );
      return findings.some(({ state }) => state === 'wrong' || state === 'missing') ? exitCodes.failed : exitCodes.done;
    }
    if (given.switches.has('json')) printJson({ hostname: config.hostname, records });
    else {
      print(
        `; ${config.hostname} itself needs A/AAAA records, and its addresses a PTR record with that name (RFC 5321 §4.1.4, iprev)`,
      );
      for (const { name, type, value, why } of records) {
        print(
          `; ${why}\n${typeof value === 'string' ? `${name}.  IN  ${type}  ${value}` : txtRecordText(name, value)}`,
        );
      }
    }
    return exitCodes.done;
  },
};
