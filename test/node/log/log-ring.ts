import path from 'node:path';
import { generateIdentityKeys, type IdentityKeys } from '../../../node/identity/keys.ts';
import { type Log, type LogStore, openLog } from '../../../node/log/log.ts';
import { LogDisk } from '../../../node/log/log-disk.ts';
import { address, silentLog } from '../overlay/fake-overlay.ts';
import { StoreRing } from '../store/store-ring.ts';

export const text = (record: Uint8Array): string => Buffer.from(record).toString();
export const records = (...texts: string[]): Uint8Array[] => texts.map((one) => Buffer.from(one));

export async function all(log: Log, from = 0): Promise<string[]> {
  const read: string[] = [];
  let next = from;
  for await (const item of log.read(from)) {
    if (item.seq !== next) throw new Error(`item ${item.seq} comes where ${next} was due`);
    next = item.after.seq;
    if (item.kind === 'record') read.push(text(item.record));
    if (item.kind === 'missing') read.push(`${item.count} missing`);
  }
  return read;
}

/** One user's logs on the nodes of a ring: each node has its own log disk. */
export class LogRing {
  readonly ring: StoreRing;
  readonly keys: IdentityKeys = generateIdentityKeys();
  readonly #disks = new Map<string, LogDisk>();
  #fresh = 0;

  private constructor(ring: StoreRing) {
    this.ring = ring;
  }

  static async of(size: number): Promise<LogRing> {
    return new LogRing(await StoreRing.of(size));
  }

  /** The log at a node. `disk` names a log disk there; another name is a node that never saw the log. */
  async open(
    index: number,
    options: { create?: boolean; disk?: string; name?: string; store?: LogStore } = {},
  ): Promise<Log> {
    return openLog({
      store: options.store ?? this.ring.node(index).store,
      disk: await this.disk(index, options.disk ?? 'logs'),
      signing: this.keys.signing,
      secret: this.keys.export().subarray(0, 32),
      name: options.name ?? 'INBOX',
      owner: address('alice@example.org'),
      create: options.create ?? false,
      now: () => 1_000,
      log: silentLog,
    });
  }

  /** A disk that has never been used. */
  freshDisk(): string {
    return `fresh-${this.#fresh++}`;
  }

  async disk(index: number, name: string): Promise<LogDisk> {
    const dir = path.join(this.ring.node(index).dir, name);
    const open = this.#disks.get(dir) ?? (await LogDisk.open(dir));
    this.#disks.set(dir, open);
    return open;
  }

  async stop(): Promise<void> {
    for (const disk of this.#disks.values()) await disk.close();
    await this.ring.stop();
  }
}
