// The gateway's way out alone: the queue in the given folder, and the relay over it. Adds the mail on its first start, and works until it is killed.
import { join } from 'node:path';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { startRelay } from '../../gateway/relay/relay.ts';
import { encodeRelayBody } from '../../gateway/relay/relay-job.ts';
import { returnPaths } from '../../gateway/returns/return-path.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { NewJob, Worker } from '../../queue/queue.ts';

const [dir = '', dns = '', port = '', messages = '0', domains = '1', isFirst = ''] = process.argv.slice(2);
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const queue = await openEmbeddedQueue({ dir: join(dir, 'queue'), role: 'owner', now: Date.now, log, minFreeBytes: 1 });

function jobOf(n: number): NewJob {
  const domain = `d${n % Number(domains)}.example`;
  const to = `user${n}@${domain}`;
  const body = `X-Job: ${n}\r\nFrom: a@example.org\r\nTo: ${to}\r\nSubject: bench\r\n\r\n${'x'.repeat(76).concat('\r\n').repeat(52)}`;
  return {
    id: `job ${n}`,
    lane: `out:${domain}`,
    about: { n },
    body: encodeRelayBody({
      version: 1,
      trace: `t${n}`,
      identity: 'a@example.org',
      envelopeFrom: 'a@example.org',
      recipients: [to],
      arrivedAt: Date.now(),
      message: { kind: 'inline', bytes: Buffer.from(body) },
    }),
  };
}

if (isFirst === 'first') {
  for (let from = 0; from < Number(messages); from += 500)
    await queue.add(Array.from({ length: Math.min(500, Number(messages) - from) }, (_, i) => jobOf(from + i)));
}
process.send?.('ready');
startRelay({
  queue,
  storage: { shut: () => undefined, whenOpen: (worker: Worker) => worker },
  post: {
    onRelayRequest: () => quiet,
    sendNotice: async () => ({ kind: 'sent' }),
    fetch: async () => new Uint8Array(),
    store: async () => ({}),
  },
  resolver: createResolver({ servers: [dns], timeoutMs: 1_000, now: Date.now }),
  settings: {
    mxPort: Number(port),
    allowPrivate: true,
    retry: { firstMs: 2_000, maxMs: 30_000, giveUpMs: 86_400_000 },
  },
  ledgerDir: join(dir, 'ledger'),
  tlsReportDir: join(dir, 'tls'),
  hostname: 'gw.example.org',
  returnPaths: returnPaths(Buffer.alloc(32, 1)),
  ring: { name: 'example.org', domains: ['example.org'] },
  dkim: () => [],
  decide: () => {
    throw new Error('nothing comes in here');
  },
  maxMessageBytes: 1_000_000,
  now: Date.now,
  random: Math.random,
  log,
  trace: quiet,
});
setInterval(() => {
  queue.counts().then((counts) => process.send?.(counts), quiet);
}, 200);
