import type { Address } from '../../policy/address.ts';
import { returnedPart } from '../returned-part.ts';
import { type Awaited, AwaitedFile } from './awaited-file.ts';
import type { FailedRecipient } from './deliver.ts';
import type { StoredMessage } from './job.ts';
import type { Log, Trace } from './parts.ts';
import { type Action, isWanted } from './wishes.ts';

/** What we read of a receipt; node's Receipt fits. */
export interface ReceiptSeen {
  readonly id: Uint8Array;
  readonly verdict: string;
  readonly rule?: string;
}

export interface AwaitedReceipts {
  /** Resolves when it is synced to disk that it is awaited, or when the receipt is here already. */
  readonly expect: (id: Uint8Array, awaited: Awaited) => Promise<void>;
  readonly stop: () => void;
}

export interface ReceiptParts {
  readonly post: {
    onReceipt(listener: (receipt: ReceiptSeen) => void): () => void;
    /** Has the receipts for these come to the listeners, those that came while we were away included. */
    watch(awaited: readonly { readonly id: Uint8Array; readonly recipient: Address }[]): Promise<void>;
  };
  /** Own folder: what is awaited outlives a restart. */
  readonly ledgerDir: string;
  readonly now: () => number;
  readonly fetch: (message: StoredMessage) => Promise<Uint8Array>;
  readonly notifySender: (failed: FailedRecipient) => Promise<unknown>;
  readonly trace: Trace;
  readonly log: Pick<Log, 'error'>;
}

// A receipt usually comes within a second; this is an hour of a busy gateway. What is forgotten is not told.
const maxAwaited = 20_000;

/**
 * Writes each recipient's receipt into the trace of its message, and tells the postmaster and a proven sender when it is not that of an accepted one.
 * What is awaited is on disk, and asked for again after a restart. A crash between telling and noting that tells twice, which its names make one.
 */
export function awaitedReceipts(parts: ReceiptParts): AwaitedReceipts {
  const file = new AwaitedFile(parts.ledgerDir, parts.now());
  const awaited = new Map<string, Awaited>(file.awaited());
  const early = new Map<string, ReceiptSeen>();
  const tell = (key: string, known: Awaited, receipt: ReceiptSeen): void => {
    const { verdict, rule } = receipt;
    const facts = { recipient: known.recipient, verdict, ...(rule === undefined ? {} : { rule }) };
    parts.trace(known.trace, { what: 'receipt', ...facts });
    if (verdict !== 'accepted')
      parts.log.error({ trace: known.trace, ...facts }, 'an accepted message did not get into the mailbox');
    if (!isToBeTold(known, verdict)) {
      file.settle(key);
      return;
    }
    // Settled when he is told, and not before: otherwise the next start tries again.
    tellSender(parts, known, verdict)
      .then(() => file.settle(key))
      .catch((error: unknown) => parts.log.error({ trace: known.trace, err: error }, 'its sender could not be told'));
  };
  const stop = parts.post.onReceipt((receipt) => {
    const key = Buffer.from(receipt.id).toString('hex');
    const known = awaited.get(key);
    awaited.delete(key);
    if (known !== undefined) tell(key, known, receipt);
    // A recipient on this very machine can answer before the notification is reported as sent.
    else keep(early, key, receipt);
  });
  const waiting = [...awaited].map(([id, { recipient }]) => ({
    id: Uint8Array.from(Buffer.from(id, 'hex')),
    recipient,
  }));
  parts.post
    .watch(waiting)
    .catch((error: unknown) =>
      parts.log.error({ err: error }, 'receipts could not be asked for; asked at the next start'),
    );
  return {
    expect: async (id, known) => {
      const key = Buffer.from(id).toString('hex');
      const receipt = early.get(key);
      early.delete(key);
      if (receipt !== undefined) {
        tell(key, known, receipt);
        return;
      }
      const forgotten = keep(awaited, key, known);
      if (forgotten !== undefined) file.settle(forgotten);
      await file.expect(key, known);
    },
    stop: () => {
      stop();
      file.close();
    },
  };
}

const actionOf = (verdict: string): Action => (verdict === 'accepted' ? 'delivered' : 'failed');

function isToBeTold({ sender, dsn, recipient }: Awaited, verdict: string): boolean {
  return sender !== '' && isWanted(dsn?.recipients[recipient], actionOf(verdict));
}

async function tellSender(parts: ReceiptParts, known: Awaited, verdict: string): Promise<void> {
  const { trace, recipient, sender, receivedAt, message, dsn } = known;
  const action = actionOf(verdict);
  const bytes = await parts.fetch(message).catch(() => new Uint8Array());
  // RFC 3463: 5.4.7 delivery time expired, 5.7.1 delivery not authorized.
  const said =
    verdict === 'accepted'
      ? { status: '2.0.0', text: 'It is in the mailbox.' }
      : verdict === 'undeliverable'
        ? { status: '5.4.7', text: 'It was accepted, and then not fetched in time.' }
        : { status: '5.7.1', text: 'It was accepted here, and then refused by the recipient.' };
  await parts.notifySender({
    ...said,
    action,
    sender,
    recipient,
    ...returnedPart(bytes, dsn?.ret, action === 'failed'),
    receivedAt,
    trace,
    dsn,
  });
}

/** Keeps it; beyond the bound the oldest is forgotten, and named. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value): string | undefined {
  map.set(key, value);
  const oldest = map.size > maxAwaited ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
  return oldest;
}
