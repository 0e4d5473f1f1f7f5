import type { Trust } from '../identity/certificate.ts';
import type { Conduct } from '../overlay/conduct.ts';
import type { Overlay, RequestHandler } from '../overlay/overlay.ts';
import type { Store } from '../store/store.ts';
import { Arrivals } from './arrivals.ts';
import { NotifyFault } from './fault.ts';
import { Holder } from './holder.ts';
import type { Clock, Log, Notify, Trace } from './notify.ts';
import { Peers } from './peers.ts';
import { PendingTable } from './pending-table.ts';
import { readReceipt } from './receipt.ts';
import { PendingKeeper } from './repair.ts';
import { Sender } from './sender.ts';
import { SentTable } from './sent-table.ts';
import { openTables } from './table.ts';
import { decodePush, decodeReceipts, encodeWords, methods } from './wire.ts';

const sentSweepEveryMs = 3_600_000;

export interface NotifyOptions {
  readonly overlay: Overlay;
  readonly store: Pick<Store, 'lookupIdentity'>;
  /** Own folder on disk: pending items and receipts of others, and what was sent from here. */
  readonly dir: string;
  readonly now: Clock;
  readonly log: Log;
  readonly trace?: Trace | undefined;
  /** Told of holders that misbehave. */
  readonly conduct?: Conduct | undefined;
}

// Proving one takes a tenth of a millisecond, and a frame holds 500: others have their turn in between.
const receiptsAtOnce = 64;

const noTrace: Trace = () => undefined;

/** Starts the notify floor of a node. What it kept before a stop or a crash goes on by itself. */
export async function startNotify(options: NotifyOptions): Promise<Notify> {
  const { overlay, now, log, trace = noTrace } = options;
  const tables = openTables(options.dir);
  const pending = new PendingTable(tables);
  const sent = new SentTable(tables.sent);
  const peers = new Peers(overlay);
  const holder = new Holder({ table: pending, trust: () => trustOf(overlay, now) });
  const sender = new Sender({ ...options, table: sent, peers, trace });
  const arrivals = new Arrivals({ overlay, peers, now, log });
  /** Where a receipt belongs: to what is held for others, and to what was sent from here. */
  const takeReceipt = async (bytes: Uint8Array): Promise<boolean> => {
    const read = readReceipt(bytes);
    if (read === undefined) return false;
    // Side by side, so that both are in one commit of the disk.
    const [removed, mine] = await Promise.all([
      pending.answer(read.receipt, read.signer, now()),
      sender.takeRead(read.receipt, read.signer),
    ]);
    return removed > 0 || mine;
  };
  const keeper = new PendingKeeper({ overlay, table: pending, peers, takeReceipt, now, log });

  const desk = new Desk(overlay);
  desk.serve(methods.put, async (body, from) => holder.put(body, from));
  desk.serve(methods.list, async (body) => holder.list(body));
  desk.serve(methods.get, async (body) => holder.get(body));
  desk.serve(methods.ask, async (body) => holder.ask(body));
  desk.serve(methods.push, async (body, from) =>
    encodeWords(decodePush(body).map((pushed) => arrivals.take(pushed, from.peerId))),
  );
  desk.serve(methods.receipts, async (body) => {
    const receipts = decodeReceipts(body);
    const taken: boolean[] = [];
    for (let at = 0; at < receipts.length; at += receiptsAtOnce)
      taken.push(...(await Promise.all(receipts.slice(at, at + receiptsAtOnce).map(takeReceipt))));
    return encodeWords(taken.map((one) => (one ? 'taken' : 'not mine')));
  });
  const unlisten = overlay.onMembership(({ kind }) => {
    if (kind !== 'up' && kind !== 'woke') return;
    arrivals.pullAll();
    sender.memberUp();
  });
  const hourly = setInterval(() => {
    sent.sweep(now()).catch((error: unknown) => log.warn({ err: error }, 'old answers could not be forgotten yet'));
  }, sentSweepEveryMs);
  sender.sweep();

  return {
    send: async (sealed) => sender.send(sealed),
    attach: (recipient) => arrivals.attach(recipient),
    watch: async (awaited) => sender.watch(awaited),
    onReceipt: (listener) => sender.onReceipt(listener),
    repair: async () => keeper.run(),
    stats: () => {
      const { items, bytes, receipts } = pending.stats();
      return {
        pending: items,
        pendingBytes: bytes,
        receipts,
        outstanding: sent.waiting,
        attached: arrivals.attached,
      };
    },
    async stop() {
      clearInterval(hourly);
      unlisten();
      peers.stop();
      await keeper.stop();
      await arrivals.stop();
      await sender.stop();
      await desk.stop();
      await tables.close();
    },
  };
}

function trustOf(overlay: Overlay, now: Clock): Trust {
  return { ring: overlay.ring, revocations: overlay.revocations(), now: now() };
}

/** What peers ask of this floor, so that nothing is answered after the tables are closed. */
class Desk {
  readonly #overlay: Overlay;
  readonly #answering = new Set<Promise<unknown>>();
  #stopped = false;

  constructor(overlay: Overlay) {
    this.#overlay = overlay;
  }

  serve(method: string, handler: RequestHandler): void {
    this.#overlay.handle(method, async (body, from, signal) => {
      if (this.#stopped) throw new NotifyFault('stopped', 'this node is stopping');
      const answer = handler(body, from, signal);
      this.#answering.add(answer);
      try {
        return await answer;
      } finally {
        this.#answering.delete(answer);
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#answering);
  }
}
