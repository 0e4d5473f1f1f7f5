/** Addresses that two messages have proved dead: they are not tried again for a while, since hosts judge a sender by how many dead addresses he writes to. */
import { hash } from 'node:crypto';
import { z } from 'zod';

/** One message that an address refused. */
export interface Proof {
  readonly at: number;
  readonly trace: string;
  /** RFC 3463. */
  readonly status: string;
  readonly said: string;
}

export interface Suppressed {
  readonly address: string;
  /** Two, unless the postmaster said so: then none, and why. */
  readonly proofs: readonly Proof[];
  readonly because?: string | undefined;
  readonly since: number;
  readonly until: number;
}

interface Marks {
  getMark(key: string): Promise<Uint8Array | undefined>;
  setMark(key: string, value: Uint8Array, expiresAt: number, options?: { readonly durable?: boolean }): Promise<void>;
}

/** RFC 3463: bad mailbox, bad system, mailbox moved, null MX (RFC 7505), mailbox disabled. Nothing that passes, and nothing about the sender or the message. */
const deadStatus = new Set(['5.1.1', '5.1.2', '5.1.6', '5.1.10', '5.2.1']);
/** One refusal may be a host's bad hour: it takes two messages. */
const neededProofs = 2;
/** Longer than a holiday's misconfiguration, shorter than anybody's patience with a mended mailbox. */
export const suppressionMs = 14 * 24 * 3_600_000;
const maxSaidChars = 300;
/** A mark has 16 KiB; the list is cut into pages by the hash of the address, each of some 300 addresses. */
const pages = 64;
const maxPageBytes = 15 * 1024;

const proofShape = z.strictObject({
  at: z.number(),
  trace: z.string().max(64),
  status: z.string().max(12),
  said: z.string().max(400),
});
const shape = z.strictObject({
  address: z.string().max(320),
  proofs: z.array(proofShape).max(neededProofs),
  because: z.string().max(400).optional(),
  since: z.number().optional(),
  until: z.number(),
});
type Note = z.infer<typeof shape>;

export function provesDeath(status: string): boolean {
  return deadStatus.has(status);
}

export class Suppression {
  readonly #marks: Marks;
  readonly #now: () => number;
  /** Changes of one process come one after the other; two gateways at once may lose a line of the list, never the suppression itself. */
  #turn: Promise<void> = Promise.resolve();

  constructor(marks: Marks, now: () => number) {
    this.#marks = marks;
    this.#now = now;
  }

  /** Whether it is not to be tried; and whether anything is held against it that a success would clear. Never throws: what cannot be read holds nothing up. */
  async look(address: string): Promise<{ readonly suppressed?: Suppressed; readonly isSuspect: boolean }> {
    const note = await this.#read(address).catch(() => undefined);
    const suppressed = note === undefined ? undefined : suppressedBy(note);
    return { isSuspect: note !== undefined, ...(suppressed === undefined ? {} : { suppressed }) };
  }

  /** A message was refused because of its address. True where the address is suppressed from now on. The same message counts once. */
  async refused(address: string, proof: Proof): Promise<boolean> {
    if (!provesDeath(proof.status)) return false;
    return this.#inTurn(async () => {
      const before = await this.#read(address);
      if (before?.since !== undefined) return true;
      const others = (before?.proofs ?? []).filter(({ trace }) => trace !== proof.trace);
      const proofs = [...others, { ...proof, said: proof.said.slice(0, maxSaidChars) }].slice(-neededProofs);
      const isDead = proofs.length === neededProofs;
      const until = this.#now() + suppressionMs;
      await this.#write({ address, proofs, until, ...(isDead ? { since: this.#now() } : {}) });
      if (isDead) await this.#relist(address, true);
      return isDead;
    });
  }

  /** By the postmaster, for this reason. */
  async add(address: string, because: string): Promise<void> {
    const now = this.#now();
    await this.#inTurn(async () => {
      const text = because.slice(0, maxSaidChars);
      await this.#write({ address, proofs: [], because: text, since: now, until: now + suppressionMs });
      await this.#relist(address, true);
    });
  }

  /** A success, or the postmaster's word: nothing is held against it any more. False where nothing was. */
  async clear(address: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const before = await this.#read(address);
      if (before === undefined) return false;
      await this.#marks.setMark(keyOf(address), new Uint8Array(), this.#now() - 1);
      if (before.since !== undefined) await this.#relist(address, false);
      return true;
    });
  }

  /** Those that are suppressed now, by address. */
  async list(): Promise<Suppressed[]> {
    const lists = await Promise.all(Array.from({ length: pages }, async (_, page) => this.#page(page)));
    const found = await Promise.all(lists.flat().map(async (address) => (await this.look(address)).suppressed));
    return found.filter((one) => one !== undefined).sort((a, b) => (a.address < b.address ? -1 : 1));
  }

  async #read(address: string): Promise<Note | undefined> {
    const bytes = await this.#marks.getMark(keyOf(address));
    if (bytes === undefined || bytes.length === 0) return undefined;
    const note = shape.safeParse(parsed(bytes));
    return note.success && note.data.until > this.#now() ? note.data : undefined;
  }

  async #write(note: Note): Promise<void> {
    await this.#marks.setMark(keyOf(note.address), Buffer.from(JSON.stringify(note)), note.until);
  }

  async #page(page: number): Promise<string[]> {
    const bytes = await this.#marks.getMark(`suppression-list ${page}`);
    return bytes === undefined || bytes.length === 0 ? [] : Buffer.from(bytes).toString().split('\n');
  }

  async #relist(address: string, isOn: boolean): Promise<void> {
    const page = Number.parseInt(digest(address).slice(0, 4), 16) % pages;
    const kept = (await this.#page(page)).filter((one) => one !== address);
    const all = isOn ? [...kept, address] : kept;
    // The oldest go first: they are over first.
    while (Buffer.byteLength(all.join('\n')) > maxPageBytes) all.shift();
    await this.#marks.setMark(`suppression-list ${page}`, Buffer.from(all.join('\n')), this.#now() + 2 * suppressionMs);
  }

  async #inTurn<Value>(change: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(change);
    this.#turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

/** For the sender: why, since when, and what to do. */
export function suppressionText({ address, proofs, because, since, until }: Suppressed): string {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  const why =
    because === undefined
      ? `${proofs.length} messages were refused there because the address is dead (the last on ${day(since)}: ${proofs.at(-1)?.said ?? ''})`
      : `the postmaster says so (${because})`;
  return `it was not tried: ${why}. It will be tried again from ${day(until)}; the postmaster can have it tried before: epost suppression remove ${address}`;
}

function suppressedBy({ address, proofs, because, since, until }: Note): Suppressed | undefined {
  return since === undefined ? undefined : { address, proofs, because, since, until };
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
}

/** Case counts only for the host (RFC 5321 §2.4), and hardly any host counts it. */
function digest(address: string): string {
  return hash('sha256', address.toLowerCase(), 'hex');
}

function keyOf(address: string): string {
  return `suppressed ${digest(address)}`;
}
