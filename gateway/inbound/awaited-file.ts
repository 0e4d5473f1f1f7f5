import { closeSync, fdatasync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { type Address, parseAddress } from '../../policy/address.ts';
import type { StoredMessage } from './job.ts';
import { type Wishes, wishes } from './wishes.ts';

/** A notification whose receipt is to come, and what telling its sender would take. */
export interface Awaited {
  readonly trace: string;
  readonly recipient: Address;
  /** Empty where nobody may be told. */
  readonly sender: string;
  readonly receivedAt: number;
  readonly message: StoredMessage;
  /** What the sender asked to be told. */
  readonly dsn?: Wishes | undefined;
}

const shape = z.strictObject({
  trace: z.string(),
  recipient: z.string().transform((text, context) => {
    const parsed = parseAddress(text);
    if (parsed.kind === 'address') return parsed.address;
    context.addIssue({ code: 'custom', message: parsed.reason });
    return z.NEVER;
  }),
  sender: z.string(),
  receivedAt: z.number(),
  dsn: wishes.optional(),
  message: z.looseObject({ size: z.number(), hash: z.custom<Uint8Array>((value) => value instanceof Uint8Array) }),
});

// A notification lives 14 days, and its receipt is kept for 15: after that nothing will come.
const keptMs = 15 * 86_400_000;
// Lines that are settled are dropped when there are so many of them: some megabytes, rewritten in tens of milliseconds.
const maxSettled = 20_000;

const syncFile = promisify(fdatasync);

/**
 * What receipts are awaited for, on our own disk: a line when one is expected, a line when it has come. A line is written before the call returns, which the
 * death of the process cannot undo. That one is expected is synced when the promise of `expect` resolves, those of one moment together; that it has come is
 * not, since what a power cut forgets of that is told again under the same name.
 */
export class AwaitedFile {
  readonly #file: string;
  readonly #dir: string;
  readonly #sync: (fd: number) => Promise<void>;
  readonly #live: Map<string, string>;
  #fd: number | undefined;
  #settled = 0;
  /** The sync that runs, and the one that covers what is written meanwhile. */
  #syncing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** Reads what is awaited still. A damaged or cut line is as if it were not there. */
  constructor(dir: string, now: number, sync: (fd: number) => Promise<void> = syncFile) {
    this.#dir = dir;
    this.#sync = sync;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#file = join(dir, 'awaited.log');
    this.#live = linesOf(this.#file);
    for (const [id, line] of this.#live) if ((read(line)?.receivedAt ?? 0) < now - keptMs) this.#live.delete(id);
    this.#fd = this.#rewrite();
  }

  /** By id (hex), oldest first. */
  *awaited(): Generator<[string, Awaited]> {
    for (const [id, line] of this.#live) {
      const awaited = read(line);
      if (awaited !== undefined) yield [id, awaited];
    }
  }

  async expect(id: string, awaited: Awaited): Promise<void> {
    const { dsn, ...rest } = awaited;
    const line = Buffer.from(encode(dsn === undefined ? rest : { ...rest, dsn })).toString('base64');
    this.#live.set(id, line);
    this.#write(`${id} ${line}\n`);
    await this.#synced();
  }

  #synced(): Promise<void> {
    this.#next ??= this.#syncing.then(async () => {
      this.#syncing = this.#next ?? Promise.resolve();
      this.#next = undefined;
      const fd = this.#fd;
      // A file that was rewritten meanwhile was synced as a whole.
      if (fd !== undefined) await this.#sync(fd).catch((error: unknown) => this.#unlessReplaced(fd, error));
    });
    return this.#next;
  }

  #unlessReplaced(fd: number, error: unknown): void {
    if (this.#fd === fd) throw error;
  }

  settle(id: string): void {
    if (!this.#live.delete(id)) return;
    this.#write(`${id}\n`);
    if (++this.#settled < maxSettled || this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = this.#rewrite();
  }

  /** What is settled after this is settled by the next start. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #write(line: string): void {
    if (this.#fd !== undefined) writeSync(this.#fd, line);
  }

  #rewrite(): number {
    const fresh = openSync(`${this.#file}.new`, 'w', 0o600);
    for (const [id, line] of this.#live) writeSync(fresh, `${id} ${line}\n`);
    fsyncSync(fresh);
    renameSync(`${this.#file}.new`, this.#file);
    // Else a power cut may bring back the old file, without what was written to this one since.
    const folder = openSync(this.#dir, 'r');
    fsyncSync(folder);
    closeSync(folder);
    this.#settled = 0;
    return fresh;
  }
}

function linesOf(file: string): Map<string, string> {
  const live = new Map<string, string>();
  let text = '';
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  // The last line has its end, or was cut.
  for (const one of text.split('\n').slice(0, -1)) {
    const [id = '', line] = one.split(' ');
    if (line === undefined) live.delete(id);
    else if (read(line) !== undefined) live.set(id, line);
  }
  return live;
}

function read(line: string): Awaited | undefined {
  try {
    return shape.parse(decode(Buffer.from(line, 'base64')));
  } catch {
    return undefined;
  }
}
