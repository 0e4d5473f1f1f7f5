import { availableParallelism } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SigningKeys } from '../../gateway/dkim/signing-keys.ts';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { verifyHere } from '../../gateway/evidence/verifier.ts';
import { startVerifyThreads } from '../../gateway/evidence/verify-threads.ts';
import { startGateway } from '../../gateway/gateway.ts';
import { connectDoor } from '../../node/door/client.ts';
import type { Door } from '../../node/door/door.ts';
import { type GatewayIdentity, GatewayPost } from '../../node/door/gateway-post.ts';
import { checkIdentityCertificate } from '../../node/identity/certificate.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { importIdentityKeys } from '../../node/identity/keys.ts';
import { openSeenIds } from '../../node/notify/seen.ts';
import type { LimitState, Limits } from '../../policy/limits.ts';
import type { Policy } from '../../policy/policy.ts';
import { gatewaySection, scanSettings } from '../config/gateway-section.ts';
import { InputFault } from '../config/problem.ts';
import type { Config, GatewaySection } from '../config/schema.ts';
import { doorPath } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { readHomeFile } from '../home/files.ts';
import { controlPath, type Layout } from '../home/layout.ts';
import { newTraceId } from '../trace/id.ts';
import type { TraceEvent } from '../trace/store.ts';
import { serveControl } from './control-socket.ts';
import { deliverySettings } from './delivery-settings.ts';
import { type HttpServer, startHttp } from './http-server.ts';
import { KeptLimits } from './kept-limits.ts';
import { openQueue } from './open-queue.ts';
import { type Part, type PartOptions, runPart } from './part.ts';
import { loadPolicyFile } from './policy-file.ts';
import { PolicyHistory } from './policy-history.ts';
import { publishRecord, type RecordToPublish } from './publish-record.ts';
import { publishedAliases } from './published-aliases.ts';
import { SharedLimits } from './shared-limits.ts';
import { storeGauge } from './store-gauge.ts';
import { TlsFiles } from './tls-files.ts';

const gatewayGraceMs = 3_000;
const lastWordsMs = 200;
const doorRetryMs = 100;
// One DNS query of two tries: with 2 s each a dead resolver costs a message 4 s, not a minute.
const dnsQueryMs = 2_000;
// The queue has just spoken to the same Redis.
const sharedLimitsMs = 2_000;
const republishMs = 86_400_000;
// Labels of metrics are kept by whoever collects them.
const maxPausesShown = 100;
const publishRetryMs = 10_000;
// Of several gateways each looks whether it is still named beside the others; one that published at the same moment may have left it out.
const lookAgainMs = 60_000;

/** What the gateway needs of the files that a person writes. */
interface Given {
  readonly section: GatewaySection;
  readonly policy: Policy;
  readonly tls: TlsFiles;
}

/** Runs the gateway of a home until told to stop. Its node must run or come up; until then it waits. Resolves with the exit code. */
export function runGateway(options: PartOptions): Promise<number> {
  return runPart('gateway', options, readGiven, startPart);
}

function readGiven(layout: Layout, config: Config): Given {
  return {
    section: gatewaySection(config, layout.config),
    policy: loadPolicyFile(layout.policy),
    tls: new TlsFiles(layout, config),
  };
}

async function startPart(part: Part, { section, policy: firstPolicy, tls }: Given): Promise<Record<string, string>> {
  const { layout, ring, config, passphrase, log, traces, lifetime, closing } = part;
  let policy = firstPolicy;
  const history = new PolicyHistory(layout.policyHistory);
  // A history that cannot be written is no reason not to take mail.
  const keepPolicy = (why: string): void => {
    try {
      history.keep(policy, { file: layout.policy, why, now: Date.now() });
    } catch (fault) {
      log.error({ fault }, 'the policy in force could not be put into its history');
    }
  };
  keepPolicy('in force at a start');
  const dkim = await SigningKeys.open({
    dir: layout.gateway.dkim,
    onChange: (selectors) => log.info({ selectors }, 'the DKIM keys that sign are read again'),
    onFault: (fault) => log.error({ fault }, 'the DKIM keys could not be read again; those from before go on signing'),
  });
  closing.add(() => dkim.stop());
  const queue = await openQueue(layout, section.queue, { role: 'owner', ring: ring.name, log });
  closing.add(() => queue.close());
  const kept = new KeptLimits({
    folder: layout.gateway.limits,
    now: Date.now,
    onFault: (fault) =>
      log.error({ fault }, 'the limits of senders cannot be written down; a restart would forget them'),
  });
  closing.add(() => kept.stop());
  const limits = await limitsOf(section, ring.name, kept.limits, part);

  const door = connectDoor({ path: doorPath(layout), log });
  closing.add(() => door.close());
  await whenConnected(door, lifetime.signal);
  const trust = await door.trust();
  const identityOf = async (keyFile: string, certificateFile: string): Promise<GatewayIdentity> => {
    const check = checkIdentityCertificate(readHomeFile(certificateFile, 'the certificate'), trust);
    if (check.kind === 'invalid' || check.kind === 'revoked')
      throw new HomeFault(
        'damaged',
        `the certificate ${certificateFile} does not hold: ${check.reason}; restore the home from a backup`,
      );
    const secret = await readKeyFile(keyFile, {
      kind: 'identity',
      ...(passphrase === undefined ? {} : { passphrase }),
    });
    return { certificate: check.certificate, keys: importIdentityKeys(secret) };
  };
  const identity = await identityOf(layout.gateway.key, layout.gateway.certificate);
  const mailerDaemon = await identityOf(layout.gateway.mailerDaemonKey, layout.gateway.mailerDaemonCertificate);
  const seen = openSeenIds({ dir: path.join(layout.gateway.folder, 'seen'), now: Date.now });
  closing.add(() => seen.stop());
  const post = new GatewayPost({ door, identity, mailerDaemon, hostname: config.hostname, seen, now: Date.now });

  const aliases = publishedAliases(section.aliases, ring, log);
  // Several gateways with different lists would otherwise overtake each other for ever: the one that started last counts.
  let stated = false;
  let publishing: NodeJS.Timeout | undefined;
  // A ring of which too few answer must not keep the gateway from starting: those who write to it are told to come again, and it heals by itself.
  const publish = async (): Promise<void> => {
    const gateway = { ...identity, aliases, keepAliases: queue.isShared && stated };
    const published = await publishIdentities(door, [gateway, mailerDaemon], queue.isShared).then(
      () => {
        stated = true;
        return true;
      },
      (fault: unknown) => {
        log.warn({ fault, retryInMs: publishRetryMs }, 'the gateway’s directory entry could not be published');
        return false;
      },
    );
    if (!lifetime.signal.aborted) {
      const againMs = queue.isShared ? lookAgainMs : republishMs;
      publishing = setTimeout(republish, published ? againMs : publishRetryMs);
    }
  };
  // It never rejects.
  const republish = (): void => {
    publish().catch((fault: unknown) =>
      log.error({ fault }, 'the gateway’s directory entry is not published any more'),
    );
  };
  closing.add(() => clearTimeout(publishing));
  await publish();

  let http: HttpServer | undefined;
  const trace = (id: string, event: TraceEvent): void => {
    traces.record(id, event);
    http?.count(event);
    log.info({ trace: id, ...event, steps: undefined, evidence: undefined, provenance: undefined }, event.what);
  };
  const dns = {
    ...(section.dns.servers.length === 0 ? {} : { servers: section.dns.servers }),
    timeoutMs: dnsQueryMs,
  };
  const resolver = createResolver({ ...dns, now: Date.now });
  const threads = startVerifyThreads({ count: verifyThreadCount(), dns, here: verifyHere(resolver, Date.now), log });
  closing.add(() => threads.stop());
  const gateway = await startGateway({
    config: {
      hostname: config.hostname,
      mx: section.mx,
      aliases: section.aliases,
      exemptNetworks: section.exempt,
      proxies: section.proxies,
      delivery: deliverySettings(section, log),
      automatic: section.automatic,
      tlsReports: section.tlsReports,
    },
    ring,
    identity,
    post,
    door,
    queue,
    policy: () => policy,
    limits,
    resolver,
    verify: threads.verify,
    dnsLists: section.dns.lists,
    scan: scanSettings(section),
    tls,
    dkim: () => dkim.current(),
    ledgerDir: layout.gateway.ledger,
    tlsReportDir: layout.gateway.tlsReports,
    onStorageBroken: () => {
      log.error({}, 'the queue gave up on its disk and has to be opened anew; the gateway starts again');
      // The supervisor, or systemd, does that, with growing waits. Nothing acknowledged is in memory only; the log has a moment to be written.
      setTimeout(() => process.exit(1), lastWordsMs);
    },
    trace,
    log,
    now: Date.now,
    random: Math.random,
    newTraceId: () => newTraceId(Date.now()),
  });
  closing.add(() => gateway.stop(gatewayGraceMs));

  const readAgain = (what: string, read: () => object): void => {
    try {
      log.info(read(), `the ${what} is read again`);
    } catch (fault) {
      const problems = fault instanceof InputFault ? fault.problems : String(fault);
      log.error({ problems }, `the new ${what} has problems; the old one stays`);
    }
  };
  // Between two decisions: a session that is open has its next step decided by the new one.
  const readPolicy = (): { policy: string } => {
    readAgain('policy', () => {
      const next: Policy = loadPolicyFile(layout.policy);
      policy = next;
      keepPolicy('read again');
      return { policy: next.hash };
    });
    return { policy: policy.hash };
  };
  const control = await serveControl(controlPath(layout), { 'reload-policy': readPolicy });
  closing.add(() => control.close());
  lifetime.onReload(() => {
    // It never rejects.
    dkim.refresh().catch((fault: unknown) => log.error({ fault }, 'the DKIM keys are not followed any more'));
    // Each by itself: a mistake in one must not keep the other from being taken up, nor be told of the other.
    readPolicy();
    readAgain('pair of TLS files', () => {
      tls.reload();
      return {};
    });
  });

  if (config.http !== null) {
    http = await startHttp({
      listen: config.http,
      health: async () => {
        const health = gateway.health();
        return [
          { part: 'gateway', ok: health.ok, ...(health.ok ? {} : { why: health.why }) },
          { part: 'node', ok: door.connected() },
        ];
      },
      gauges: [
        { ...storeGauge, read: async () => storeNumbers(await door.call('store-stats', {})) },
        { name: 'epost_queue_jobs', help: 'jobs in the queue', label: 'state', read: () => queue.counts() },
        {
          name: 'epost_queue_paused',
          help: 'lanes that an operator has paused; * is all of them',
          label: 'lane',
          read: async () =>
            Object.fromEntries((await queue.pauses()).slice(0, maxPausesShown).map(({ lane }) => [lane, 1])),
        },
        {
          name: 'epost_storage_shut',
          help: '1 while no mail is taken because the disk is not well',
          label: 'part',
          read: async () => ({ gateway: gateway.health().ok ? 0 : 1 }),
        },
        {
          name: 'epost_smtp_sessions',
          help: 'sessions open at the MX listener',
          label: 'listener',
          read: async () => ({ mx: gateway.sessions() }),
        },
      ],
    });
    const server = http;
    closing.add(() => server.stop());
  }
  log.info({ port: gateway.ports.mx, policy: policy.hash }, 'the gateway is ready');
  return { mx: `${section.mx.host}:${gateway.ports.mx}`, ...(http === undefined ? {} : { http: http.address }) };
}

function storeNumbers(told: unknown): Readonly<Record<string, number>> {
  return (told as { stats: Readonly<Record<string, number>> }).stats;
}

/** Gateways that share a queue share the limits, too. */
async function limitsOf(
  { queue }: GatewaySection,
  ring: string,
  own: Limits,
  { log, closing }: Part,
): Promise<LimitState> {
  if (queue.kind === 'embedded') return own;
  const shared = new SharedLimits({ url: queue.url, name: `epost-${ring}`, own, now: Date.now, log });
  closing.add(() => shared.stop());
  await shared.ready(sharedLimitsMs);
  return shared;
}

// One for each further core: the event loop has the first. Beyond two they wait for it.
function verifyThreadCount(): number {
  return Math.min(availableParallelism() - 1, 2);
}

async function whenConnected(door: Door, signal: AbortSignal): Promise<void> {
  while (!door.connected() && !signal.aborted) await sleep(doorRetryMs);
}

/** `together`: other nodes may be at home for the same identities, as long as they are up. */
async function publishIdentities(
  door: Door,
  identities: readonly (GatewayIdentity & Pick<RecordToPublish, 'aliases' | 'keepAliases'>)[],
  together: boolean,
): Promise<void> {
  const { peerId, members } = (await door.call('status', {})) as {
    peerId: string;
    members: readonly { peerId: string; up: boolean }[];
  };
  const up = new Set(members.filter((member) => member.up).map((member) => member.peerId));
  for (const { certificate, keys, aliases, keepAliases = false } of identities) {
    await publishRecord({
      store: {
        lookupIdentity: (address) => door.lookup(address),
        publishIdentity: (entry) => door.call('publish', entry),
      },
      peerId,
      ...(together ? { alsoAt: (contacts: readonly string[]) => contacts.filter((one) => up.has(one)) } : {}),
      address: certificate.address,
      certificate: certificate.bytes,
      signing: keys.signing,
      now: Date.now(),
      aliases,
      keepAliases,
    });
  }
}
