import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Libp2p, Stream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { checkNodeCertificate } from '../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { decodeRing } from '../../node/identity/ring.ts';
import { openLog } from '../../node/log/log.ts';
import { LogDisk } from '../../node/log/log-disk.ts';
import { storeMessage } from '../../node/mail/message.ts';
import type { Overlay } from '../../node/overlay/overlay.ts';
import { startOverlay } from '../../node/overlay/start.ts';
import { sha256 } from '../../node/store/block-cipher.ts';
import { type ContentRef, getContent, putContent } from '../../node/store/content.ts';
import { openStore, type Store } from '../../node/store/store.ts';
import { withAttachment } from '../node/mail/messages.ts';
import { address, FakeOverlayNetwork, silentLog, testDomain } from '../node/overlay/fake-overlay.ts';

// The store over several machines, as far as one machine can show it: three nodes in three processes (k = 3, so every one of them keeps all), and
// beside it what the same line and the same disk do without a store. Then repair, memory and the single copy, in one process.
const self = fileURLToPath(import.meta.url);
const owner = address('alice@example.org');
const lease = { identity: owner, until: Date.now() + 28 * 86_400_000 };
const frameBytes = 120_000;

interface Given {
  readonly ring: string;
  readonly seed: string;
  readonly certificate: string;
  readonly list: string;
  readonly bootstrap: string[];
  readonly dir: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (from: string): Uint8Array => Uint8Array.from(Buffer.from(from, 'hex'));

/** A node with its store, in this process. */
async function startNode(given: Given): Promise<{ overlay: Overlay; store: Store }> {
  const ring = decodeRing(bytesOf(given.ring));
  if (ring.kind === 'invalid') throw new Error(ring.reason);
  const trust = { ring: ring.ring, revocations: new RevocationState(ring.ring), now: Date.now() };
  const check = checkNodeCertificate(bytesOf(given.certificate), trust);
  if (check.kind === 'invalid') throw new Error(check.reason);
  const overlay = await startOverlay({
    ring: ring.ring,
    peerSeed: bytesOf(given.seed),
    certificate: check.certificate,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: given.bootstrap,
    revocations: bytesOf(given.list),
    dir: path.join(given.dir, 'overlay'),
    now: Date.now,
    log: silentLog,
  });
  overlay.handle('bench/sink', async () => new Uint8Array());
  const store = await openStore({ overlay, dir: path.join(given.dir, 'store'), now: Date.now, log: silentLog });
  return { overlay, store };
}

interface Figures {
  readonly each: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(count: number, atOnce: number, work: (index: number) => Promise<unknown>): Promise<Figures> {
  const took: number[] = [];
  let next = 0;
  const begun = performance.now();
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const start = performance.now();
      await work(index);
      took.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const each = (count * 1000) / (performance.now() - begun);
  took.sort((left, right) => left - right);
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  return { each, p50: at(0.5), p99: at(0.99) };
}

function line(what: string, figures: string): void {
  process.stdout.write(`${what.padEnd(60)}  ${figures}\n`);
}

function told({ each, p50, p99 }: Figures, bytes: number): string {
  const rate = ((each * bytes) / 1e6).toFixed(1);
  return `${each.toFixed(each < 100 ? 1 : 0)}/s  ${rate} MB/s  p50 ${p50.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms`;
}

async function benchDisk(dir: string): Promise<void> {
  const file = await open(path.join(dir, 'raw'), 'w');
  const block = randomBytes(frameBytes / 2);
  const figures = await measure(400, 1, async () => {
    await file.write(block);
    await file.datasync();
  });
  line('raw disk: append of 60 KB and fdatasync, one at a time', told(figures, block.length));
  await file.close();
}

const sinkProtocol = '/bench/sink/1';

/** A bare host: TCP, Noise and Yamux as the overlay has them, and nothing of ours. */
async function bareHost(): Promise<Libp2p> {
  const seed = Uint8Array.from(randomBytes(32));
  return createLibp2p({
    privateKey: privateKeyFromRaw(Buffer.concat([seed, signingKeyFromSeed(seed).public])),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  });
}

/** In a process of its own: takes what comes on a stream, and answers each 120 KB with a byte. Says on standard output where it listens. */
async function sinkProcess(): Promise<void> {
  const host = await bareHost();
  await host.handle(sinkProtocol, (stream) => {
    let bytes = 0;
    stream.addEventListener('message', ({ data }) => {
      bytes += data.byteLength;
      for (; bytes >= frameBytes; bytes -= frameBytes) stream.send(Uint8Array.of(1));
    });
  });
  process.stdout.write(`${String(host.getMultiaddrs()[0])}\n`);
}

/** Six messages of 120 KB at once over one stream, each until its answer: what the line and libp2p cost without us. */
async function benchStream(): Promise<void> {
  const child = spawn(process.execPath, [self, 'sink'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [at] = (await once(child.stdout, 'data')) as [Buffer];
  const host = await bareHost();
  const stream: Stream = await host.dialProtocol(multiaddr(at.toString().trim()), sinkProtocol);
  const waiting: (() => void)[] = [];
  /** Set while the line is full. */
  const sending: { full?: PromiseWithResolvers<void> | undefined } = {};
  stream.addEventListener('drain', () => {
    sending.full?.resolve();
    sending.full = undefined;
  });
  stream.addEventListener('message', ({ data }) => {
    for (let answers = data.byteLength; answers > 0; answers -= 1) waiting.shift()?.();
  });
  const frame = randomBytes(frameBytes);
  const figures = await measure(2_000, 6, async () => {
    // Who sends without listening to it fills memory instead of the line.
    while (sending.full !== undefined) await sending.full.promise;
    const answered = new Promise<void>((resolve) => waiting.push(resolve));
    if (!stream.send(frame)) sending.full ??= Promise.withResolvers<void>();
    await answered;
  });
  line('raw libp2p stream: 120 KB to one other process, 6 at once', told(figures, frameBytes));
  await host.stop();
  child.kill('SIGKILL');
}

async function benchProcesses(dir: string): Promise<void> {
  const ca = CertificateAuthority.create(testDomain, [], Date.now);
  const children: ChildProcess[] = [];
  const given = (name: string, bootstrap: string[]): Given => {
    const seed = Uint8Array.from(randomBytes(32));
    const certificate = ca.issueNode({
      peerKey: signingKeyFromSeed(seed).public,
      owner: address(`${name}@example.org`),
      days: 2,
    });
    return {
      ring: hex(ca.ringBytes()),
      seed: hex(seed),
      certificate: hex(certificate.bytes),
      list: hex(ca.revocations()),
      bootstrap,
      dir: path.join(dir, name),
    };
  };
  const { overlay, store } = await startNode(given('first', []));
  const bootstrap = overlay.self.addresses.map((one) => `${one}/p2p/${overlay.self.peerId}`);
  for (const name of ['second', 'third']) {
    const child = spawn(process.execPath, [self, 'node'], { stdio: ['pipe', 'ignore', 'inherit'] });
    child.stdin?.end(JSON.stringify(given(name, bootstrap)));
    children.push(child);
  }
  const others = (): string[] =>
    overlay
      .members()
      .map(({ peerId }) => peerId)
      .filter((peerId) => peerId !== overlay.self.peerId && overlay.isUp(peerId));
  while (others().length < 2) await new Promise((resolve) => setTimeout(resolve, 50));

  const frame = randomBytes(frameBytes);
  const [peer = ''] = others();
  const sent = await measure(2_000, 6, () => overlay.request(peer, 'bench/sink', frame, { timeoutMs: 10_000 }));
  line('overlay: requests of 120 KB to one other process, 6 at once', told(sent, frameBytes));
  for (const [name, size, count, atOnce] of [
    ['1 KiB', 1024, 3_000, 32],
    ['64 KiB', 60 * 1024, 500, 16],
    ['5 MiB', 5 * 1024 * 1024, 12, 1],
  ] as const) {
    const refs: ContentRef[] = [];
    const bodies = Array.from({ length: count }, () => randomBytes(size));
    const put = async (index: number): Promise<void> => {
      refs.push(await putContent(store, bodies[index] ?? frame, { kind: 'convergent' }, lease));
    };
    line(`three processes, k = 3: insert ${name}, ${atOnce} at once`, told(await measure(count, atOnce, put), size));
    const get = (index: number): Promise<unknown> => getContent(store, refs[index] ?? never());
    line(`three processes, k = 3: read ${name}, ${atOnce} at once`, told(await measure(count, atOnce, get), size));
  }
  await benchAppend(store, dir);
  await store.stop();
  await overlay.stop();
  for (const child of children) child.kill('SIGKILL');
}

async function benchAppend(store: Store, dir: string): Promise<void> {
  const disk = await LogDisk.open(path.join(dir, 'logs'));
  const signing = signingKeyFromSeed(Uint8Array.from(randomBytes(32)));
  const how = { signing, secret: randomBytes(32), name: 'diary', owner, create: true, now: Date.now, log: silentLog };
  const log = await openLog({ ...how, store, disk });
  const record = randomBytes(300);
  for (const [count, atOnce] of [
    [300, 1],
    [6_000, 64],
  ] as const)
    line(
      `three processes, k = 3: append of 300 B, ${atOnce} at once`,
      told(await measure(count, atOnce, () => log.append([record])), record.length),
    );
  await log.close();
  await disk.close();
}

/** Stores of `size` nodes around an overlay in memory: what repair itself costs, without lines. */
async function benchRepair(dir: string): Promise<void> {
  let now = Date.now();
  const network = new FakeOverlayNetwork(() => now);
  const nodes: { peerId: string; store: Store }[] = [];
  for (const { overlay } of network.addMany(10)) {
    const { peerId } = overlay.self;
    nodes.push({
      peerId,
      store: await openStore({ overlay, dir: path.join(dir, peerId), now: () => now, log: silentLog }),
    });
  }
  const blocks = Array.from({ length: 10_000 }, (_, index) => {
    const bytes = randomBytes(1_000 + (index % 24));
    return { key: sha256(bytes), bytes };
  });
  const [first = never(), ...rest] = nodes;
  for (let at = 0; at < blocks.length; at += 500) await first.store.insert(blocks.slice(at, at + 500), lease);
  for (const { store } of nodes) await store.repair();
  const begun = performance.now();
  for (const { store } of nodes) await store.repair();
  line(
    'ten nodes, 10,000 blocks of 1 KiB: nothing to repair, all nodes',
    `${((performance.now() - begun) / 1000).toFixed(1)} s`,
  );
  const [lost = never()] = rest.splice(-1);
  network.kill(lost.peerId);
  await lost.store.stop();
  now += 11 * 60_000;
  const left = [first, ...rest];
  const lacking = (): number =>
    blocks.filter(({ key }) => left.filter(({ store }) => store.has(key)).length < 3).length;
  const before = lacking();
  const start = performance.now();
  let pushed = 0;
  for (const { store } of left) pushed += (await store.repair()).pushed;
  const seconds = (performance.now() - start) / 1000;
  line(
    'ten nodes, 10,000 blocks of 1 KiB: one lost for good',
    `${seconds.toFixed(1)} s  ${before} lacked a copy  ${pushed} pushed  ${lacking()} lack one`,
  );
  for (const { store } of left) await store.stop();
  await network.stop();
}

async function benchMemory(dir: string): Promise<void> {
  const network = new FakeOverlayNetwork();
  const [{ overlay } = never()] = network.addMany(1);
  const empty = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const before = `${Math.round(Number(/^RssAnon:\s+(\d+) kB/m.exec(empty)?.[1] ?? Number.NaN) / 1024)} MiB`;
  const store = await openStore({ overlay, dir: path.join(dir, 'memory'), now: Date.now, log: silentLog });
  for (let at = 0; at < 100_000; at += 500) {
    const blocks = Array.from({ length: 500 }, () => {
      const bytes = randomBytes(1_024);
      return { key: sha256(bytes), bytes };
    });
    await store.insert(blocks, lease);
  }
  const begun = performance.now();
  await store.repair();
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN);
  const mib = (name: string): string => `${Math.round(kib(name) / 1024)} MiB`;
  line(
    'one node, 100,000 blocks of 1 KiB, a process of its own',
    `own memory ${mib('RssAnon')} (empty ${before})  mapped pages of the disk ${mib('RssFile')}  all read and hashed in ${seconds} s`,
  );
  await store.stop();
  await network.stop();
}

/** Ten senders, a hundred recipients each, one file of 5 MiB. */
async function benchSingleCopy(dir: string): Promise<void> {
  const network = new FakeOverlayNetwork();
  const [{ overlay } = never()] = network.addMany(1);
  const store = await openStore({ overlay, dir: path.join(dir, 'single'), now: Date.now, log: silentLog });
  const file = randomBytes(5 * 2 ** 20);
  let maildir = 0;
  for (let sender = 0; sender < 10; sender++) {
    const how = [{ width: 76 }, { width: 64 }, { width: 72, eol: '\n' as const }, { encoding: 'binary' }][sender % 4];
    const message = withAttachment(file, { ...how, subject: `from sender ${sender}` });
    maildir += 100 * message.length;
    await storeMessage(store, message, { salt: Buffer.alloc(32, sender + 1), lease });
  }
  const [account = never()] = await store.accounts();
  const ring = 3 * account.bytes;
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  line(
    'single copy: 5 MiB from ten people to a hundred each',
    `ring (k = 3) ${mb(ring)}  maildirs ${mb(maildir)}  1 : ${Math.round(maildir / ring)}`,
  );
  await store.stop();
  await network.stop();
}

function never(): never {
  throw new Error('there is one by construction');
}

if (process.argv[2] === 'node') {
  await startNode(JSON.parse(await text(process.stdin)) as Given);
} else if (process.argv[2] === 'sink') {
  await sinkProcess();
} else if (process.argv[2] === 'stream') {
  await benchStream();
} else if (process.argv[2] === 'memory') {
  await benchMemory(process.argv[3] ?? never());
} else {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-bench-store-ring-'));
  await benchDisk(dir);
  await benchStream();
  await benchProcesses(dir);
  await benchRepair(dir);
  await once(spawn(process.execPath, [self, 'memory', dir], { stdio: 'inherit' }), 'exit');
  await benchSingleCopy(dir);
  await rm(dir, { recursive: true, force: true });
}
