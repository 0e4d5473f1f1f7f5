/** An MX listener in a process of its own (disk-child.ts), over a queue on a disk that is not well, with its clients, and what is left of its mail at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { fileURLToPath } from 'node:url';
import { decodeInboundJob } from '../../../gateway/inbound/job.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import { kill } from './disk-under-test.ts';
import { plainMessage, RawClient } from './listener-under-test.ts';

const childFile = fileURLToPath(new URL('./disk-child.ts', import.meta.url));
const quiet = { info() {}, warn() {}, error() {} };

export interface TakingSettings {
  readonly decisionMs: number;
  readonly slowMs: number;
}

export class TakingChild {
  readonly #queueDir: string;
  readonly #settings: TakingSettings;
  readonly #clients: RawClient[] = [];
  #child: ChildProcess | undefined;
  #port = 0;

  constructor(queueDir: string, settings: TakingSettings) {
    this.#queueDir = queueDir;
    this.#settings = settings;
  }

  get process(): ChildProcess {
    if (this.#child === undefined) throw new Error('not started');
    return this.#child;
  }

  get isGone(): boolean {
    return this.process.exitCode !== null;
  }

  async start(): Promise<void> {
    this.#child = spawn(process.execPath, [childFile, this.#queueDir, JSON.stringify(this.#settings)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    if (this.#child.stdout === null) throw new Error('no output');
    const [said] = (await once(this.#child.stdout, 'data')) as [Buffer];
    this.#port = Number(said.toString());
  }

  async connect(): Promise<RawClient> {
    const client = await RawClient.connect(this.#port);
    this.#clients.push(client);
    return client;
  }

  /** The greeting of a new connection; a process that gave up on its queue is started again first, as the supervisor does. */
  async greeting(): Promise<string> {
    if (this.isGone) await this.start();
    const client = new RawClient(createConnection(this.#port, '127.0.0.1'));
    const said = await client.reply();
    client.close();
    return said;
  }

  async end(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    if (this.#child !== undefined) await kill(this.#child);
  }

  /** The numbers of the messages that a new owner of the queue finds in it, each as often as it is there. */
  async kept(): Promise<number[]> {
    const queue = await openEmbeddedQueue({
      dir: this.#queueDir,
      role: 'owner',
      now: Date.now,
      log: quiet,
      minFreeBytes: 1,
    });
    try {
      const jobs = await queue.list({ state: 'due', limit: 1_000 });
      const bodies = await Promise.all(jobs.map(async ({ id }) => decodeInboundJob((await queue.get(id))!.body)));
      const texts = bodies.map((job) => Buffer.from(job.message as Uint8Array).toString());
      return texts.map((text) => Number(/number (\d+)\./.exec(text)?.[1])).sort((a, b) => a - b);
    } finally {
      await queue.close();
    }
  }
}

/** The reply to a message that has its number in it, or to what was refused before it. */
export async function sent(client: RawClient, n: number, lines = 0): Promise<string> {
  try {
    await client.envelope();
  } catch (refused) {
    return String(refused).replace(/^Error: /, '');
  }
  const filler = `${'0123456789'.repeat(7)}\r\n`.repeat(lines);
  return await client.data(`${plainMessage.replace('hello', `number ${n}.`)}${filler}`);
}
