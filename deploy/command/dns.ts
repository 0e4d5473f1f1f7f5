import { readDkimKeys } from '../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import { gatewaySection } from '../config/gateway-section.ts';
import { loadConfig } from '../config/load.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';

export interface DnsRecord {
  readonly name: string;
  readonly type: 'MX' | 'TXT' | 'A';
  /** As character-strings where the type is TXT (RFC 1035 §3.3.14: at most 255 octets each). */
  readonly value: string | readonly string[];
  readonly why: string;
}

export const dns: Command = {
  name: 'dns',
  summary: 'print the DNS records to publish, so that mail comes here and what leaves is believed',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const config = loadConfig(layout.config);
    gatewaySection(config, layout.config);
    const keys = await readDkimKeys(layout.gateway.dkim);
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
      ...keys.map((key): DnsRecord => {
        const record = dkimRecord(key, domain);
        return {
          name: record.name,
          type: 'TXT',
          value: record.strings,
          why: `the ${key.algorithm} key that signs what leaves (RFC 6376)`,
        };
      }),
      {
        name: `_dmarc.${domain}`,
        type: 'TXT',
        value: [`v=DMARC1; p=none; rua=mailto:postmaster@${domain}`],
        why: 'begin with p=none; go to quarantine and reject when the reports show only your own mail (RFC 9989)',
      },
    ]);
    if (given.switches.has('json')) printJson({ hostname: config.hostname, records });
    else {
      print(
        `; ${config.hostname} itself needs A/AAAA records, and its addresses a PTR record with that name (RFC 5321 §4.1.4, iprev)`,
      );
      for (const { name, type, value, why } of records) {
        const text = typeof value === 'string' ? value : `( ${value.map((part) => `"${part}"`).join('\n    ')} )`;
        print(`; ${why}\n${name}.  IN  ${type}  ${text}`);
      }
    }
    return exitCodes.done;
  },
};
