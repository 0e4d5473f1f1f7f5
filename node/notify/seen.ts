import { setImmediate as breath } from 'node:timers/promises';
import { memoryMs } from './lifetime.ts';
import { afterPrefix, type Bytes, openEnvironment, type Row } from './table.ts';

/** Which notifications of which recipient have been handled, with the receipt each one got. Survives a crash. */
export interface SeenIds {
  find(recipientKey: Uint8Array, id: Uint8Array): Uint8Array | undefined;
  /** Resolves when it is on disk. */
  keep(recipientKey: Uint8Array, id: Uint8Array, receipt: Uint8Array, at: number): Promise<void>;
  stop(): Promise<void>;
}

const sweepEveryMs = 3_600_000;
const pageRows = 500;

/** The memory of handled ids in a folder of its own; what is older than the window plus a day is forgotten hourly. */
export function openSeenIds(options: { readonly dir: string; readonly now: () => number }): SeenIds {
  const root = openEnvironment(options.dir);
  const rows: Bytes = root.openDB<Buffer, Buffer>({ name: 'seen', encoding: 'binary', keyEncoding: 'binary' });
  let sweeping = Promise.resolve();
  const stopping = new AbortController();

  const sweep = async (): Promise<void> => {
    let start: Buffer | undefined = Buffer.alloc(0);
    while (start !== undefined && !stopping.signal.aborted) {
      const page: Row[] = [...rows.getRange({ start, limit: pageRows })];
      const old = page.filter(({ value }) => Number(value.readBigUInt64BE(0)) < options.now() - memoryMs);
      await Promise.all(old.map(async ({ key }) => rows.remove(key)));
      const last = page.at(-1);
      start = page.length < pageRows || last === undefined ? undefined : afterPrefix(last.key);
      await breath();
    }
  };
  const timer = setInterval(() => {
    // A failed sweep leaves rows for the next one; a broken disk shows itself in `keep`, which is awaited.
    sweeping = sweeping.then(sweep).catch(() => undefined);
  }, sweepEveryMs);
  timer.unref();

  return {
    find: (recipientKey, id) => rows.get(Buffer.concat([recipientKey, id]))?.subarray(8),
    async keep(recipientKey, id, receipt, at) {
      const head = Buffer.alloc(8);
      head.writeBigUInt64BE(BigInt(at));
      await rows.put(Buffer.concat([recipientKey, id]), Buffer.concat([head, receipt]));
    },
    async stop() {
      stopping.abort();
      clearInterval(timer);
      await sweeping;
      await root.close();
    },
  };
}
