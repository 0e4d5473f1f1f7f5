/** The relay put together: requests from the ring in, mail to the Internet out. */
import type { RelayAnswer, RelayRequest } from '../../node/door/gateway-post.ts';
import type { Address } from '../../policy/address.ts';
import type { Queue } from '../../queue/queue.ts';
import type { AutomaticBudget } from '../automatic-budget.ts';
import type { Resolver } from '../dns/answer.ts';
import type { ReturnPaths } from '../returns/return-path.ts';
import type { StorageGate } from '../storage/gate.ts';
import { defaultRetry, type RetrySettings } from './backoff.ts';
import { defaultTimes, type SmtpTimes } from './connection.ts';
import { deliverWorker } from './deliver.ts';
import type { RelayLog, Told, Trace } from './deliver-parts.ts';
import { Intake, type IntakeParts } from './intake.ts';
import { Ledger } from './ledger.ts';
import type { NoticeFacts } from './notice.ts';
import { defaultPaceLimits, type PaceLimits } from './pace/group-pace.ts';
import { HostPace } from './pace/host-pace.ts';
import { SmtpPool } from './pool.ts';
import { lanePrefix } from './relay-job.ts';
import { ResolverWatch } from './resolver-watch.ts';
import { sendingHistory } from './sending-history.ts';
import { type NamedHost, namedRoute, type StaticRoute } from './static-routes.ts';
import { Suppression } from './suppression.ts';
import { type ReportSender, type ReportSenderParts, startReportSender } from './tls-report/report-sender.ts';
import { TlsBook } from './tls-report/tls-book.ts';
import { transportSecurity } from './transport/security.ts';
import { StsBook } from './transport/sts-book.ts';
import { fetchStsPolicy } from './transport/sts-fetch.ts';

export interface RelaySettings {
  /** 25 unless set. */
  readonly mxPort?: number;
  /** Where everything goes for which no route says otherwise. */
  readonly smarthost?: NamedHost;
  readonly routes?: readonly StaticRoute[];
  /** Whether the resolver's AD bit counts: DANE needs it. */
  readonly validating?: boolean;
  /** Where MTA-STS policies are fetched, for trials: another port, a further authority (PEM). */
  readonly policyHosts?: { readonly port: number; readonly ca: string };
  /** Mail servers in private networks and on this machine, for trials; never on the Internet. */
  readonly allowPrivate?: boolean;
  /** Whether mail goes to address literals (RFC 5321 §4.1.3). */
  readonly addressLiterals?: boolean;
  /** Of this machine on the Internet: no mail goes there. */
  readonly ownAddresses?: readonly string[];
  readonly retry?: RetrySettings;
  readonly times?: SmtpTimes;
  /** Deliveries at once: in all, and to servers of one group: at first, and at most. */
  readonly concurrency?: number;
  readonly pace?: PaceLimits;
}

/** What the relay needs of the ring; GatewayPost fits, with `fetch` and `store` bound to it. */
export interface RelayPost {
  onRelayRequest(handler: (request: RelayRequest) => Promise<RelayAnswer>): () => void;
  sendNotice(facts: NoticeFacts, to: Address): Promise<Told>;
  fetch(ref: unknown): Promise<Uint8Array>;
  store(bytes: Uint8Array, salt: Uint8Array): Promise<unknown>;
}

export interface RelayOptions
  extends Pick<
    IntakeParts,
    'hostname' | 'ring' | 'aliasOf' | 'ownersOf' | 'forwardPath' | 'decide' | 'dkim' | 'maxMessageBytes'
  > {
  readonly queue: Queue;
  /** Shut while the disk is not well: then nothing is taken, and no attempt begins. */
  readonly storage: Pick<StorageGate, 'shut' | 'whenOpen'>;
  /** A bound for automatic mail; none where it is absent. */
  readonly automatic?: Pick<AutomaticBudget, 'pace'>;
  /** That others of this process add to, too. */
  readonly suppression?: Suppression;
  readonly post: RelayPost;
  readonly resolver: Resolver;
  readonly returnPaths: Pick<ReturnPaths, 'sign'>;
  readonly settings: RelaySettings;
  /** A folder of its own. */
  readonly ledgerDir: string;
  /** A folder of its own, for what TLS came to each day (RFC 8460). */
  readonly tlsReportDir: string;
  /** Domains that want it get the TLS reports of each day (RFC 8460); nobody does where it is absent. */
  readonly tlsReports?: Pick<ReportSenderParts, 'newTraceId'>;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: RelayLog;
  readonly trace: Trace;
}

export interface Relay {
  /** Takes no further request, ends what is running or gives it back, closes all connections. */
  stop(graceMs: number): Promise<void>;
}

/** Most of the time of a delivery is waiting; dead and slow hosts hold places for half a minute, and leave half of these to the others. */
const defaultConcurrency = 200;
/** Messages in memory. */
const maxBytesAtOnce = 128 * 1024 * 1024;

export function startRelay(options: RelayOptions): Relay {
  const { queue, post, resolver, settings, hostname, now, random, log, trace, ring } = options;
  const pool = new SmtpPool({
    hostname,
    times: settings.times ?? defaultTimes,
    onLoginRefused: ({ name, port }, user, reply) =>
      log.error(
        { host: `${name}:${port}`, user, reply },
        'the host that mail goes through refuses our login; the mail waits',
      ),
  });
  const allowPrivate = settings.allowPrivate ?? false;
  const tls = new TlsBook({
    folder: options.tlsReportDir,
    now,
    onFault: (fault) => log.error({ fault: String(fault) }, 'what TLS came to cannot be written down'),
  });
  const book = new StsBook({
    resolver,
    marks: queue,
    fetch: (domain) => fetchStsPolicy(domain, { resolver, allowPrivate, ...settings.policyHosts }),
    onFailure: (domain, type, reason) =>
      tls.add({ domain, policy: { type: 'sts', strings: [], mx: [] }, failure: { type, reason } }),
    now,
    log,
  });
  const transport = transportSecurity({
    resolver,
    policyFor: (domain) => book.policyFor(domain),
    marks: queue,
    now,
    log,
  });
  const ledger = new Ledger(options.ledgerDir, now, queue.isShared ? queue : undefined);
  const concurrency = settings.concurrency ?? defaultConcurrency;
  const limits = settings.pace ?? defaultPaceLimits;
  const pace = new HostPace({ marks: queue, total: concurrency, limits, now, random, log });
  const worker = deliverWorker({
    resolver,
    pool,
    transport,
    tlsResult: (result) => tls.add(result),
    ledger,
    pace,
    resolverWatch: new ResolverWatch({ resolver, now, random }),
    suppression: options.suppression ?? new Suppression(queue, now),
    hostname,
    returnPaths: options.returnPaths,
    route: {
      mxPort: settings.mxPort ?? 25,
      ownNames: [hostname.toLowerCase(), ...ring.domains],
      ownAddresses: settings.ownAddresses ?? [],
      allowPrivate,
      validating: settings.validating ?? false,
      named: namedRoute(settings.routes ?? [], settings.smarthost),
    },
    retry: settings.retry ?? defaultRetry,
    now,
    random,
    log,
    trace,
    fetch: (ref) => post.fetch(ref),
    // Intake took the identity's address from its certificate, which holds canonical ones only.
    notifyFailure: (facts, identity) => post.sendNotice(facts, identity as Address),
  });
  const handle = queue.work(
    {
      match: (lane) => lane.startsWith(lanePrefix),
      concurrency,
      perLane: limits.maxPlaces,
      maxBytes: maxBytesAtOnce,
      // Of a message in the ring the job has the key only, and the attempt fetches it.
      bytesOf: ({ bytes }) => (typeof bytes === 'number' ? bytes : 0),
      pace,
    },
    options.storage.whenOpen(options.automatic?.pace(worker) ?? worker),
  );
  const intake = new Intake({
    ...options,
    takesLiterals: settings.addressLiterals,
    history: sendingHistory(queue, now),
    store: (bytes, salt) => post.store(bytes, salt),
  });
  const reports = options.tlsReports === undefined ? undefined : reportsOf(options, options.tlsReports.newTraceId);
  const detach = post.onRelayRequest((request) => intake.take(request));
  return {
    async stop(graceMs) {
      detach();
      await Promise.all([handle.stop(graceMs), reports?.stop()]);
      pool.close();
      ledger.close();
      tls.stop();
    },
  };
}

function reportsOf(options: RelayOptions, newTraceId: () => string): ReportSender {
  const { hostname, ring, resolver, settings } = options;
  return startReportSender({
    ...options,
    newTraceId,
    folder: options.tlsReportDir,
    reporter: { organization: ring.name, contact: `postmaster@${ring.name}`, domain: hostname },
    https: { resolver, allowPrivate: settings.allowPrivate ?? false, ca: settings.policyHosts?.ca },
  });
}
