import { open } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import { maxCertificateBytes } from '../identity/certificate.ts';
import { replaceFile } from '../identity/key-file.ts';
import { maxRevocationBytes } from '../identity/revocation.ts';
import { type MemberProof, maxMembers } from './member-table.ts';
import { maxRecordBytes } from './node-record.ts';
import type { Log } from './overlay.ts';

/** What the overlay remembers over a restart. Everything in it is signed: damage loses memory, never trust. */
export type Remembered = { readonly members: readonly MemberProof[]; readonly revocations?: Uint8Array | undefined };

const bytesShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const fileShape = z.strictObject({
  version: z.literal(1),
  members: z.array(z.strictObject({ certificate: bytesShape, record: bytesShape })).max(maxMembers),
  revocations: bytesShape.optional(),
});
const maxFileBytes = maxMembers * (maxCertificateBytes + maxRecordBytes) + maxRevocationBytes + 1024;
// Changes come in bursts when a ring starts; one write for a burst, and at most this much is forgotten by a power cut.
const settleMs = 1_000;

/** The file behind the member table. Writes are few, whole and one at a time. */
export class TableFile {
  readonly #file: string;
  readonly #log: Log;
  readonly #content: () => Remembered;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(dir: string, content: () => Remembered, log: Log) {
    this.#file = path.join(dir, fileName);
    this.#content = content;
    this.#log = log;
  }

  /** Notes that there is something new to keep. */
  touch(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, settleMs);
  }

  /** Writes what is not written yet and resolves when it is on disk. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#write();
    await this.#writing;
  }

  #write(): void {
    this.#writing = this.#writing
      .then(() => replaceFile(this.#file, encodeCanonical(toFile(this.#content()))))
      .catch((error: unknown) =>
        this.#log.error({ err: error, file: this.#file }, 'the member table could not be written'),
      );
  }
}

const fileName = 'members';

function toFile({ members, revocations }: Remembered): object {
  return { version: 1, members, ...(revocations === undefined ? {} : { revocations }) };
}

/** What the file holds; nothing, with a word in the log, where it is missing or damaged. Judging the proofs is the table's work. */
export async function readTableFile(dir: string, log: Log): Promise<Remembered> {
  const file = path.join(dir, fileName);
  const bytes = await readBounded(file).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn({ err: error, file }, 'the member table cannot be read');
    return undefined;
  });
  if (bytes === undefined) return { members: [] };
  const decoded = decodeCanonical(bytes, maxFileBytes);
  const shaped = decoded.kind === 'decoded' ? fileShape.safeParse(decoded.value) : undefined;
  if (shaped?.success === true) return shaped.data;
  log.warn({ file }, 'the member table is damaged; starting from the bootstrap addresses');
  return { members: [] };
}

async function readBounded(file: string): Promise<Uint8Array | undefined> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    return size > maxFileBytes ? new Uint8Array() : await handle.readFile();
  } finally {
    await handle.close();
  }
}
