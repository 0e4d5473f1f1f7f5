// Messages per second through the MX listener: 4 KiB, DKIM-signed, with SPF, DKIM, DMARC, ARC and iprev evaluated, kept in the durable embedded queue
// (one fsync shared by sessions) before each 250. The clients run in a thread of their own and the name server is in-process; there is no ring: delivery is
// not measured here, and recipients are found in a table.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { dkimSign } from 'mailauth';
import { standardPolicy } from '../../policy/standard.ts';
import { policyOf, startUnderTest } from '../gateway/inbound/listener-under-test.ts';

interface Load {
  readonly port: number;
  readonly messages: readonly string[];
  readonly connections: number;
  readonly perConnection: number;
}

export interface InboundFigures {
  readonly what: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly residentMiB: number;
  /** Of the thread of the event loop, for each message: what bounds a gateway whose other cores are free. */
  readonly loopCpuMs: number;
}

/** Sends messages over one connection after the other until the shared list is empty; the times of MAIL to 250. */
async function sender(load: Load, next: () => string | undefined): Promise<number[]> {
  const times: number[] = [];
  for (;;) {
    const socket = createConnection(load.port, '127.0.0.1').setNoDelay(true);
    let text = '';
    let wake: () => void = () => undefined;
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      wake();
    });
    const replies = async (count: number): Promise<void> => {
      for (let seen = 0; seen < count; ) {
        const end = /^(?:\d{3}-.*\r\n)*(\d)\d\d .*\r\n/.exec(text);
        if (end === null) {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          await promise;
          continue;
        }
        if (end[1] !== '2' && end[1] !== '3') throw new Error(end[0]);
        text = text.slice(end[0].length);
        seen += 1;
      }
    };
    await replies(1);
    socket.write('EHLO client.example\r\n');
    await replies(1);
    for (let i = 0; i < load.perConnection; i += 1) {
      const message = next();
      if (message === undefined) {
        socket.end('QUIT\r\n');
        return times;
      }
      const started = performance.now();
      socket.write('MAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n');
      await replies(3);
      socket.write(`${message}.\r\n`);
      await replies(1);
      times.push(performance.now() - started);
    }
    socket.end('QUIT\r\n');
    await once(socket, 'close');
  }
}

async function runLoad(load: Load): Promise<{ seconds: number; times: number[] }> {
  const list = [...load.messages];
  const started = performance.now();
  const all = await Promise.all(Array.from({ length: load.connections }, () => sender(load, () => list.pop())));
  return { seconds: (performance.now() - started) / 1000, times: all.flat() };
}

async function signedMessages(count: number): Promise<{ messages: string[]; record: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const messages: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const header = `From: A <a@sender.example>\r\nTo: alice@example.org\r\nSubject: message ${i}\r\nMessage-ID: <${i}@sender.example>\r\n\r\n`;
    const text = header + `${'0123456789 '.repeat(7)}\r\n`.repeat(49);
    const one = { signingDomain: 'sender.example', selector: 's1', privateKey: pem };
    messages.push((await dkimSign(text, { ...one, signatureData: [one] })).signatures + text);
  }
  return {
    messages,
    record: `v=DKIM1; k=rsa; p=${publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`,
  };
}

/** All rows; `scale` messages in each. */
export async function benchInbound(scale = 1_000, threads = 1): Promise<InboundFigures[]> {
  const { messages, record } = await signedMessages(scale);
  const gateway = await startUnderTest({
    policy: policyOf(standardPolicy),
    zone: {
      'sender.example': { TXT: ['v=spf1 ip4:127.0.0.1 -all'] },
      '_dmarc.sender.example': { TXT: ['v=DMARC1; p=reject'] },
      's1._domainkey.sender.example': { TXT: [record.match(/.{1,250}/g)] },
    },
    parts: { trace: () => undefined },
    threads,
  });
  const figures: InboundFigures[] = [];
  const row = async (
    what: string,
    connections: number,
    perConnection: number,
    some: readonly string[],
  ): Promise<void> => {
    const load: Load = { port: gateway.port, messages: some, connections, perConnection };
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { inboundLoad: load } });
    await once(worker, 'online');
    const before = process.threadCpuUsage();
    const [{ seconds, times }] = (await once(worker, 'message')) as [{ seconds: number; times: number[] }];
    const spent = process.threadCpuUsage(before);
    await worker.terminate();
    times.sort((a, b) => a - b);
    figures.push({
      what,
      perSecond: Math.round(times.length / seconds),
      p50Ms: times[Math.floor(times.length * 0.5)] ?? 0,
      p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
      residentMiB: Math.round(process.memoryUsage().rss / 2 ** 20),
      loopCpuMs: (spent.user + spent.system) / 1_000 / times.length,
    });
  };
  await row('warm-up', 20, 100, messages.slice(0, 300));
  await row('in, 20 connections, 100 messages each', 20, 100, messages);
  await row('in, 20 connections, new one each message', 20, 1, messages);
  await row('in, 1 connection', 1, 100, messages.slice(0, Math.ceil(scale / 4)));
  await gateway.stop();
  return figures.slice(1);
}

if (!isMainThread && (workerData as { inboundLoad?: Load } | null)?.inboundLoad !== undefined) {
  parentPort?.postMessage(await runLoad((workerData as { inboundLoad: Load }).inboundLoad));
} else if (isMainThread && process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { what, perSecond, p50Ms, p99Ms, residentMiB, loopCpuMs } of await benchInbound(
    1_000,
    Number(process.argv[2] ?? 1),
  )) {
    process.stdout.write(
      `${what.padEnd(44)} ${String(perSecond).padStart(6)}/s  p50 ${p50Ms.toFixed(1)} ms  p99 ${p99Ms.toFixed(1)} ms  ${residentMiB} MiB  loop ${loopCpuMs.toFixed(2)} ms CPU each\n`,
    );
  }
}
