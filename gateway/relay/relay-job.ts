/** What the queue keeps for an outgoing message. One body serves the jobs of all its domains; a job's lane says which recipients are its own. */
import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import type { Outcome } from './outcome.ts';

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

const bodyShape = z.strictObject({
  version: z.literal(1),
  trace: z.string(),
  /** The identity that asked; notices go there. */
  identity: z.string(),
  /** MAIL FROM; empty for the null sender. */
  envelopeFrom: z.string(),
  recipients: z.array(z.string()).max(1000),
  ret: z.string().optional(),
  envid: z.string().optional(),
  /** RFC 3461 §4.1 and §4.2, of those recipients for whom anything was asked. */
  dsn: z
    .array(z.tuple([z.string(), z.strictObject({ notify: z.array(z.string()).max(4), orcpt: z.string().optional() })]))
    .max(1000)
    .optional(),
  /** What the sender says of TLS (RFC 8689): `required` by REQUIRETLS, `optional` by `TLS-Required: No`. */
  tls: z.enum(['required', 'optional']).optional(),
  arrivedAt: z.number(),
  /** The signed bytes as they go on the wire, or where the ring keeps them. */
  message: z.union([
    z.strictObject({ kind: z.literal('inline'), bytes }),
    z.strictObject({ kind: z.literal('ring'), ref: z.unknown() }),
  ]),
});

export type RelayBody = z.infer<typeof bodyShape>;
export type TlsWish = RelayBody['tls'];

export function encodeRelayBody(body: RelayBody): Uint8Array {
  return encode(withoutUndefined(body));
}

/** Throws for bytes that are no relay job: the queue then sets the job aside. */
export function decodeRelayBody(encoded: Uint8Array): RelayBody {
  return bodyShape.parse(decode(encoded));
}

const base = { at: z.number(), reply: z.string() };
const outcomeShape = z.discriminatedUnion('kind', [
  z.strictObject({ ...base, kind: z.literal('delivered'), host: z.string(), takesDsn: z.boolean() }),
  z.strictObject({ ...base, kind: z.literal('later'), host: z.string().optional(), status: z.string() }),
  z.strictObject({
    ...base,
    kind: z.literal('never'),
    host: z.string().optional(),
    status: z.string(),
    ofAddress: z.literal(true).optional(),
  }),
]);

const progressShape = z.strictObject({
  outcomes: z.array(z.tuple([z.string(), outcomeShape])),
  /** Recipients of whose end the sender has been told: of a failure, or where he asked for it, of success. */
  told: z.array(z.string()),
  /** When the sender was told that it takes longer; once. */
  delayedAt: z.number().optional(),
});

/** What attempts have come to so far. */
export interface Progress {
  readonly outcomes: ReadonlyMap<string, Outcome>;
  readonly told: readonly string[];
  readonly delayedAt?: number;
}

export function encodeProgress({ outcomes, told, delayedAt }: Progress): Uint8Array {
  return encode(withoutUndefined({ outcomes: [...outcomes], told: [...told], delayedAt }));
}

export function decodeProgress(encoded: Uint8Array | undefined): Progress {
  if (encoded === undefined) return { outcomes: new Map(), told: [] };
  const { outcomes, told, delayedAt } = progressShape.parse(decode(encoded));
  return {
    outcomes: new Map(outcomes as [string, Outcome][]),
    told,
    ...(delayedAt === undefined ? {} : { delayedAt }),
  };
}

/** dag-cbor has no undefined; only the top level can hold one here. */
function withoutUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

/** `local@domain` -> `domain`, as intake wrote it. */
export function domainOfRecipient(recipient: string): string {
  return recipient.slice(recipient.lastIndexOf('@') + 1);
}

export const lanePrefix = 'out:';
