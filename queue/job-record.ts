/** How the embedded queue writes a job down: DAG-CBOR behind a checksum, since lmdb does not notice a damaged page by itself. */
import { crc32 } from 'node:zlib';
import { decode, encode } from '@ipld/dag-cbor';
import type { Course } from './course.ts';
import type { Job, JobAbout, JobState } from './queue.ts';

export interface BodyPlace {
  readonly bytes: number;
  readonly crc: number;
  /** Name in the bodies folder; absent for a body inside the database. */
  readonly file?: string;
}

export interface JobRecord extends Course {
  readonly id: string;
  readonly lane: string;
  readonly state: JobState;
  readonly about: JobAbout;
  readonly createdAt: number;
  readonly dueAt: number;
  readonly startedAt?: number;
  readonly finishedAt?: number;
  /** On a running job: hold it when the attempt ends. */
  readonly holdReason?: string;
  readonly failing?: string;
  /** Absent once the job is done. */
  readonly body?: BodyPlace;
}

export function encodeRecord(record: JobRecord): Buffer {
  const bytes = encode(record);
  const framed = Buffer.allocUnsafe(4 + bytes.byteLength);
  framed.writeUInt32BE(crc32(bytes), 0);
  framed.set(bytes, 4);
  return framed;
}

/** The record, or undefined for bytes that are not what was written. */
export function decodeRecord(framed: Uint8Array): JobRecord | undefined {
  const buffer = Buffer.from(framed.buffer, framed.byteOffset, framed.byteLength);
  if (buffer.length < 5) return undefined;
  const bytes = buffer.subarray(4);
  if (crc32(bytes) !== buffer.readUInt32BE(0)) return undefined;
  try {
    // The checksum says that these are the bytes encodeRecord made, so their shape needs no second check.
    return decode<JobRecord>(bytes);
  } catch {
    return undefined;
  }
}

export function jobOf(record: JobRecord, body: Uint8Array): Job {
  const { id, lane, state, about, createdAt, dueAt, attempts, attemptCount } = record;
  const { progress, firstFailureAt, holdReason, failing, putOff } = record;
  return {
    id,
    lane,
    state,
    body,
    about,
    createdAt,
    dueAt,
    attempts,
    attemptCount,
    ...(progress === undefined ? {} : { progress: Uint8Array.from(progress) }),
    ...(firstFailureAt === undefined ? {} : { firstFailureAt }),
    ...(holdReason === undefined ? {} : { holdReason }),
    ...(failing === undefined ? {} : { failing }),
    ...(putOff === undefined ? {} : { putOff }),
  };
}

/** The same record with other fields; a field given as undefined is removed (dag-cbor has no undefined). */
export function changed(
  record: JobRecord,
  fields: { readonly [K in keyof JobRecord]?: JobRecord[K] | undefined },
): JobRecord {
  const next = Object.entries({ ...record, ...fields }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(next) as unknown as JobRecord;
}
