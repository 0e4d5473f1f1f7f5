import { createHash } from 'node:crypto';
import type { Door } from '../node/door/door.ts';
import { type GatewayIdentity, type GatewayPost, isFinalFault } from '../node/door/gateway-post.ts';
import type { Address, Domain } from '../policy/address.ts';
import { decide } from '../policy/decide.ts';
import type { LimitState } from '../policy/limits.ts';
import type { Policy } from '../policy/policy.ts';
import type { Queue, QueueHealth } from '../queue/queue.ts';
import {
  type AutomaticBudget,
  type AutomaticRates,
  automaticBudget,
  defaultAutomaticRates,
} from './automatic-budget.ts';
import { bounceJob } from './bounce.ts';
import type { DkimKey } from './dkim/keys.ts';
import type { Resolver } from './dns/answer.ts';
import { type DnsListZones, dnsLists } from './evidence/dns-lists.ts';
import { historyIn } from './evidence/history.ts';
import type { Verify } from './evidence/verifier.ts';
import { aliasMap } from './inbound/alias-map.ts';
import { type DeliveryParts, type FailedRecipient, saltFor, startDelivery } from './inbound/deliver.ts';
import { defaultInboundLimits, type InboundLimits, ringMessageBytes } from './inbound/limits.ts';
import { type Listener, startListener } from './inbound/listener.ts';
import type { InboundParts, Log, Trace } from './inbound/parts.ts';
import { awaitedReceipts } from './inbound/receipts.ts';
import { sentBackJob } from './inbound/send-back.ts';
import type { TlsOptions } from './inbound/smtp/certificates.ts';
import { learnOfBounce } from './relay/bounced-address.ts';
import type { NoticeFacts } from './relay/notice.ts';
import { type RelaySettings, startRelay } from './relay/relay.ts';
import { Suppression } from './relay/suppression.ts';
import { type ReturnPaths, returnPaths } from './returns/return-path.ts';
import { type ScanSettings, scanners } from './scan/scanners.ts';
import { type StorageGate, startStorageGate } from './storage/gate.ts';
import { tryDisk } from './storage/try-disk.ts';

export interface GatewayConfig {
  readonly hostname: string;
  readonly mx: { readonly host: string; readonly port: number };
  /** Names (of every domain) or addresses that stand for a user. */
  readonly aliases: Readonly<Record<string, Address>>;
  readonly exemptNetworks: readonly string[];
  /** Addresses and networks whose PROXY protocol header is believed. */
  readonly proxies: readonly string[];
  readonly delivery: RelaySettings;
  /** Whether domains that want them get TLS reports (RFC 8460). */
  readonly tlsReports?: boolean;
  /** How much mail that no person sends may go out; a default where it is absent. */
  readonly automatic?: AutomaticRates;
  /** Over the defaults of inbound/limits.ts. */
  readonly inbound?: Partial<InboundLimits>;
}

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly ring: { readonly name: Domain; readonly domains: readonly Domain[] };
  readonly identity: GatewayIdentity;
  readonly post: GatewayPost;
  readonly door: Door;
  readonly queue: Queue;
  /** The policy in force; asked for at each decision. */
  readonly policy: () => Policy;
  readonly limits: LimitState;
  readonly resolver: Resolver;
  /** The checks of a message that came in. */
  readonly verify: Verify;
  /** DNS block and allow lists that are asked about each message. */
  readonly dnsLists: DnsListZones;
  /** Scanners of content that are asked about each message. */
  readonly scan: ScanSettings;
  /** Certificates and keys for STARTTLS, and when they change. */
  readonly tls: {
    readonly current: () => TlsOptions;
    readonly onChange: (listener: () => void) => () => void;
  };
  /** The keys that sign now, for every domain of the ring; asked for at each message. */
  readonly dkim: () => readonly DkimKey[];
  readonly ledgerDir: string;
  readonly tlsReportDir: string;
  /** The queue cannot be used any more by this process; a new one can. */
  readonly onStorageBroken: () => void;
  readonly trace: Trace;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
  readonly newTraceId: () => string;
}

export interface Gateway {
  readonly ports: { readonly mx: number };
  /** Sessions open at the MX listener. */
  readonly sessions: () => number;
  /** Not ok: mail is refused for now (421, 451) and deliveries pause, and why. */
  readonly health: () => QueueHealth;
  /** Takes nothing new, lets what is under way end for up to `graceMs`, and gives the rest back to the queue. */
  readonly stop: (graceMs: number) => Promise<void>;
}

// DESIGN §6: what is stored lives 28 days from now; recipients renew what they keep.
const leaseMs = 28 * 86_400_000;

/** Starts both directions. Resolves when the MX listener takes connections; rejects if its port is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { tls, config } = options;
  const { fetch } = ringStore(options);
  const storage = await startStorageGate({
    ...options,
    tryDisk: () => tryDisk(options.ledgerDir),
    onBroken: options.onStorageBroken,
  });
  const receipts = awaitedReceipts({ ...options, fetch, notifySender: (failed) => bounce(options, failed) });
  const budget = automaticBudget({ ...options, rates: config.automatic ?? defaultAutomaticRates });
  const suppression = new Suppression(options.queue, options.now);
  const relay = startRelayOf(options, storage, { budget, suppression });
  const delivery = startDelivery(deliveryParts(options, storage, { budget, suppression }, receipts.expect));
  let listener: Listener;
  try {
    listener = await startListener(inboundParts(options, storage), {
      ...config.mx,
      tls: tls.current(),
      proxies: config.proxies,
    });
  } catch (error) {
    // A port that is taken must leave nothing running behind.
    receipts.stop();
    await Promise.all([delivery.stop(0), relay.stop(0), storage.stop()]);
    throw error;
  }
  const forget = tls.onChange(() => listener.useCertificate(tls.current()));
  return {
    ports: { mx: listener.port },
    sessions: listener.sessions,
    health: () => {
      const shut = storage.shut();
      return shut === undefined ? { ok: true } : { ok: false, why: shut.why };
    },
    async stop(graceMs) {
      forget();
      await listener.stop(graceMs);
      await Promise.all([delivery.stop(graceMs), relay.stop(graceMs)]);
      receipts.stop();
      await storage.stop();
    },
  };
}

/** What both directions take from and add to. */
interface Shared {
  readonly budget: AutomaticBudget;
  readonly suppression: Suppression;
}

function inboundParts(options: GatewayOptions, storage: StorageGate): InboundParts {
  const { config, ring, identity, post, queue } = options;
  const { store } = ringStore(options);
  return {
    ...options,
    storage,
    config: {
      hostname: config.hostname,
      ring: ring.name,
      domains: [ring.name, ...ring.domains.filter((domain) => domain !== ring.name)],
      aliases: aliasMap(config.aliases, [ring.name, ...ring.domains]),
      gateway: identity.certificate.address,
    },
    limits: { ...defaultInboundLimits, exemptNetworks: config.exemptNetworks, ...config.inbound },
    lookup: (address) => post.lookup(address),
    store: (message, trace) => store(message, saltFor(secretOf(identity), trace)),
    policyLimits: options.limits,
    history: historyIn(queue, options.now),
    lists: dnsLists(options.dnsLists, options.now),
    scan: scanners(options.scan),
    signer: identity.keys.signing,
    returnPaths: returnPathsOf(identity),
    mayPost: mayPost(options),
  };
}

/** The node has the list, or can read who belongs to it where that is public. */
function mayPost({ door, log }: GatewayOptions): NonNullable<InboundParts['mayPost']> {
  return async (list, author) => {
    try {
      const told = await door.call('list-may-post', { list, ...(author === undefined ? {} : { author }) });
      return typeof told === 'boolean' ? told : undefined;
    } catch (error) {
      log.warn({ list, err: error }, 'who may write to a list could not be asked; its own node decides');
      return undefined;
    }
  };
}

/** The ring's store as our queue jobs know it: a reference is carried as it is, in DAG-CBOR. */
function ringStore({ post, identity, now }: GatewayOptions): Pick<DeliveryParts, 'store' | 'fetch'> {
  const lease = (): { identity: Address; until: number } => ({
    identity: identity.certificate.address,
    until: now() + leaseMs,
  });
  return {
    store: async (message, salt) => ({ ...(await post.store(message, { salt, lease: lease() })) }),
    fetch: (message) => post.fetch(message as never),
  };
}

function deliveryParts(
  options: GatewayOptions,
  storage: StorageGate,
  { budget, suppression }: Shared,
  expect: DeliveryParts['awaitReceipt'],
): DeliveryParts {
  const { config, ring, post, queue, identity, resolver, trace, log, now } = options;
  return {
    ...ringStore(options),
    queue,
    storage,
    deliver: ({ message, ...what }) => post.deliver({ ...what, message: message as never }),
    notifySender: (failed) => bounce(options, failed),
    sendNotice: noticesWithin(budget, post),
    learnOfBounce: (recipient, reporter, of) => learnOfBounce({ suppression, resolver, now }, recipient, reporter, of),
    senderOf: (address) => {
      const returned = returnPathsOf(identity).open(address, now());
      return returned.kind === 'forwarded' ? returned.address : undefined;
    },
    sendBack: async (report) => {
      await queue.add([sentBackJob(report, ring.name)]);
    },
    hostname: config.hostname,
    isFinal: isFinalFault,
    secret: secretOf(identity),
    awaitReceipt: expect,
    trace,
    log,
    now,
  };
}

async function bounce(
  { queue, config, ring, dkim }: GatewayOptions,
  failed: FailedRecipient,
): Promise<'told' | 'not-told'> {
  const job = await bounceJob(failed, { hostname: config.hostname, domain: ring.name, dkim: dkim() });
  if (job === undefined) return 'not-told';
  await queue.add([job]);
  return 'told';
}

// One purpose of the gateway's key each, apart from all others.
function returnPathsOf({ keys }: GatewayIdentity): ReturnPaths {
  return returnPaths(createHash('sha256').update('epost/return-paths\0').update(keys.export()).digest());
}

function secretOf({ keys }: GatewayIdentity): Uint8Array {
  return createHash('sha256').update('epost/gateway-inbound\0').update(keys.export()).digest();
}

/** What is over the budget is told later: the job that wants to tell it tries again. */
function noticesWithin(budget: AutomaticBudget, post: GatewayPost): GatewayPost['sendNotice'] {
  return async (facts, to) => {
    const spent = budget.spend('notice', to, facts.traceId);
    return spent === undefined ? post.sendNotice(facts, to) : { kind: 'later', reason: spent.why };
  };
}

/** Of what was forwarded for somebody elsewhere he is told, since his address was proven when it was rewritten; of all else, who sent it. */
function noticesOfRelay(
  options: GatewayOptions,
  budget: AutomaticBudget,
): (facts: NoticeFacts, to: Address) => ReturnType<GatewayPost['sendNotice']> {
  const paths = returnPathsOf(options.identity);
  const toUser = noticesWithin(budget, options.post);
  return async (facts, to) => {
    const sender = paths.open(facts.sender, options.now());
    if (sender.kind !== 'forwarded') return toUser(facts, to);
    for (const { address, action, status, text } of facts.recipients) {
      // He asked nobody to forward it: that it went on is nothing to tell him.
      if (action !== 'failed' && action !== 'delayed') continue;
      await bounce(options, {
        action,
        sender: sender.address,
        recipient: address as Address,
        status,
        text,
        originalHeader: facts.originalHeader,
        dsn: facts.requireTls === true ? { requireTls: true, recipients: {} } : undefined,
        receivedAt: facts.arrivedAt,
        trace: facts.traceId,
      });
    }
    return { kind: 'sent', copies: 0, id: new Uint8Array() };
  };
}

function startRelayOf(
  options: GatewayOptions,
  storage: StorageGate,
  { budget, suppression }: Shared,
): ReturnType<typeof startRelay> {
  const { config, ring, post, policy, limits, dkim, now } = options;
  const stored = ringStore(options);
  return startRelay({
    ...options,
    storage,
    hostname: config.hostname,
    returnPaths: returnPathsOf(options.identity),
    settings: config.delivery,
    automatic: budget,
    ...(config.tlsReports === true ? { tlsReports: options } : {}),
    suppression,
    post: {
      onRelayRequest: (handler) => post.onRelayRequest(handler),
      sendNotice: noticesOfRelay(options, budget),
      fetch: (ref) => stored.fetch(ref as never),
      store: stored.store,
    },
    aliasOf: aliasOf(options),
    ownersOf: ownersOf(options),
    forwardPath: (sender, at) => returnPathsOf(options.identity).forward(sender, ring.name, at),
    decide: (evidence) => decide(policy(), evidence, limits, now()),
    dkim: (domain) => (ring.domains.includes(domain as Domain) || domain === ring.name ? dkim() : []),
    maxMessageBytes: ringMessageBytes,
  });
}

function ownersOf({ post }: GatewayOptions): (address: Address) => Promise<readonly Address[]> {
  return async (address) => {
    const found = await post.lookup(address);
    if (found.kind === 'unknown') throw new Error(`whose ${address} is could not be found out`);
    if (found.kind !== 'found' || found.certificate.kind !== 'list') return [];
    return found.record?.list?.owners ?? [];
  };
}

/** Whom an address is another name for. An identity of the ring is itself, also where the configuration names it as an alias: nobody writes in its name. */
function aliasOf({ config, ring, post }: GatewayOptions): (address: Address) => Promise<Address | undefined> {
  const aliases = aliasMap(config.aliases, [ring.name, ...ring.domains]);
  return async (address) => {
    const target = aliases.get(address);
    if (target === undefined) return undefined;
    const found = await post.lookup(address);
    if (found.kind === 'unknown') throw new Error(`whether ${address} is an alias could not be found out`);
    return found.kind === 'none' ? target : undefined;
  };
}
