// What others do to the MX listener, and what an ordinary sender notices of it: p50 and p99 from MAIL to 250 of four connections that send a 4 KiB message every
// 20 ms (SPF, DMARC, policy and the durable queue included), alone and under each kind of abuse; and what 10,000 idle connections cost in memory. The abusers are a
// process of their own on the same cores, each from many addresses, so that their own work is in the figures too.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { standardPolicy } from '../../policy/standard.ts';
import { policyOf, startUnderTest } from '../gateway/inbound/listener-under-test.ts';

const rowMs = 3_000;
const settledMs = 1_000;
const idleConnections = 10_000;

// --- the ordinary sender, in a thread of its own ---

const message = `From: A <a@sender.example>\r\nTo: alice@example.org\r\nSubject: x\r\n\r\n${`${'0123456789 '.repeat(7)}\r\n`.repeat(49)}.\r\n`;

async function sender(port: number, until: number): Promise<number[]> {
  const times: number[] = [];
  while (performance.now() < until) {
    const socket = createConnection({ port, host: '127.0.0.1', localAddress: '127.9.0.1', noDelay: true });
    let text = '';
    let wake: () => void = () => undefined;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      wake();
    });
    socket.on('error', () => wake());
    const replies = async (count: number): Promise<void> => {
      for (let seen = 0; seen < count; ) {
        const end = /^(?:\d{3}-.*\r\n)*(\d)\d\d .*\r\n/.exec(text);
        if (end === null) {
          if (socket.destroyed) throw new Error('an ordinary sender was cut off');
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
    for (let i = 0; i < 50 && performance.now() < until; i += 1) {
      const started = performance.now();
      socket.write('MAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n');
      await replies(3);
      socket.write(message);
      await replies(1);
      times.push(performance.now() - started);
      await wait(20);
    }
    socket.end('QUIT\r\n');
  }
  return times;
}

// --- the abusers, in a process of their own ---

/** One of many addresses, in 200 wide networks. */
const addressOf = (nth: number): string => `127.${16 + (nth % 200)}.${Math.floor(nth / 200) % 250}.1`;

function open(port: number, nth: number): Socket {
  const socket = createConnection({ port, host: '127.0.0.1', localAddress: addressOf(nth), noDelay: true });
  socket.on('error', () => undefined);
  return socket;
}

async function many(count: number, each: (nth: number) => Socket): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    const some = Array.from({ length: Math.min(100, count - from) }, (_, nth) => each(from + nth));
    await Promise.all(some.map((socket) => once(socket, 'connect').catch(() => undefined)));
  }
}

function again(port: number, nth: number, each: (socket: Socket) => void): Socket {
  const socket = open(port, nth);
  each(socket);
  socket.once('close', () => setTimeout(() => again(port, nth, each), 5));
  return socket;
}

const abuses: Readonly<Record<string, (port: number) => Promise<void>>> = {
  /** Connections that say nothing. */
  idle: async (port) => await many(idleConnections, (nth) => open(port, nth).resume()),
  /** 500 that send one octet of a command ten times a second. */
  slow: async (port) => {
    const sockets: Socket[] = [];
    await many(500, (nth) => {
      const socket = open(port, nth).resume();
      sockets.push(socket);
      return socket;
    });
    setInterval(() => sockets.forEach((socket) => socket.writable && socket.write('N')), 100);
  },
  /** 100 that ask for help without end and read none of it. */
  deaf: async (port) =>
    await many(100, (nth) =>
      again(port, nth, (socket) => {
        socket.pause();
        const help = Buffer.from('HELP\r\n'.repeat(500));
        const push = (): void => void (socket.writable && socket.write(help, () => setImmediate(push)));
        socket.once('connect', push);
      }),
    ),
  /** 100 that guess addresses, ten together, and come again. */
  guessing: async (port) =>
    await many(100, (nth) =>
      again(port, nth, (socket) => {
        const guesses = Array.from({ length: 10 }, (_, one) => `RCPT TO:<guess${nth}-${one}@example.org>\r\n`).join('');
        socket.resume().once('end', () => socket.end());
        socket.once('connect', () => socket.write(`EHLO x.example\r\nMAIL FROM:<x@x.example>\r\n${guesses}`));
      }),
    ),
  /** 50 that connect, are greeted or turned away, and come again at once, from one network. */
  churn: async (port) =>
    await many(50, () => {
      const one = (): Socket => {
        const socket = createConnection({ port, host: '127.0.0.1', localAddress: '127.8.0.1' }).on(
          'error',
          () => undefined,
        );
        socket.once('data', () => socket.destroy());
        socket.once('close', () => setTimeout(one, 1));
        return socket;
      };
      return one();
    }),
  /** Two that send messages of nothing but stuffed dots, 30 MB each. */
  dots: async (port) =>
    await many(2, (nth) =>
      again(port, nth, (socket) => {
        const dots = Buffer.from('..\r\n'.repeat(15_000));
        socket.resume().once('connect', () => {
          socket.write('EHLO x.example\r\nMAIL FROM:<x@x.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n');
          let left = 500;
          const push = (): void => {
            left -= 1;
            if (!socket.writable) return;
            if (left > 0) socket.write(dots, push);
            else socket.end('.\r\nQUIT\r\n');
          };
          push();
        });
      }),
    ),
};

// --- the rows ---

/** All rows, or one. */
async function main(only: string | undefined): Promise<void> {
  const gateway = await startUnderTest({
    policy: policyOf(standardPolicy),
    zone: {
      'sender.example': { TXT: ['v=spf1 ip4:127.0.0.0/8 -all'] },
      '_dmarc.sender.example': { TXT: ['v=DMARC1; p=reject'] },
    },
    // The limits are those of every gateway, but for the places in all.
    limits: { exemptNetworks: ['127.9.0.0/16'], totalConnections: 12_000, slowAnswerMs: 2_000 },
    parts: { trace: () => undefined },
  });
  const ordinary = async (): Promise<readonly number[]> => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { abusePort: gateway.port } });
    const [times] = (await once(worker, 'message')) as [number[]];
    await worker.terminate();
    return times.sort((a, b) => a - b);
  };
  const of = (times: readonly number[], share: number): number => times[Math.floor(times.length * share)] ?? 0;
  await ordinary();
  for (const [what, abuse] of [
    [`${idleConnections} idle connections`, 'idle'],
    ['500 connections, an octet at a time', 'slow'],
    ['100 connections that never read', 'deaf'],
    ['100 connections that guess addresses', 'guessing'],
    ['connecting and going without end, one network', 'churn'],
    ['two messages of 30 MB of stuffed dots', 'dots'],
  ] as const) {
    if (only !== undefined && only !== abuse) continue;
    // Just before, so that both are of the same minute of the machine.
    const alone = await ordinary();
    const before = process.memoryUsage().rss;
    const abuser = fork(fileURLToPath(import.meta.url), [abuse, String(gateway.port)]);
    await once(abuser, 'message');
    // The abusers' program has started by then, which costs the two cores more than what it does.
    await wait(settledMs);
    const grown = process.memoryUsage().rss - before;
    const open = gateway.listener.sessions();
    const under = await ordinary();
    const ratio = of(under, 0.99) / of(alone, 0.99);
    const shown = [of(alone, 0.5), of(alone, 0.99), of(under, 0.5), of(under, 0.99)].map((ms) => ms.toFixed(1));
    const memory = `${open} open, ${(grown / 2 ** 20).toFixed(0)} MiB more`;
    const each = abuse === 'idle' ? ` (${(grown / 1_024 / Math.max(1, open)).toFixed(1)} KiB each)` : '';
    process.stdout.write(
      `${what.padEnd(48)}  alone p50 ${shown[0]} p99 ${shown[1]} ms  under it p50 ${shown[2]} p99 ${shown[3]} ms  p99 x${ratio.toFixed(1)}  ${memory}${each}\n`,
    );
    abuser.kill('SIGKILL');
    await once(abuser, 'exit');
    for (let waited = 0; gateway.listener.sessions() > 0 && waited < 200; waited += 1) await wait(50);
  }
  await gateway.stop();
}

const [, file, abuse, port] = process.argv;
if (!isMainThread && (workerData as { abusePort?: number } | null)?.abusePort !== undefined) {
  const until = performance.now() + rowMs;
  const { abusePort } = workerData as { abusePort: number };
  const all = await Promise.all(Array.from({ length: 4 }, () => sender(abusePort, until)));
  parentPort?.postMessage(all.flat());
} else if (isMainThread && file === fileURLToPath(import.meta.url)) {
  if (port === undefined) await main(abuse);
  else {
    await abuses[abuse ?? '']?.(Number(port));
    process.send?.('ready');
    // Until we are killed.
    setInterval(() => undefined, 60_000);
  }
}
