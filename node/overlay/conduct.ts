import { mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import type { Clock, Log } from './overlay.ts';

/**
 * What no honest node of this version does.
 * - `false-answer`: a holder answered with what proves false: other bytes, a forged entry, a refusal without its proof.
 * - `forged-receipt`: it claimed a receipt that its recipient did not sign.
 * - `forged-member`: it spread a member whose certificate or record does not hold.
 * - `broken-line`: it broke the rules of frames.
 * - `two-heads`: a writer signed two different heads of one version of a log. That can also be a restored backup, or two machines of one user
 *   that could not see each other: it proves that he did, not why.
 */
export const offences = ['false-answer', 'forged-receipt', 'forged-member', 'broken-line', 'two-heads'] as const;
export type Offence = (typeof offences)[number];

/** Whom it is told of: a node by its peer id, or a writer by his signing key in hex. */
export interface Subject {
  readonly kind: 'node' | 'writer';
  readonly name: string;
}

export interface Deed {
  readonly subject: Subject;
  readonly offence: Offence;
  readonly what: string;
  /** Signed bytes that prove it to anybody, without trusting this node. */
  readonly proof?: readonly Uint8Array[];
}

/** What is known of one subject and one offence. */
export interface Evidence {
  readonly subject: Subject;
  readonly offence: Offence;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The newest, in words. */
  readonly what: string;
  /** The first ones; each a list of signed bytes. */
  readonly proofs: readonly (readonly Uint8Array[])[];
}

/** Where the floors tell of misbehaviour, and ask before they rely on somebody. */
export interface Conduct {
  /** Never throws and never waits. */
  note(deed: Deed): void;
  /** Misbehaved several times within the last hour: ask the others first. */
  isSuspect(peerId: string): boolean;
}

/** For whoever keeps no book. */
export const noConduct: Conduct = { note: () => undefined, isSuspect: () => false };

// Members who misbehave are few, or the ring is lost; what a liar can make us keep is bounded all the same. 64 KiB is the largest head.
const maxRows = 1_000;
const maxProofs = 4;
const maxProofBytes = 140_000;
const maxAllProofBytes = 8 << 20;
const maxWhatChars = 300;
// One wrong answer may be a bad disk; three within an hour are a habit. An hour later it may be mended.
const suspectCount = 3;
const suspectMs = 3_600_000;
// A line for each deed would let a liar fill the log.
const sayEveryMs = 3_600_000;
const writeAfterMs = 2_000;
const fileName = 'conduct';

const rowShape = z.strictObject({
  subject: z.strictObject({ kind: z.enum(['node', 'writer']), name: z.string().max(200) }),
  offence: z.enum(offences),
  count: z.int().positive(),
  firstAt: z.number(),
  lastAt: z.number(),
  what: z.string().max(maxWhatChars),
  proofs: z.array(z.array(z.custom<Uint8Array>((value) => value instanceof Uint8Array)).max(4)).max(maxProofs),
});
const fileShape = z.strictObject({ version: z.literal(1), rows: z.array(rowShape).max(maxRows) });

type Row = z.infer<typeof rowShape>;

/**
 * The book of what others did wrong, kept over restarts in one file. A crash forgets two seconds. A damaged file is begun anew, with a warning: it is
 * for people and for the order in which nodes are asked, and nothing else depends on it.
 */
export class ConductBook implements Conduct {
  readonly #file: string;
  readonly #now: Clock;
  readonly #log: Log;
  readonly #rows: Map<string, Row>;
  /** When each subject was last caught, newest last; of the last hour. */
  readonly #recent = new Map<string, number[]>();
  readonly #saidAt = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, rows: readonly Row[], { now, log }: { now: Clock; log: Log }) {
    this.#file = file;
    this.#now = now;
    this.#log = log;
    this.#rows = new Map(rows.map((row) => [keyOf(row), row]));
  }

  static async open(dir: string, options: { readonly now: Clock; readonly log: Log }): Promise<ConductBook> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, fileName);
    return new ConductBook(file, await readRows(file, options.log), options);
  }

  note({ subject, offence, what, proof = [] }: Deed): void {
    const now = this.#now();
    const key = keyOf({ subject, offence });
    const before = this.#rows.get(key);
    const said = what.slice(0, maxWhatChars);
    const row: Row = before ?? {
      subject: { ...subject },
      offence,
      count: 0,
      firstAt: now,
      lastAt: now,
      what: said,
      proofs: [],
    };
    row.count += 1;
    row.lastAt = now;
    row.what = said;
    if (this.#mayKeep(row, proof)) row.proofs.push([...proof]);
    // Newest last: the oldest goes when there are too many.
    this.#rows.delete(key);
    this.#rows.set(key, row);
    this.#evict();
    const recent = [...(this.#recent.get(subject.name) ?? []), now].slice(-suspectCount);
    this.#recent.delete(subject.name);
    this.#recent.set(subject.name, recent);
    for (const name of this.#recent.keys()) if (this.#recent.size > maxRows) this.#recent.delete(name);
    this.#say(key, row, now);
    this.#timer ??= setTimeout(() => this.#write(), writeAfterMs);
  }

  isSuspect(peerId: string): boolean {
    const recent = this.#recent.get(peerId);
    return recent !== undefined && recent.length >= suspectCount && (recent[0] ?? 0) > this.#now() - suspectMs;
  }

  /** What is known, newest first. */
  list(): Evidence[] {
    return [...this.#rows.values()].reverse();
  }

  async stop(): Promise<void> {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#write();
    }
    await this.#writing;
  }

  #mayKeep(row: Row, proof: readonly Uint8Array[]): boolean {
    if (proof.length === 0 || row.proofs.length >= maxProofs) return false;
    const size = (parts: readonly Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);
    if (size(proof) > maxProofBytes) return false;
    const isKnown = row.proofs.some((kept) => Buffer.compare(Buffer.concat(kept), Buffer.concat([...proof])) === 0);
    const all = [...this.#rows.values()].reduce(
      (sum, { proofs }) => sum + proofs.reduce((of, one) => of + size(one), 0),
      0,
    );
    return !isKnown && all + size(proof) <= maxAllProofBytes;
  }

  #evict(): void {
    for (const key of this.#rows.keys()) {
      if (this.#rows.size <= maxRows) return;
      this.#rows.delete(key);
      this.#saidAt.delete(key);
    }
  }

  #say(key: string, { subject, offence, count, what }: Row, now: number): void {
    if (now - (this.#saidAt.get(key) ?? Number.NEGATIVE_INFINITY) < sayEveryMs) return;
    this.#saidAt.set(key, now);
    this.#log.warn(
      { [subject.kind === 'node' ? 'peer' : 'writer']: subject.name, offence, count, what },
      'misbehaviour was seen and noted',
    );
  }

  #write(): void {
    this.#timer = undefined;
    const bytes = encode({ version: 1, rows: [...this.#rows.values()] });
    this.#writing = this.#writing
      .then(() => replace(this.#file, bytes))
      .catch((fault: unknown) => this.#log.warn({ err: fault }, 'the book of misbehaviour could not be written'));
  }
}

/** The book of a node, from its folder, newest first; as it was some seconds ago at the most. Throws when it is damaged. */
export async function readConduct(dir: string): Promise<Evidence[]> {
  try {
    return fileShape.parse(decode(await readFile(path.join(dir, fileName)))).rows.reverse();
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fault;
  }
}

async function replace(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(`${file}.tmp`, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.tmp`, file);
}

async function readRows(file: string, log: Log): Promise<Row[]> {
  try {
    return fileShape.parse(decode(await readFile(file))).rows;
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn({ err: fault, file }, 'the book of misbehaviour is damaged and begun anew');
    return [];
  }
}

function keyOf({ subject, offence }: { readonly subject: Subject; readonly offence: Offence }): string {
  return `${subject.kind} ${subject.name} ${offence}`;
}
