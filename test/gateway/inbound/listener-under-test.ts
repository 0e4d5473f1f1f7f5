import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { noLists } from '../../../gateway/evidence/dns-lists.ts';
import { historyIn } from '../../../gateway/evidence/history.ts';
import { verifyHere } from '../../../gateway/evidence/verifier.ts';
import { startVerifyThreads } from '../../../gateway/evidence/verify-threads.ts';
import { decodeInboundJob, type InboundJob } from '../../../gateway/inbound/job.ts';
import { defaultInboundLimits, type InboundLimits } from '../../../gateway/inbound/limits.ts';
import { type Listener, startListener } from '../../../gateway/inbound/listener.ts';
import type { InboundParts, TraceEvent } from '../../../gateway/inbound/parts.ts';
import type { Found } from '../../../gateway/inbound/recipient.ts';
import { returnPaths } from '../../../gateway/returns/return-path.ts';
import { startStorageGate } from '../../../gateway/storage/gate.ts';
import { tryDisk } from '../../../gateway/storage/try-disk.ts';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { type Address, type Domain, parseAddress } from '../../../policy/address.ts';
import { Limits } from '../../../policy/limits.ts';
import { loadPolicy } from '../../../policy/load.ts';
import type { Policy } from '../../../policy/policy.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import type { Queue } from '../../../queue/queue.ts';
import { type DnsServer, startDnsServer, type Zone } from '../dns-server.ts';

export const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.address;
};

export const policyOf = (text: string): Policy => {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded));
  return loaded.policy;
};

export const acceptAll = policyOf('version: 1\nrules: []\ndefault: accept\n');

export interface UnderTest {
  readonly listener: Listener;
  readonly port: number;
  readonly queue: Queue;
  readonly dns: DnsServer;
  readonly parts: InboundParts;
  readonly events: readonly (TraceEvent & { readonly trace: string })[];
  /** Who the ring knows; an entry `unknown` or a throw stands for trouble. */
  readonly people: Map<string, Found | 'throw'>;
  /** The jobs in the queue, decoded; all that wait, or those with these ids. */
  jobs(ids?: readonly string[]): Promise<InboundJob[]>;
  stop(): Promise<void>;
}

export interface UnderTestOptions {
  readonly zone?: Zone;
  readonly policy?: Policy;
  readonly limits?: Partial<InboundLimits>;
  readonly tls?: SecureContextOptions;
  /** More than the disk has makes the queue unwell. */
  readonly minFreeBytes?: number;
  readonly parts?: Partial<InboundParts>;
  /** The queue's folder, where it is to outlive this; a temporary one if absent. */
  readonly dir?: string;
  /** After which a silent disk counts as broken. */
  readonly slowMs?: number;
  readonly onBroken?: () => void;
  /** That verify messages; none unless given. */
  readonly threads?: number;
}

export const paths = returnPaths(Buffer.alloc(32, 1));
const user: Found = { kind: 'found', certificate: { kind: 'user' } };
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A real listener with a real queue in a temporary folder and a real name server; only the ring is a table. */
export async function startUnderTest(options: UnderTestOptions = {}): Promise<UnderTest> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'epost-inbound-')));
  const dns = await startDnsServer(options.zone);
  const { minFreeBytes = 1, slowMs = 10_000, onBroken = () => undefined } = options;
  const queue = await openEmbeddedQueue({ dir, role: 'owner', now: Date.now, log: silent, minFreeBytes });
  const storage = await startStorageGate({
    queue,
    tryDisk: () => tryDisk(dir),
    now: Date.now,
    log: silent,
    everyMs: 20,
    slowMs,
    onBroken,
  });
  const events: (TraceEvent & { trace: string })[] = [];
  const people = new Map<string, Found | 'throw'>([
    ['alice@example.org', user],
    ['bob@example.org', user],
    ['list@example.org', { kind: 'found', certificate: { kind: 'list' } }],
    ['mailer-daemon@example.org', { kind: 'found', certificate: { kind: 'service' } }],
    ['gone@example.org', { kind: 'revoked' }],
    ['lost@example.org', { kind: 'unknown', reason: 'too few holders answered' }],
    ['broken@example.org', 'throw'],
  ]);
  let traces = 0;
  const asking = { servers: [dns.address], timeoutMs: 500 };
  const resolver = createResolver({ ...asking, now: Date.now });
  const threads = startVerifyThreads({
    count: options.threads ?? 0,
    dns: asking,
    here: verifyHere(resolver, Date.now),
    log: silent,
  });
  const limits = { ...defaultInboundLimits, slowAnswerMs: 10, ...options.limits };
  const parts: InboundParts = {
    config: {
      hostname: 'mx.example.org',
      ring: 'example.org',
      domains: ['example.org' as Domain, 'example.com' as Domain],
      aliases: new Map([[address('postmaster@example.org'), address('alice@example.org')]]),
      gateway: address('gateway@example.org'),
    },
    limits,
    queue,
    storage,
    lookup: async (who) => {
      const found = people.get(who) ?? { kind: 'none' };
      if (found === 'throw') throw new Error('the node is away');
      return found;
    },
    store: async () => {
      throw new Error('the ring cannot take anything');
    },
    policy: () => options.policy ?? acceptAll,
    policyLimits: new Limits(),
    resolver,
    verify: threads.verify,
    history: historyIn(queue, Date.now),
    lists: noLists,
    returnPaths: paths,
    signer: generateIdentityKeys().signing,
    trace: (trace, event) => events.push({ trace, ...event }),
    log: silent,
    now: Date.now,
    newTraceId: () => {
      traces += 1;
      return `t${traces}`;
    },
    ...options.parts,
  };
  await threads.ready();
  const listener = await startListener(parts, {
    host: '127.0.0.1',
    port: 0,
    ...(options.tls ? { tls: options.tls } : {}),
  });
  return {
    listener,
    port: listener.port,
    queue,
    dns,
    parts,
    events,
    people,
    jobs: async (ids) => {
      const waiting = async (state: 'due' | 'held'): Promise<string[]> =>
        (await queue.list({ state, limit: 1000 })).map((job) => job.id);
      const jobs = await Promise.all(
        (ids ?? [await waiting('due'), await waiting('held')].flat()).map((id) => queue.get(id)),
      );
      return jobs.flatMap((job) => (job === undefined ? [] : [decodeInboundJob(job.body)]));
    },
    stop: async () => {
      await listener.stop(1000);
      await storage.stop();
      await threads.stop();
      await queue.close();
      await dns.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A client that writes what it is told, octet for octet, and reads whole replies. */
export class RawClient {
  readonly socket: Socket;
  #text = '';
  #wake: () => void = () => undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => this.#wake());
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Without waiting for the greeting. */
  static open(port: number, host = '127.0.0.1'): RawClient {
    return new RawClient(createConnection({ port, host }));
  }

  static async connect(port: number, localAddress = '127.0.0.1'): Promise<RawClient> {
    const client = new RawClient(createConnection({ port, host: '127.0.0.1', localAddress }));
    await client.reply();
    return client;
  }

  write(data: string | Uint8Array): void {
    this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** The next whole reply (all its lines), or `closed`. */
  async reply(): Promise<string> {
    for (;;) {
      const end = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#text);
      if (end !== null) {
        this.#text = this.#text.slice(end[0].length);
        return end[0].trimEnd();
      }
      if (this.#closed) return 'closed';
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  async say(command: string): Promise<string> {
    this.write(`${command}\r\n`);
    return await this.reply();
  }

  /** EHLO, MAIL and RCPT, each of which must be accepted. */
  async envelope(from = 'friend@sender.example', ...to: readonly string[]): Promise<void> {
    const said = [await this.say('EHLO client.example'), await this.say(`MAIL FROM:<${from}>`)];
    for (const recipient of to.length === 0 ? ['alice@example.org'] : to)
      said.push(await this.say(`RCPT TO:<${recipient}>`));
    const refused = said.find((reply) => !reply.startsWith('2'));
    if (refused !== undefined) throw new Error(refused);
  }

  /** DATA and the message as it is, with the final dot; the reply to it. */
  async data(message: string | Uint8Array): Promise<string> {
    const go = await this.say('DATA');
    if (!go.startsWith('354')) return go;
    this.write(message);
    this.write('.\r\n');
    return await this.reply();
  }

  close(): void {
    this.socket.destroy();
  }
}

export const plainMessage =
  'From: A Friend <friend@sender.example>\r\nTo: alice@example.org\r\nSubject: hi\r\n\r\nhello\r\n';
