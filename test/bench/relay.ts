// Mail going out of a full queue: 10,000 messages of 4 KiB to 500 domains, of which 25 refuse connections, 25 accept and stay silent, and 50 take three
// seconds for each reply; the good 400 have one mail server each. Then the same with the process killed (kill -9) a hundred times while the good ones get theirs.
// And a plain run to good domains alone, for comparing with other mail servers (../../../shared/bench holds those). The mail servers and the name server are
// in this process.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startDnsServer, type Zone } from '../gateway/dns-server.ts';
import { Doubles } from './relay-doubles.ts';

const messages = 10_000;
const domains = 500;
const good = 400;
const slowReplyMs = 3_000;
const limitMs = 300_000;
/** From the first message that a process delivers until it is killed; half as long in the middle, so that it takes most of the kills to deliver the mail. */
const longestLifeMs = 300;
/** Where it delivers none. */
const longestWaitMs = 3_000;

const address = (n: number): string => `127.1.${Math.floor(n / 200)}.${(n % 200) + 1}`;
type Kind = 'good' | 'slow' | 'silent' | 'refuses';
function kindOf(n: number): Kind {
  if (n < good) return 'good';
  if (n < good + 50) return 'slow';
  return n < good + 75 ? 'silent' : 'refuses';
}

let doubles = new Doubles('');
const progress = { good: 0, lastAt: 0 };

let spread = domains;

function took(n: number): void {
  if (!doubles.took(n) || kindOf(n % spread) !== 'good') return;
  progress.good += 1;
  progress.lastAt = performance.now();
}

function serve(socket: Socket): void {
  const kind = kindOf(hostNumber(socket.localAddress ?? ''));
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  if (kind === 'silent') return;
  const say = (text: string): void => {
    if (kind === 'slow') setTimeout(() => socket.writable && socket.write(text), slowReplyMs);
    else socket.write(text);
  };
  let inData = false;
  let kept = '';
  say('220 sink\r\n');
  socket.on('data', (chunk) => {
    kept += chunk.toString('latin1');
    for (;;) {
      const end = kept.indexOf(inData ? '\r\n.\r\n' : '\r\n');
      if (end < 0) return;
      const text = kept.slice(0, end);
      kept = kept.slice(end + (inData ? 5 : 2));
      if (inData) {
        inData = false;
        took(Number(/^X-Job: (\d+)/m.exec(text)?.[1]));
        say('250 taken\r\n');
        continue;
      }
      const verb = text.slice(0, 4).toUpperCase();
      inData = verb === 'DATA';
      if (verb === 'EHLO') say('250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n');
      else if (verb === 'QUIT') socket.end('221 bye\r\n');
      else say(verb === 'DATA' ? '354 go\r\n' : '250 ok\r\n');
    }
  });
}

function hostNumber(ip: string): number {
  const [, , high = '0', low = '1'] = ip.split('.');
  return Number(high) * 200 + Number(low) - 1;
}

/** One port on every address of those that listen at all: bound one by one, so that the others refuse. */
async function startSinks(): Promise<{ port: number; servers: Server[] }> {
  const servers: Server[] = [];
  let port = 0;
  for (let n = 0; n < domains; n += 1) {
    if (kindOf(n) === 'refuses') continue;
    const server = createServer(serve).listen(port, address(n));
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
    servers.push(server);
  }
  return { port, servers };
}

function zone(): Zone {
  const entries = Array.from({ length: domains }, (_, n): [string, Zone[string]][] => [
    [`d${n}.example`, { MX: [{ preference: 10, exchange: `mx.d${n}.example` }] }],
    [`mx.d${n}.example`, { A: [address(n)] }],
  ]);
  return Object.fromEntries(entries.flat());
}

async function run(what: string, count: number, over: number, kills: number): Promise<void> {
  spread = over;
  progress.good = 0;
  const dir = await mkdtemp(join(tmpdir(), 'epost-bench-relay-'));
  doubles = new Doubles(join(dir, 'ledger'));
  const dns = await startDnsServer(zone());
  const { port, servers } = await startSinks();
  const wanted = Array.from({ length: count }, (_, n) => n).filter((n) => kindOf(n % spread) === 'good').length;
  let setAside = 0;
  const start = async (isFirst: boolean): Promise<ChildProcess> => {
    const args = [dir, dns.address, String(port), String(count), String(spread), isFirst ? 'first' : 'again'];
    const child = fork(fileURLToPath(new URL('relay-child.ts', import.meta.url)), args);
    await once(child, 'message');
    child.on('message', ({ failed }: { failed: number }) => {
      setAside = failed;
    });
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
    await doubles.killed();
  };
  let child = await start(true);
  const from = performance.now();
  const until = async (goodOnes: number, ms: number): Promise<void> => {
    const end = performance.now() + ms;
    while (progress.good < Math.min(goodOnes, wanted) && performance.now() < end) await sleep(5);
  };
  let during = 0;
  for (let killed = 0; killed < kills; killed += 1) {
    await until(progress.good + 1, longestWaitMs);
    await sleep(Math.random() * longestLifeMs);
    if (progress.good < wanted) during += 1;
    await kill(child);
    child = await start(false);
  }
  await until(wanted, limitMs);
  const maxRss = await residentMiB(child.pid ?? 0);
  const tookMs = progress.lastAt - from;
  await sleep(300);
  await kill(child);
  for (const server of servers) server.close();
  await dns.close();
  await rm(dir, { recursive: true, force: true });
  const slow = doubles.takenOnes().filter((n) => kindOf(n % spread) === 'slow').length;
  console.log(
    `${what}  ${progress.good} of ${wanted} to good domains in ${(tookMs / 1000).toFixed(1)} s, ${Math.round((progress.good * 1000) / tookMs)}/s; ${slow} to slow ones; ${setAside} set aside; ${kills} kills, ${during} of them before the last good one; ${maxRss} MiB`,
  );
  if (kills > 0) console.log(doubles.summary());
}

async function residentMiB(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
}

const only = process.argv[2];
if (only !== 'kills') {
  await run('out of a full queue, 10 good domains', 5_000, 10, 0);
  await run('500 domains, 50 dead, 50 slow', messages, domains, 0);
}
if (only !== 'speed') await run('the same, killed again and again', messages, domains, 100);
process.exit(0);
