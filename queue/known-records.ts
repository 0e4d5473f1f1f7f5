/** Records as they were last written: reading one back a moment later costs a comparison of its bytes instead of decoding them. */
import { decodeRecord, type JobRecord } from './job-record.ts';

/** An attempt's job is read again when it ends; more attempts are hardly made at once, and a record that is not here is only decoded. */
const maxKnown = 1_000;
/** A record with much progress is rare. */
const maxBytes = 4_096;

export class KnownRecords {
  /** The oldest first. */
  readonly #known = new Map<string, { readonly bytes: Buffer; readonly record: JobRecord }>();

  /** The record that these bytes are, or undefined for bytes that are not what was written. */
  recordOf(id: string, bytes: Buffer): JobRecord | undefined {
    const known = this.#known.get(id);
    return known?.bytes.equals(bytes) === true ? known.record : decodeRecord(bytes);
  }

  wrote(record: JobRecord, bytes: Buffer): void {
    this.#known.delete(record.id);
    // Nobody works a finished one again.
    if (record.state === 'done' || bytes.length > maxBytes) return;
    this.#known.set(record.id, { bytes, record });
    if (this.#known.size <= maxKnown) return;
    const oldest = this.#known.keys().next();
    if (!oldest.done) this.#known.delete(oldest.value);
  }
}
