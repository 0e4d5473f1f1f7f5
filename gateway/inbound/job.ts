import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { type Address, parseAddress } from '../../policy/address.ts';
import { joined } from '../slices.ts';
import { wishes } from './wishes.ts';

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (parsed.kind === 'address') return parsed.address;
  context.addIssue({ code: 'custom', message: parsed.reason });
  return z.NEVER;
});
/** Where the message lies once it is in the ring; the ring's own shape, carried as it is. */
const stored = z.looseObject({ size: z.number(), hash: bytes });

const shape = z.strictObject({
  version: z.literal(1),
  trace: z.string(),
  /** Empty for the null sender. */
  envelopeFrom: z.string(),
  recipients: z.array(address),
  /** Recipients that a bounce came back to by a return path of ours. */
  returned: z.array(address),
  /** The client that brought it; its name where this leads back to its address, else empty. */
  reporter: z.strictObject({ ip: z.string(), name: z.string() }).optional(),
  folder: z.enum(['inbox', 'junk']),
  provenance: bytes,
  receivedAt: z.number(),
  /** SPF or DMARC proved that the sender's domain sent this: a notice to the sender reaches who it is meant for. */
  senderProven: z.boolean(),
  /** What the sender asked to be told; absent where he asked for nothing. */
  dsn: wishes.optional(),
  /** The message itself, or where it lies in the ring. */
  message: z.union([bytes, stored]),
});

/** An accepted message on its way into the ring: the body of a queue job in lane `in`. */
export type InboundJob = z.infer<typeof shape>;
export type StoredMessage = z.infer<typeof stored>;

export const inboundLane = 'in';
/** Large messages have a lane of their own, so that few of them are in memory at once and small ones do not wait for them. */
export const largeInboundLane = 'in-large';
// What most mail is below, attachments of some pages included.
const largeBytes = 256 * 1024;

/** The lane of a job with a body of this size. */
export function inboundLaneFor(bodyBytes: number): string {
  return bodyBytes > largeBytes ? largeInboundLane : inboundLane;
}

/** What a job carries of a message: its octets, in parts that follow on each other, or where they lie in the ring. */
export type CarriedMessage = readonly Uint8Array[] | StoredMessage;

// The first octet of a job whose message follows its facts; CBOR, which jobs were before (and are where the message is in the ring), begins with another.
const framed = 2;
const frameBytes = 5;

/** The facts as CBOR, framed, and the octets behind them: copied once, with turns of the event loop where they are many. */
export async function encodeInboundJob(
  facts: Omit<InboundJob, 'message'>,
  message: CarriedMessage,
): Promise<Uint8Array> {
  if (!Array.isArray(message)) return encode({ ...facts, message });
  const head = encode(facts);
  const frame = Buffer.alloc(frameBytes);
  frame.writeUInt8(framed);
  frame.writeUInt32BE(head.length, 1);
  return await joined([frame, head, ...(message as readonly Uint8Array[])]);
}

/** Throws where the bytes are not such a job; the queue then sets it aside. The message is a view of them. */
export function decodeInboundJob(body: Uint8Array): InboundJob {
  if (body[0] !== framed) return shape.parse(decode(body));
  const { buffer, byteOffset, byteLength } = body;
  const end = frameBytes + new DataView(buffer, byteOffset, byteLength).getUint32(1);
  if (end > byteLength) throw new RangeError('the job is shorter than it says');
  const facts = decode<object>(body.subarray(frameBytes, end));
  return shape.parse({ ...facts, message: body.subarray(end) });
}

const outcome = z.union([
  z.strictObject({ kind: z.literal('notified') }),
  z.strictObject({ kind: z.literal('no-such-user'), notice: z.string() }),
  z.strictObject({ kind: z.literal('given-up'), notice: z.string() }),
  /** It answers what was forwarded, and went on to who had sent that; or to nobody, since it is no report. */
  z.strictObject({ kind: z.literal('sent-back') }),
  z.strictObject({ kind: z.literal('dropped') }),
]);
const progress = z.strictObject({
  stored: stored.optional(),
  outcomes: z.record(z.string(), outcome),
  /** The sender was told that it takes longer. */
  delayTold: z.boolean().optional(),
});

/** What is already done of a job: where the message lies, and how each recipient ended. */
export type Progress = z.infer<typeof progress>;
export type Outcome = z.infer<typeof outcome>;

export function encodeProgress(value: Progress): Uint8Array {
  const { stored: at, delayTold, outcomes } = value;
  return encode({
    outcomes,
    ...(at === undefined ? {} : { stored: at }),
    ...(delayTold === true ? { delayTold } : {}),
  });
}

export function decodeProgress(body: Uint8Array | undefined): Progress {
  return body === undefined ? { outcomes: {} } : progress.parse(decode(body));
}
