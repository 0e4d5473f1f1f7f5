// How long one large message keeps the event loop from everything else, path by path: the longest gap between two turns of a 1 ms timer while the work goes
// on. Clients and the mail servers of others are in a thread of their own. Two figures: the first time, with cold code, and the second.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import nodemailer from 'nodemailer';
import { createDkimKeys } from '../../gateway/dkim/keys.ts';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { startDelivery } from '../../gateway/inbound/deliver.ts';
import { startRelay } from '../../gateway/relay/relay.ts';
import { returnPaths } from '../../gateway/returns/return-path.ts';
import { submissionLimits } from '../../node/access/submission/limits.ts';
import { startSubmission } from '../../node/access/submission/server.ts';
import type { RelayAnswer, RelayRequest } from '../../node/door/gateway-post.ts';
import { fetchMessage, storeMessage } from '../../node/mail/message.ts';
import { standardPolicy } from '../../policy/standard.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import { startDnsServer } from '../gateway/dns-server.ts';
import { policyOf, RawClient, startUnderTest } from '../gateway/inbound/listener-under-test.ts';
import { startSink } from '../gateway/relay/sink.ts';
import { openGate } from '../gateway/storage/open-gate.ts';
import { localTls, makeAccount, makeImap, password, quickGate, silent } from '../node/access/access-fixture.ts';
import { DialogClient } from '../node/access/dialog.ts';
import { DiskPost } from '../node/mail/disk-post.ts';
import { withAttachment } from '../node/mail/messages.ts';

const messageBytes = 34 * 1024 * 1024;

/** A message with an attachment in base64, and as much text in 7-bit lines: the two shapes that large mail has. */
const shapes = { base64: withBase64, text: withText } as const;
type Shape = keyof typeof shapes;

function withBase64(): Uint8Array {
  return withAttachment(randomBytes(Math.floor((messageBytes * 57) / 78)), { subject: `large ${Date.now()}` });
}

function withText(): Uint8Array {
  const header = `From: alice@example.org\r\nTo: x@dest.example\r\nSubject: large ${randomBytes(8).toString('hex')}\r\n\r\n`;
  return Buffer.from(header + `${'0123456789 '.repeat(6)}end\r\n`.repeat(Math.floor(messageBytes / 71)));
}

interface Gap {
  readonly wallMs: number;
  /** What this thread worked in it: other processes do not count. */
  readonly ownMs: number;
}

async function longestGap(work: () => Promise<unknown>): Promise<Gap> {
  await turn();
  let longest: Gap = { wallMs: 0, ownMs: 0 };
  let last = performance.now();
  let worked = process.threadCpuUsage();
  const look = (): void => {
    const { user, system } = process.threadCpuUsage(worked);
    const now = performance.now();
    longest = { wallMs: Math.max(longest.wallMs, now - last), ownMs: Math.max(longest.ownMs, (user + system) / 1000) };
    last = now;
    worked = process.threadCpuUsage();
  };
  const timer = setInterval(look, 1);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  look();
  return longest;
}

async function say(what: string, work: (round: number) => Promise<unknown>, rounds = 2): Promise<void> {
  const gaps: Gap[] = [];
  for (let round = 0; round < rounds; round += 1) gaps.push(await longestGap(async () => work(round)));
  const shown = gaps.map(({ wallMs, ownMs }) => `${wallMs.toFixed(0)} ms (${ownMs.toFixed(0)} of work)`);
  console.log(`  ${what.padEnd(50)}  ${shown.join('  ')}`);
}

type Errand =
  | { readonly kind: 'smtp-in'; readonly port: number; readonly shape: Shape }
  | { readonly kind: 'submit'; readonly port: number; readonly shape: Shape }
  | { readonly kind: 'imap'; readonly port: number }
  | { readonly kind: 'sink' };

async function elsewhere(errand: Errand): Promise<{ worker: Worker; said: unknown }> {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { errand } });
  const [said] = (await once(worker, 'message')) as [unknown];
  return { worker, said };
}

async function errandDone(errand: Errand): Promise<void> {
  const { worker, said } = await elsewhere(errand);
  await worker.terminate();
  if (said !== 'done') throw new Error(`${errand.kind}: ${String(said)}`);
}

/** What the thread beside does. */
async function run(errand: Errand): Promise<unknown> {
  switch (errand.kind) {
    case 'smtp-in': {
      const client = await RawClient.connect(errand.port);
      await client.envelope();
      const said = await client.data(shapes[errand.shape]());
      client.close();
      return said.startsWith('250') ? 'done' : said;
    }
    case 'submit': {
      const transport = nodemailer.createTransport({
        host: '127.0.0.1',
        port: errand.port,
        tls: { rejectUnauthorized: false },
        auth: { user: 'alice@example.org', pass: password },
      });
      const envelope = { from: 'alice@example.org', to: 'alice@example.org' };
      await transport.sendMail({ envelope, raw: Buffer.from(shapes[errand.shape]()) });
      transport.close();
      return 'done';
    }
    case 'imap': {
      const client = await DialogClient.connect(errand.port, true);
      await client.line();
      for (const command of [`LOGIN alice@example.org "${password}"`, 'SELECT INBOX', 'FETCH 1 (BODY.PEEK[])']) {
        client.send(`a ${command}\r\n`);
        for (let line = ''; !line.startsWith('a '); ) line = await client.line();
      }
      return 'done';
    }
    default: {
      const sink = await startSink();
      return sink.port;
    }
  }
}

async function benchInbound(shape: Shape): Promise<void> {
  const gateway = await startUnderTest({ policy: policyOf(standardPolicy), parts: { trace: () => undefined } });
  await say(`gateway: ${shape} by SMTP into the queue`, async () =>
    errandDone({ kind: 'smtp-in', port: gateway.port, shape }),
  );
  const disk = await DiskPost.open();
  const lease = { identity: gateway.parts.config.gateway, until: Date.now() + 1e9 };
  const stored = Promise.withResolvers<void>();
  const deliverBoth = async (): Promise<void> => {
    let left = 2;
    const delivery = startDelivery({
      queue: gateway.queue,
      storage: openGate,
      store: async (bytes, salt) => ({ ...(await storeMessage(disk.post.store, bytes, { salt, lease })) }),
      deliver: async () => ({ kind: 'sent', id: new Uint8Array(32), copies: 1 }),
      sendNotice: async () => ({ kind: 'no-such-user' }),
      learnOfBounce: async () => undefined,
      hostname: 'mx.example.org',
      senderOf: () => undefined,
      sendBack: async () => undefined,
      isFinal: () => false,
      fetch: async () => new Uint8Array(),
      notifySender: async () => 'told',
      secret: new Uint8Array(32),
      awaitReceipt: async () => {
        left -= 1;
        if (left === 0) stored.resolve();
      },
      trace: () => undefined,
      log: silent,
      now: Date.now,
    });
    await stored.promise;
    await delivery.stop(1_000);
  };
  await say(`gateway: two, ${shape}, from the queue into the store`, deliverBoth, 1);
  await gateway.stop();
  await disk.stop();
}

async function benchStore(shape: Shape): Promise<void> {
  const disk = await DiskPost.open();
  const account = await makeAccount();
  const lease = { identity: account.account.address, until: Date.now() + 1e9 };
  const messages = [shapes[shape](), shapes[shape]()];
  let ref: Awaited<ReturnType<typeof storeMessage>> | undefined;
  await say(`node: ${shape} cut and stored`, async (round) => {
    ref = await storeMessage(disk.post.store, messages[round] ?? new Uint8Array(), { salt: randomBytes(32), lease });
  });
  await say(`node: ${shape} fetched and put together`, async () => {
    if (ref !== undefined) await fetchMessage(disk.post.store, ref);
  });
  await account.stop();
  await disk.stop();
}

async function benchSubmission(shape: Shape): Promise<void> {
  const account = await makeAccount();
  const listener = await startSubmission({
    host: '127.0.0.1',
    port: 0,
    tls: await localTls(),
    accounts: account.accounts,
    gate: quickGate(account.accounts),
    hostname: 'node.example.org',
    limits: submissionLimits,
    now: Date.now,
    log: silent,
    trace: () => undefined,
    newTraceId: () => 't',
  });
  await say(`node: ${shape} submitted`, async () => errandDone({ kind: 'submit', port: listener.port, shape }));
  await listener.stop(500);
  await account.stop();
}

async function benchImap(shape: Shape): Promise<void> {
  const imap = await makeImap();
  const inbox = await imap.mailbox.mailbox.folder('INBOX');
  await inbox?.append(shapes[shape](), { flags: [], internalDate: 0 });
  await say(`node: ${shape} read by IMAP`, async () => errandDone({ kind: 'imap', port: imap.securePort }));
  await imap.stop();
}

async function benchRelay(shape: Shape): Promise<void> {
  const { worker, said } = await elsewhere({ kind: 'sink' });
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-loop-'));
  const dns = await startDnsServer({
    'dest.example': { MX: [{ preference: 10, exchange: 'mx.dest.example' }] },
    'mx.dest.example': { A: ['127.0.0.1'] },
  });
  const queue = await openEmbeddedQueue({ dir, role: 'owner', now: Date.now, log: silent, minFreeBytes: 1 });
  const keys = await createDkimKeys(path.join(dir, 'dkim'), 'test');
  let ask: ((request: RelayRequest) => Promise<RelayAnswer>) | undefined;
  const relay = startRelay({
    queue,
    storage: openGate,
    post: {
      onRelayRequest: (handler) => {
        ask = handler;
        return () => undefined;
      },
      sendNotice: async () => ({ kind: 'sent' }),
      fetch: async () => new Uint8Array(),
      store: async () => ({}),
    },
    resolver: createResolver({ servers: [dns.address], timeoutMs: 1_000, now: Date.now }),
    settings: { mxPort: said as number, allowPrivate: true },
    ledgerDir: path.join(dir, 'ledger'),
    tlsReportDir: path.join(dir, 'tls-reports'),
    hostname: 'gw.example.org',
    returnPaths: returnPaths(new Uint8Array(32)),
    ring: { name: 'example.org', domains: ['example.org'] },
    dkim: () => keys,
    decide: () => ({
      class: 'ring-user',
      stage: 'relay',
      policyHash: '',
      trace: [],
      shadow: [],
      verdict: 'accept',
      rule: 'default',
    }),
    maxMessageBytes: messageBytes * 2,
    now: Date.now,
    random: Math.random,
    log: silent,
    trace: () => undefined,
  });
  const messages = [shapes[shape](), shapes[shape]()];
  await say(`gateway: ${shape} relayed, signed, delivered`, async (round) => {
    const bytes = messages[round];
    const answer = await ask?.({
      id: `request ${round}`,
      from: { kind: 'user', address: 'alice@example.org', ring: 'example.org', notBefore: 0 },
      envelope: { from: 'alice@example.org', to: ['x@dest.example'] },
      trace: `t${round}`,
      at: Date.now(),
      bytes: async () => bytes,
    } as unknown as RelayRequest);
    if (answer === undefined || !('verdict' in answer) || answer.verdict !== 'accepted')
      throw new Error(JSON.stringify(answer));
    while ((await queue.counts()).done <= round) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  await relay.stop(1_000);
  await queue.close();
  await dns.close();
  await worker.terminate();
  await rm(dir, { recursive: true, force: true });
}

async function bench(): Promise<void> {
  console.log(
    'loop: the longest gap in the event loop while one message of 34 MiB goes through; first time, second time',
  );
  for (const shape of ['base64', 'text'] as const) {
    await benchInbound(shape);
    await benchStore(shape);
    await benchSubmission(shape);
    await benchImap(shape);
    await benchRelay(shape);
  }
}

if (isMainThread) await bench();
else {
  const { errand } = workerData as { errand?: Errand };
  if (errand !== undefined) parentPort?.postMessage(await run(errand).catch((error: unknown) => String(error)));
}
