import { dayOf } from '../../gateway/relay/tls-report/day-tally.ts';
import { tlsReport } from '../../gateway/relay/tls-report/report.ts';
import { daysIn, readDay } from '../../gateway/relay/tls-report/tls-book.ts';
import { parseDomain } from '../../policy/address.ts';
import { loadConfig } from '../config/load.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

function isDay(text: string): boolean {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(text) : Number.NaN;
  return !Number.isNaN(at) && dayOf(at) === text;
}

export const tlsReportCommand: Command = {
  name: 'tls report',
  summary: 'how secure the connections were over which mail went out on a day, by domain',
  details:
    'With --json the reports of RFC 8460, one for each domain that mail went to. Days are those of UTC; what is counted is on disk within a minute, for 30 days.',
  positionals: [],
  options: {
    home: homeOption,
    json: jsonOption,
    day: {
      value: 'YYYY-MM-DD',
      help: 'the day (default: today)',
      check: (text) => (isDay(text) ? undefined : 'a day such as 2026-11-26'),
    },
    domain: {
      value: 'NAME',
      help: 'only this domain',
      check: (text) => (parseDomain(text) === undefined ? 'a domain name such as example.net' : undefined),
    },
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    const ring = readRing(layout);
    const { hostname } = loadConfig(layout.config);
    const day = given.values['day'] ?? dayOf(Date.now());
    const wanted = given.values['domain'] === undefined ? undefined : parseDomain(given.values['domain']);
    const counts = readDay(layout.gateway.tlsReports, day);
    const policies = (counts?.policies ?? []).filter(({ domain }) => wanted === undefined || domain === wanted);
    if (counts === undefined || policies.length === 0) {
      if (given.switches.has('json')) printJson({ day, reports: [] });
      const days = daysIn(layout.gateway.tlsReports);
      const kept = days.length === 0 ? 'nothing is kept yet' : `kept are ${days[0]} to ${days.at(-1)}`;
      process.stderr.write(
        `epost: no connections to MX hosts${wanted === undefined ? '' : ` of ${wanted}`} are counted for ${day}; ${kept}\n`,
      );
      return exitCodes.notFound;
    }
    if (given.switches.has('json')) {
      const reporter = { organization: ring.name, contact: `postmaster@${ring.name}`, domain: hostname };
      const domains = [...new Set(policies.map(({ domain }) => domain))];
      printJson({ day, reports: domains.map((domain) => ({ domain, report: tlsReport(counts, domain, reporter) })) });
    } else {
      print(
        tableText(
          ['DOMAIN', 'POLICY', 'FINE', 'FAILED', 'WHY'],
          policies.map(({ domain, type, successful, failed, failures }) => [
            domain,
            type,
            String(successful),
            String(failed),
            printable(
              failures.map((one) => `${one.count} ${one.type} (${one.server ?? 'policy'}: ${one.reason})`).join('; '),
            ),
          ]),
        ),
      );
      if (counts.uncounted > 0)
        print(`${counts.uncounted} further sessions were of more domains than are counted in a day`);
    }
    return exitCodes.done;
  },
};
