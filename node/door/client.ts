import { connect } from 'node:net';
import type { Address } from '../../policy/address.ts';
import type { Trust } from '../identity/certificate.ts';
import type { RevocationState } from '../identity/revocation.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import type { Awaited, Clock, Log, Recipient, SendResult } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import type { Sealed } from '../notify/sealed.ts';
import type { Block, Lease } from '../store/content.ts';
import type { Lookup } from '../store/directory.ts';
import type { Door } from './door.ts';
import { DoorFault } from './fault.ts';
import { Link } from './link.ts';
import { ReceiptWatch } from './receipt-watch.ts';
import { checkSocketPath } from './socket-path.ts';
import { decodeLookup, decodeReceipt, decodeSent, decodeTrust, shaped, shapes } from './wire.ts';

// A write to the ring may wait for slow disks and a fallback holder; a method of the program may start or stop things.
const askTimeoutMs = 60_000;
const callTimeoutMs = 300_000;
// A frame holds three of the largest blocks.
const blockBytesPerFrame = 200_000;
const watchedPerFrame = 500;
// How old a revocation list may be that lookups are checked with; the node's own comes by gossip and is newer.
const trustForMs = 30_000;

/** Before the n-th try to connect again: 50 ms doubling to 5 s; a node that restarts is back within seconds. */
export function reconnectDelayMs(tries: number): number {
  return Math.min(5000, 50 * 2 ** Math.min(10, tries));
}

interface KnownTrust {
  readonly ring: RingDescriptor;
  readonly revocations: RevocationState;
  readonly at: number;
}

class SocketDoor implements Door {
  readonly #path: string;
  readonly #log: Log;
  readonly #now: Clock;
  readonly #watch = new ReceiptWatch();
  readonly #recipients = new Map<number, Recipient>();
  #link: Link | undefined;
  #connecting: Link | undefined;
  #trust: KnownTrust | undefined;
  #timer: NodeJS.Timeout | undefined;
  #number = 0;
  #tries = 0;
  #closed = false;

  constructor(options: { path: string; log: Log; now: Clock }) {
    this.#path = options.path;
    this.#log = options.log;
    this.#now = options.now;
    this.#connect();
  }

  #connect(): void {
    const socket = connect(this.#path);
    const link = new Link(socket, async (method, value) => this.#answer(method, value));
    this.#connecting = link;
    socket.on('connect', () => {
      this.#begin(link).catch((error: unknown) =>
        this.#log.warn({ err: error }, 'the door did not open fully; trying again'),
      );
    });
    link.closed
      .then((fault) => this.#lost(link, fault))
      .catch((error: unknown) => this.#log.error({ err: error }, 'the door cannot be opened again'));
  }

  /** Everything that the node has to know of us again; then the door is open. */
  async #begin(link: Link): Promise<void> {
    try {
      for (const [number, { certificate }] of this.#recipients) {
        await this.#attachOver(link, number, certificate.bytes);
      }
      this.#link = link;
      this.#tries = 0;
      this.#log.info({ path: this.#path }, 'connected to the node');
      await this.#watchAll(link, this.#watch.expected());
    } catch (error) {
      await link.close();
      throw error;
    }
  }

  /** An identity that the node refuses (revoked, say) must not keep the door shut for all else. */
  async #attachOver(link: Link, number: number, certificate: Uint8Array): Promise<void> {
    try {
      await link.ask('attach', { number, certificate }, askTimeoutMs);
    } catch (error) {
      if (!(error instanceof DoorFault) || error.code !== 'failed') throw error;
      this.#log.error({ err: error }, 'the node does not take an identity in; nothing will arrive for it');
    }
  }

  #lost(link: Link, fault: DoorFault): void {
    const wasOpen = this.#link === link;
    this.#link = undefined;
    if (this.#closed) return;
    if (wasOpen) this.#log.warn({ err: fault, path: this.#path }, 'the node went away; connecting again');
    this.#timer = setTimeout(() => this.#connect(), reconnectDelayMs(this.#tries++));
  }

  async #answer(method: string, value: unknown): Promise<unknown> {
    if (method === 'accept') {
      const { number, sealed } = shaped(shapes.accept, value, 'accept');
      return (await this.#recipients.get(number)?.accept(sealed)) ?? null;
    }
    if (method !== 'receipt') throw new DoorFault('no-such-method', `no method ${method}`);
    this.#watch.arrived(decodeReceipt(value));
    return null;
  }

  async #ask(method: string, value: unknown, timeoutMs = askTimeoutMs): Promise<unknown> {
    if (this.#closed) throw new DoorFault('closed', 'the door was closed');
    if (this.#link === undefined) throw new DoorFault('node-away', `the node at ${this.#path} is away`);
    try {
      return await this.#link.ask(method, value, timeoutMs);
    } catch (error) {
      if (error instanceof DoorFault && error.code === 'closed' && !this.#closed)
        throw new DoorFault('node-away', 'the node went away; whether it did that is unknown', { cause: error });
      throw error;
    }
  }

  async insert(blocks: readonly Block[], lease: Lease): Promise<{ copies: number; wanted: number }> {
    const groups = framesOf(blocks);
    const answers = await Promise.all(
      groups.map(async (group) => {
        const rows = group.map(({ key, bytes }) => [key, bytes]);
        return shaped(shapes.inserted, await this.#ask('insert', { blocks: rows, lease }), 'insert');
      }),
    );
    // The weakest block says how safe all of them are.
    return answers.reduce(
      (least, one) => (one.copies < least.copies ? one : least),
      answers[0] ?? { copies: 0, wanted: 0 },
    );
  }

  async fetch(key: Uint8Array): Promise<Uint8Array> {
    return shaped(shapes.block, await this.#ask('fetch', key), 'fetch');
  }

  async lookup(address: Address): Promise<Lookup> {
    try {
      const trust = await this.#recentTrust();
      return decodeLookup(await this.#ask('lookup', address), trust);
    } catch (error) {
      return { kind: 'unknown', reason: error instanceof Error ? error.message : 'the node did not answer' };
    }
  }

  async notify(sealed: Sealed): Promise<SendResult> {
    this.#watch.expect([sealed]);
    const { id, recipient, bytes } = sealed;
    return decodeSent(await this.#ask('notify', { id, recipient, bytes }));
  }

  attach(recipient: Recipient): () => void {
    const number = ++this.#number;
    this.#recipients.set(number, recipient);
    this.#quietly('attach', { number, certificate: recipient.certificate.bytes });
    return () => {
      this.#recipients.delete(number);
      this.#quietly('detach', number);
    };
  }

  /** What a fresh connection repeats anyway; while the node is away there is nothing to do. */
  #quietly(method: string, value: unknown): void {
    this.#link?.ask(method, value, askTimeoutMs).catch((error: unknown) => {
      // An ordinary stop cuts off what is under way; the node forgets with the connection.
      if (this.#closed) return;
      this.#log.warn({ err: error, method }, 'the node did not take this; it is told again with the next connection');
    });
  }

  async watch(awaited: readonly Awaited[]): Promise<void> {
    this.#watch.expect(awaited);
    if (this.#link !== undefined) await this.#watchAll(this.#link, awaited);
  }

  async #watchAll(link: Link, awaited: readonly Awaited[]): Promise<void> {
    for (let at = 0; at < awaited.length; at += watchedPerFrame) {
      const rows = awaited.slice(at, at + watchedPerFrame).map(({ id, recipient }) => ({ id, recipient }));
      await link.ask('watch', rows, askTimeoutMs);
    }
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    return this.#watch.onReceipt(listener);
  }

  async call(method: string, args: unknown): Promise<unknown> {
    return this.#ask('call', { method, args: args ?? null }, callTimeoutMs);
  }

  async ring(): Promise<RingDescriptor> {
    return (await this.trust()).ring;
  }

  async trust(): Promise<Trust> {
    const at = this.#now();
    this.#trust = { ...decodeTrust(await this.#ask('trust', null)), at };
    return { ring: this.#trust.ring, revocations: this.#trust.revocations, now: at };
  }

  async #recentTrust(): Promise<Trust> {
    const now = this.#now();
    const age = now - (this.#trust?.at ?? 0);
    if (this.#trust === undefined || age < 0 || age > trustForMs) return this.trust();
    return { ring: this.#trust.ring, revocations: this.#trust.revocations, now };
  }

  connected(): boolean {
    return this.#link !== undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#connecting?.close();
  }
}

function framesOf(blocks: readonly Block[]): Block[][] {
  const frames: Block[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const block of blocks) {
    bytes += block.bytes.length + 64;
    if (bytes > blockBytesPerFrame) {
      frames.push([]);
      bytes = block.bytes.length + 64;
    }
    frames.at(-1)?.push(block);
  }
  return frames;
}

/** The door of the node whose socket lies at `path`; connects, and connects again, by itself. Throws DoorFault `path-too-long`. */
export function connectDoor(options: { readonly path: string; readonly log: Log; readonly now?: Clock }): Door {
  checkSocketPath(options.path);
  return new SocketDoor({ now: Date.now, ...options });
}
