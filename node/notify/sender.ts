import type { IdentityCertificate } from '../identity/certificate.ts';
import type { Conduct } from '../overlay/conduct.ts';
import type { Overlay } from '../overlay/overlay.ts';
import type { IdentityRecord, Lookup } from '../store/directory.ts';
import type { Store } from '../store/store.ts';
import { askDelayMs } from './backoff.ts';
import { sameBytes } from './field.ts';
import { clockSkewMs, lifetimeMs } from './lifetime.ts';
import type { Awaited, Log, SendResult, Trace } from './notify.ts';
import type { Peers } from './peers.ts';
import type { PendingKey } from './pending-table.ts';
import { answers, type Receipt, readReceipt } from './receipt.ts';
import { decodeOuter, type Sealed } from './sealed.ts';
import { type Outstanding, type SentRow, type SentTable, undeliverable } from './sent-table.ts';
import { isThere, livingHolders, spread } from './spread.ts';

// Of a contact list only the first few are tried: the rest of the ring holds pending copies anyway.
const maxContacts = 3;
const sweepEveryMs = 30_000;
const settleMs = 1000;
// Asked at a time in one sweep: the rest has its turn half a minute later, so that a restart is no flood.
const asksPerSweep = 500;

type Found = Lookup & { readonly kind: 'found' };

export interface SenderOptions {
  readonly overlay: Overlay;
  readonly store: Pick<Store, 'lookupIdentity'>;
  readonly table: SentTable;
  readonly peers: Peers;
  readonly now: () => number;
  readonly log: Log;
  readonly trace: Trace;
  readonly conduct?: Conduct | undefined;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The sending side: copies at the holders, the push, and the wait for the receipt (DESIGN §8.1, §8.2, §8.5). */
export class Sender {
  readonly #options: SenderOptions;
  readonly #listeners = new Set<(receipt: Receipt) => void>();
  readonly #tasks = new Set<Promise<void>>();
  /** When to ask next; bounded with the table's outstanding rows, and forgotten with them. */
  readonly #asks = new Map<string, { asked: number; due: number; failed?: true }>();
  readonly #timer: NodeJS.Timeout;
  #soon: NodeJS.Timeout | undefined;
  #sweeping = false;
  #stopped = false;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.sweep(), sweepEveryMs);
  }

  async send(sealed: Sealed): Promise<SendResult> {
    if (this.#stopped) return { kind: 'unknown', reason: 'the node is stopping' };
    const found = await this.#options.store.lookupIdentity(sealed.recipient);
    if (found.kind !== 'found')
      return { kind: 'unknown', reason: `the recipient cannot be looked up: ${whyNot(found)}` };
    try {
      return await this.#sendTo(sealed, found);
    } catch (error) {
      return { kind: 'unknown', reason: error instanceof Error ? error.message : 'the notification could not be kept' };
    }
  }

  async #sendTo(sealed: Sealed, found: Found): Promise<SendResult> {
    const { table, now, trace } = this.#options;
    // The same name again keeps the first bytes, so that a retry leaves no second copy anywhere; unless it is for another key.
    const known = table.find(sealed.id);
    if (known?.state.kind === 'answered') {
      this.#tell(known.state.receipt);
      // The recipient's own copy.
      return { kind: 'pending', copies: 1 };
    }
    const { to } = decodeOuter(sealed.bytes);
    const row = known !== undefined && sameBytes(known.to, to) ? known : await table.add(sealed, now());
    if (!sameBytes(row.to, found.certificate.signingKey))
      return { kind: 'unknown', reason: 'the recipient has another key by now; compose it again' };
    const copies = await this.#place(sealed.id, row, found.certificate);
    trace(hex(sealed.id), { what: 'notification pending', copies });
    if (!this.#asks.has(hex(sealed.id))) this.#asks.set(hex(sealed.id), { asked: 0, due: now() + askDelayMs(0) });
    this.#own(this.#push(sealed.id, row, found.record));
    return { kind: 'pending', copies };
  }

  /** Copies at the holders, in the first place or again. */
  async #place(id: Uint8Array, row: SentRow, certificate: IdentityCertificate): Promise<number> {
    const { overlay, peers } = this.#options;
    if (row.state.kind !== 'outstanding') return 0;
    const item = {
      bytes: row.state.bytes,
      origin: overlay.self.peerId,
      at: row.at,
      certificate: certificate.bytes,
    };
    return spread(overlay, certificate.signingKey, async (peerId) => {
      const answer = await peers.put(peerId, item);
      if (answer.kind !== 'answered') return answer.kind === 'kept' ? undefined : answer.kind;
      // Handled already, it seems; only the recipient's signature makes that true.
      if (await this.takeReceipt(answer.receipt, { id, to: row.to })) return undefined;
      this.#forged(peerId);
      return 'a forged receipt';
    });
  }

  #forged(peerId: string): void {
    const what = 'it answered with a receipt that the recipient did not sign for that notification';
    this.#options.conduct?.note({ subject: { kind: 'node', name: peerId }, offence: 'forged-receipt', what });
  }

  #own(task: Promise<void>): void {
    const owned = task
      .catch((error: unknown) => this.#options.log.warn({ err: error }, 'sending goes on later'))
      .finally(() => this.#tasks.delete(owned));
    this.#tasks.add(owned);
  }

  /** To the first contact that takes it. When none does, the recipient pulls. */
  async #push(id: Uint8Array, row: SentRow, record: IdentityRecord | undefined): Promise<void> {
    const { overlay, peers, log, trace } = this.#options;
    if (row.state.kind !== 'outstanding') return;
    const pushed = { bytes: row.state.bytes, origin: overlay.self.peerId };
    for (const peerId of (record?.contacts ?? []).slice(0, maxContacts)) {
      if (!(await isThere(overlay, peerId))) continue;
      try {
        if ((await peers.push(peerId, pushed)) !== 'taken') continue;
        trace(hex(id), { what: 'notification pushed', to: peerId });
        return;
      } catch (error) {
        log.debug({ err: error, peerId }, 'a contact node did not take the push');
      }
    }
  }

  /** Takes in a receipt from anywhere. True if it provably answers what this node sent (`about`: or that item), now or before. */
  async takeReceipt(bytes: Uint8Array, about?: { id: Uint8Array; to: Uint8Array }): Promise<boolean> {
    const read = readReceipt(bytes);
    return read !== undefined && (about === undefined || sameBytes(about.id, read.receipt.id))
      ? this.takeRead(read.receipt, read.signer)
      : false;
  }

  /** The same for a receipt whose signature has been checked already. */
  async takeRead(receipt: Receipt, signer: Uint8Array): Promise<boolean> {
    const { table } = this.#options;
    const row = table.find(receipt.id);
    if (row === undefined || !sameBytes(row.to, signer) || row.recipient !== receipt.by) return false;
    if (!answers(receipt, receipt.id, row.item)) return false;
    if (await table.answer(receipt)) this.#settle(receipt);
    return true;
  }

  #settle(receipt: Receipt): void {
    this.#asks.delete(hex(receipt.id));
    const { verdict, rule } = receipt;
    this.#options.trace(hex(receipt.id), { what: 'receipt', verdict, rule, by: receipt.by });
    this.#tell(receipt);
  }

  #tell(receipt: Receipt): void {
    for (const listener of this.#listeners) {
      try {
        listener(receipt);
      } catch (error) {
        this.#options.log.error({ err: error }, 'a listener for receipts failed');
      }
    }
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The receipts already on disk for these. */
  watch(awaited: readonly Awaited[]): readonly Receipt[] {
    return awaited.flatMap(({ id }) => {
      const state = this.#options.table.find(id)?.state;
      return state?.kind === 'answered' ? [state.receipt] : [];
    });
  }

  /** Asks the holders about what has waited long enough, and gives up on what waited for its whole lifetime. */
  sweep(): void {
    if (this.#sweeping || this.#stopped) return;
    this.#sweeping = true;
    this.#own(
      this.#sweep().finally(() => {
        this.#sweeping = false;
      }),
    );
  }

  /** A member came up: what could not be followed up for want of members is tried again, once for a burst of them. */
  memberUp(): void {
    if (this.#stopped) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      for (const ask of this.#asks.values()) if (ask.failed) ask.due = 0;
      this.sweep();
    }, settleMs);
  }

  async #sweep(): Promise<void> {
    const due: Outstanding[] = [];
    const now = this.#options.now();
    for (const one of this.#options.table.allOutstanding()) {
      // After a restart nothing is known of earlier asking: everything is due.
      if ((this.#asks.get(hex(one.id))?.due ?? 0) <= now && due.push(one) >= asksPerSweep) break;
    }
    await Promise.all(due.map(async (one) => this.#follow(one, now)));
  }

  /** Never rejects: one that cannot be followed up now must not hold up, or outlive, the others. */
  async #follow(one: Outstanding, now: number): Promise<void> {
    if (this.#stopped) return;
    const asked = (this.#asks.get(hex(one.id))?.asked ?? 0) + 1;
    this.#asks.set(hex(one.id), { asked, due: now + askDelayMs(asked) });
    try {
      if (one.at < now - lifetimeMs - clockSkewMs) await this.#giveUp(one, now);
      else if (!(await this.#askHolders(one))) await this.#placeAgain(one);
    } catch (error) {
      // Most likely too few members are up, as after a start: soon again.
      this.#asks.set(hex(one.id), { asked: asked - 1, due: now + askDelayMs(0), failed: true });
      this.#options.log.debug(
        { err: error },
        'a notification could not be followed up; tried again when a member comes up',
      );
    }
  }

  async #giveUp(one: Outstanding, now: number): Promise<void> {
    const row = this.#options.table.find(one.id);
    if (row === undefined) return;
    const receipt = undeliverable(one.id, row.recipient, now);
    if (await this.#options.table.answer(receipt)) this.#settle(receipt);
  }

  /** True when a holder brought the receipt. */
  async #askHolders(one: Outstanding): Promise<boolean> {
    const key: PendingKey = one;
    for (const { peerId } of await livingHolders(this.#options.overlay, one.to)) {
      try {
        const standing = await this.#options.peers.ask(peerId, key);
        if (standing.kind !== 'answered') continue;
        if (await this.takeReceipt(standing.receipt, one)) return true;
        this.#forged(peerId);
      } catch (error) {
        this.#options.log.debug({ err: error, peerId }, 'a holder could not be asked for a receipt');
      }
    }
    return false;
  }

  /** A holder that forgot, or lost its disk, gets it again: to the others that changes nothing. */
  async #placeAgain(one: Outstanding): Promise<void> {
    const row = this.#options.table.find(one.id);
    if (row === undefined) return;
    const found = await this.#options.store.lookupIdentity(row.recipient);
    if (found.kind !== 'found' || !sameBytes(found.certificate.signingKey, row.to)) return;
    await this.#place(one.id, row, found.certificate);
    await this.#push(one.id, row, found.record);
  }

  /** Resolves when nothing of it runs any more; what is on the way has been cut by its own owner. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    await Promise.all(this.#tasks);
  }
}

function whyNot(lookup: Exclude<Lookup, Found>): string {
  if (lookup.kind === 'unknown') return lookup.reason;
  return lookup.kind === 'none' ? 'no such identity' : 'its certificate is revoked';
}
