/** A gateway that dies at the worst moment: releases the held jobs, delivers, and hangs between the end of the attempt and the queue's "done". */
import { join } from 'node:path';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { defaultRetry } from '../../../gateway/relay/backoff.ts';
import { deliverWorker } from '../../../gateway/relay/deliver.ts';
import { Ledger } from '../../../gateway/relay/ledger.ts';
import { HostPace } from '../../../gateway/relay/pace/host-pace.ts';
import { SmtpPool } from '../../../gateway/relay/pool.ts';
import { ResolverWatch } from '../../../gateway/relay/resolver-watch.ts';
import { Suppression } from '../../../gateway/relay/suppression.ts';
import { noPolicy } from '../../../gateway/relay/tls-report/session-result.ts';
import { returnPaths } from '../../../gateway/returns/return-path.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';

const [dir = '', dns = '', port = ''] = process.argv.slice(2);
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };
const queue = await openEmbeddedQueue({ dir: join(dir, 'queue'), role: 'owner', now: Date.now, log, minFreeBytes: 1 });
const resolver = createResolver({ servers: [dns], timeoutMs: 1_000, now: Date.now });
const worker = deliverWorker({
  resolver,
  pace: new HostPace({ marks: queue, total: 1, now: Date.now, random: Math.random, log }),
  suppression: new Suppression(queue, Date.now),
  resolverWatch: new ResolverWatch({ resolver, now: Date.now, random: Math.random }),
  pool: new SmtpPool({ hostname: 'gw.example.org' }),
  transport: {
    of: async () => ({ kind: 'demand', demand: { kind: 'opportunistic' }, by: 'none', policy: noPolicy }),
    reached: async () => false,
  },
  tlsResult: () => undefined,
  ledger: new Ledger(join(dir, 'ledger'), Date.now),
  hostname: 'gw.example.org',
  returnPaths: returnPaths(new Uint8Array(32)),
  route: { mxPort: Number(port), ownNames: [], allowPrivate: true, validating: false },
  retry: defaultRetry,
  now: Date.now,
  random: Math.random,
  log,
  trace: () => undefined,
  fetch: async () => new Uint8Array(),
  notifyFailure: async () => ({ kind: 'sent' }),
});
queue.work({ match: () => true, concurrency: 1, perLane: 1 }, async (job, signal) => {
  const attempt = await worker(job, signal);
  console.log(`ended ${attempt.kind}`);
  return new Promise(() => undefined);
});
for (const { id } of await queue.list({ state: 'held', limit: 10 })) await queue.release(id);
