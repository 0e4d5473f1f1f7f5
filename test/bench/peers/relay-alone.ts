// The gateway’s way out alone, as one more peer of a bench of mail servers: what comes in by plain SMTP is a relay request, is checked, decided by a policy
// without limits, signed twice (RSA-2048 and Ed25519) and queued durably before its 250, and goes to one mail server. No ring: no certificate is asked for and no
// node is between. `npx node test/bench/peers/relay-alone.ts PORT DOMAIN KEY.pem SELECTOR SINK-PORT FOLDER`. While FOLDER/hold exists, nothing is delivered.
import { createPrivateKey, generateKeyPairSync, hash } from 'node:crypto';
import { existsSync, openSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { DkimKey } from '../../../gateway/dkim/keys.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import type { DataAnswer } from '../../../gateway/inbound/accept.ts';
import { defaultInboundLimits, type InboundLimits } from '../../../gateway/inbound/limits.ts';
import { IncomingMessage, type Received } from '../../../gateway/inbound/message-reader.ts';
import { ok, replies, type StepResult } from '../../../gateway/inbound/replies.ts';
import type { Session } from '../../../gateway/inbound/session.ts';
import type { Mail, Rcpt } from '../../../gateway/inbound/smtp/command.ts';
import { Connection } from '../../../gateway/inbound/smtp/connection.ts';
import { Tarpit } from '../../../gateway/inbound/smtp/tarpit.ts';
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
const limits: InboundLimits = { ...defaultInboundLimits, exemptNetworks: ['127.0.0.0/8'] };
const isHeld = (): boolean => existsSync(join(folder, 'hold'));
if (isHeld()) await queue.pause(everyLane, 'the bench');
const keys: DkimKey[] = [
  { selector, algorithm: 'rsa-sha256', privateKey: createPrivateKey(await readFile(keyFile)) },
  { selector: `${selector}e`, algorithm: 'ed25519-sha256', privateKey: generateKeyPairSync('ed25519').privateKey },
];
const counted = new Limits();
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
  decide: (evidence) => decide(acceptAll, evidence, counted, Date.now()),
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
    id: hash('sha256', `${process.pid} ${count}`, 'hex'),
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

/** A conversation on our own SMTP machine, in which whatever is asked for is granted. */
class Everything implements Pick<Session, 'connect' | 'mail' | 'rcpt' | 'incoming' | 'data' | 'end'> {
  #from = '';
  #to: string[] = [];

  async connect(): Promise<StepResult> {
    return ok;
  }

  async mail({ path }: Mail): Promise<StepResult> {
    this.#from = path;
    this.#to = [];
    return ok;
  }

  async rcpt({ path }: Rcpt): Promise<StepResult> {
    this.#to.push(path);
    return ok;
  }

  incoming(): IncomingMessage {
    return new IncomingMessage(limits.messageBytes, { take: () => true, give: quiet });
  }

  async data(received: Received): Promise<DataAnswer> {
    if (received.kind !== 'complete') return { reply: replies.internal };
    try {
      await relay(this.#from, this.#to, received.bytes);
      return { reply: { code: 250, enhanced: '2.0.0', text: 'taken' } };
    } catch (error) {
      console.error(error);
      return { reply: replies.internal };
    }
  }

  end(): void {}
}

const tarpit = new Tarpit(1);
const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  const connection = new Connection(socket, Buffer.alloc(0), {
    session: new Everything() as unknown as Session,
    hostname: `gw.${domain}`,
    limits,
    certificates: () => undefined,
    distrusted: false,
    tarpit,
    offended: quiet,
    ticks: () => performance.now(),
    log,
  });
  connection.serve().catch(console.error);
});
server.listen(Number(port), '127.0.0.1');

// Held open: to make it anew ten times a second costs milliseconds of a busy disk each time.
const waiting = openSync(join(folder, 'waiting'), 'w');
let wasHeld = isHeld();
setInterval(() => {
  const held = isHeld();
  if (wasHeld && !held) queue.resume(everyLane).catch(console.error);
  wasHeld = held;
}, 10);
setInterval(() => {
  queue.counts().then(({ due, running }) => writeSync(waiting, String(due + running).padEnd(12), 0), console.error);
}, 100);
// So that a profile of it (`node --cpu-prof`) is written.
process.once('SIGTERM', () => process.exit(0));
