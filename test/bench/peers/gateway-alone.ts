// The gateway alone, as one more peer of a bench of mail servers: MX listener, evidence, policy, durable queue; no ring, and what the queue has is done at once.
// `npx node test/bench/peers/gateway-alone.ts PORT DOMAIN checks|none THREADS LAST-FILE`. All of DOMAIN is here; loopback may speak the PROXY protocol where
// there are checks; DNS is the system's. `none` leaves SPF, DKIM, DMARC and ARC out, which the product cannot do: it is there to compare with servers that do not check.
import { writeFileSync } from 'node:fs';
import { newTraceId } from '../../../deploy/trace/id.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { nothingKnown } from '../../../gateway/evidence/authenticate.ts';
import { verifyHere } from '../../../gateway/evidence/verifier.ts';
import { startVerifyThreads } from '../../../gateway/evidence/verify-threads.ts';
import { decodeInboundJob } from '../../../gateway/inbound/job.ts';
import { defaultInboundLimits } from '../../../gateway/inbound/limits.ts';
import { startListener } from '../../../gateway/inbound/listener.ts';
import { parseDomain } from '../../../policy/address.ts';
import { standardPolicy } from '../../../policy/standard.ts';
import { acceptAll, policyOf, startUnderTest } from '../../gateway/inbound/listener-under-test.ts';

const [port = '', name = '', checks = '', threadCount = '', lastFile = ''] = process.argv.slice(2);
const domain = parseDomain(name);
if (domain === undefined) throw new Error(`${name} is no domain`);
const withChecks = checks === 'checks';

const under = await startUnderTest({ policy: withChecks ? policyOf(standardPolicy) : acceptAll });
const resolver = createResolver({ timeoutMs: 2_000, now: Date.now });
const here = verifyHere(resolver, Date.now);
const log = { debug() {}, info() {}, warn: console.error, error: console.error };
const threads = startVerifyThreads({
  count: withChecks ? Number(threadCount) : 0,
  dns: { timeoutMs: 2_000 },
  here,
  log,
});
await threads.ready();

let last: Uint8Array | undefined;
under.queue.work({ match: () => true, concurrency: 50, perLane: 50 }, async ({ body }) => {
  last = body;
  return { kind: 'done', why: 'thrown away' };
});
setInterval(() => {
  const shut = under.parts.storage.shut();
  if (shut !== undefined) log.error(shut);
  if (last === undefined) return;
  writeFileSync(lastFile, decodeInboundJob(last).message as Uint8Array);
  last = undefined;
}, 200);

await startListener(
  {
    ...under.parts,
    config: { ...under.parts.config, hostname: `mx.${domain}`, ring: domain, domains: [domain] },
    limits: { ...defaultInboundLimits, exemptNetworks: ['0.0.0.0/0'] },
    lookup: async () => ({ kind: 'found', certificate: { kind: 'user' } }),
    resolver,
    verify: withChecks ? threads.verify : async ({ author }) => nothingKnown(author),
    trace: () => undefined,
    newTraceId: () => newTraceId(Date.now()),
    log,
  },
  { host: '127.0.0.1', port: Number(port), proxies: withChecks ? ['127.0.0.1/32'] : [] },
);
// So that a profile of it (`node --cpu-prof`) is written.
process.once('SIGTERM', () => process.exit(0));
