// The gateway’s way out alone, as one more peer of a bench of mail servers: what comes in by plain SMTP is a relay request, is checked, decided by a policy
// without limits, signed twice (RSA-2048 and Ed25519) and queued durably before its 250, and goes to one mail server. No ring: no certificate is asked for and no
// node is between. `npx node test/bench/peers/relay-alone.ts PORT DOMAIN KEY.pem SELECTOR SINK-PORT FOLDER`. While FOLDER/hold exists, nothing is delivered.
import { createHash, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';
import type { DkimKey } from '../../../gateway/dkim/keys.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { startRelay } from '../../../gateway/relay/relay.ts';
import { returnPaths } from '../../../gateway/returns/return-path.ts';
import type { RelayAnswer, RelayRequest } from '../../../node/door/gateway-post.ts';
import { decide } from '../../../policy/decide.ts';
import { Limits } from '../../../policy/limits.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import { everyLane, type Worker } from '../../../queue/queue.ts';
import { acceptAll } from '../../gateway/inbound/listener-under-test.ts';

const [port = '', domain = '', keyFile = '', selector = '', sinkPort = '', folder = ''] = process.argv.slice(2);
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: console.error, error: console.error };
const queue = await openEmbeddedQueue({
  dir: join(folder, 'queue'),
  role: 'owner',
  now: Date.now,
  log,
  minFreeBytes: 1,
});
const isHeld = (): boolean => existsSync(join(folder, 'hold'));
if (isHeld()) await queue.pause(everyLane, 'the bench');
const keys: DkimKey[] = [
  { selector, algorithm: 'rsa-sha256', privateKey: createPrivateKey(await readFile(keyFile)) },
  { selector: `${selector}e`, algorithm: 'ed25519-sha256', privateKey: generateKeyPairSync('ed25519').privateKey },
];
const limits = new Limits();
let ask: (request: RelayRequest) => Promise<RelayAnswer> = async () => ({ later: 'not ready' });
startRelay({
  queue,
  storage: { shut: () => undefined, whenOpen: (worker: Worker) => worker },
  post: {
    onRelayRequest(handler) {
      ask = handler;
      return quiet;
    },
    sendNotice: async () => ({ kind: 'sent' }),
    fetch: async () => new Uint8Array(),
    store: async () => ({}),
  },
  resolver: createResolver({ timeoutMs: 2_000, now: Date.now }),
  settings: { smarthost: { host: '127.0.0.1', port: Number(sinkPort) } },
  ledgerDir: join(folder, 'ledger'),
  tlsReportDir: join(folder, 'tls'),
  hostname: `gw.${domain}`,
  returnPaths: returnPaths(Buffer.alloc(32, 1)),
  ring: { name: domain, domains: [domain] },
  dkim: () => keys,
  decide: (evidence) => decide(acceptAll, evidence, limits, Date.now()),
  maxMessageBytes: 50_000_000,
  now: Date.now,
  random: Math.random,
  log,
  trace: quiet,
});

let count = 0;
async function relay(from: string, to: string[], bytes: Uint8Array): Promise<void> {
  count += 1;
  const answer = await ask({
    id: createHash('sha256').update(`${process.pid} ${count}`).digest('hex'),
    from: { kind: 'user', address: from, ring: domain, notBefore: 0 } as unknown as RelayRequest['from'],
    proof: { key: 'k', issuer: 'i', standing: 'good' },
    envelope: { from, to, dsn: undefined },
    message: {} as RelayRequest['message'],
    trace: `t${count}`,
    at: Date.now(),
    carried: async () => ({ kind: 'own' }),
    bytes: async () => bytes,
  });
  if (!('verdict' in answer) || answer.verdict !== 'accepted') throw new Error(JSON.stringify(answer));
}

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  onData(stream, { envelope }, done) {
    const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address;
    const to = envelope.rcptTo.map(({ address }) => address);
    const answer = async (): Promise<void> => {
      try {
        await relay(from, to, await buffer(stream));
      } catch (error) {
        done(error as Error);
        return;
      }
      done();
    };
    answer().catch(console.error);
  },
});
server.on('error', (error: Error) => console.error(error.message));
server.listen(Number(port), '127.0.0.1');

let wasHeld = isHeld();
setInterval(() => {
  const held = isHeld();
  if (wasHeld && !held) queue.resume(everyLane).catch(console.error);
  wasHeld = held;
}, 10);
setInterval(() => {
  queue
    .counts()
    .then(({ due, running }) => writeFileSync(join(folder, 'waiting'), String(due + running)), console.error);
}, 100);
