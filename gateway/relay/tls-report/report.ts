/** The report of one domain's day as RFC 8460 §4.4 has it. Pure. */
import type { DayCounts, PolicyCount } from './day-tally.ts';

export interface Reporter {
  readonly organization: string;
  /** Whom to ask about it. */
  readonly contact: string;
  /** The domain that sends. */
  readonly domain: string;
}

/** JSON as it is sent; undefined where nothing was sent to the domain that day. */
export function tlsReport(day: DayCounts, domain: string, reporter: Reporter): object | undefined {
  const policies = day.policies.filter((policy) => policy.domain === domain);
  if (policies.length === 0) return undefined;
  return {
    'organization-name': reporter.organization,
    'date-range': { 'start-datetime': `${day.day}T00:00:00Z`, 'end-datetime': `${day.day}T23:59:59Z` },
    'contact-info': reporter.contact,
    'report-id': `${day.day}_${domain}@${reporter.domain}`,
    policies: policies.map(policyPart),
  };
}

function policyPart({ domain, type, strings, mx, successful, failed, failures }: PolicyCount): object {
  return {
    policy: {
      'policy-type': type,
      ...(strings.length === 0 ? {} : { 'policy-string': strings }),
      'policy-domain': domain,
      ...(mx.length === 0 ? {} : { 'mx-host': mx }),
    },
    summary: { 'total-successful-session-count': successful, 'total-failure-session-count': failed },
    ...(failures.length === 0
      ? {}
      : {
          'failure-details': failures.map((one) => ({
            'result-type': one.type,
            ...(one.server === undefined ? {} : { 'receiving-mx-hostname': one.server }),
            ...(one.address === undefined ? {} : { 'receiving-ip': one.address }),
            'failed-session-count': one.count,
            'failure-reason-code': one.reason,
          })),
        }),
  };
}
