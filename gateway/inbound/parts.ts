import type { Address, Domain } from '../../policy/address.ts';
import type { LimitState } from '../../policy/limits.ts';
import type { Policy } from '../../policy/policy.ts';
import type { Queue } from '../../queue/queue.ts';
import type { Resolver } from '../dns/answer.ts';
import type { DnsLists } from '../evidence/dns-lists.ts';
import type { History } from '../evidence/history.ts';
import type { Verify } from '../evidence/verifier.ts';
import type { Signer } from '../provenance.ts';
import type { ReturnPaths } from '../returns/return-path.ts';
import type { Scanners } from '../scan/scanners.ts';
import type { StorageGate } from '../storage/gate.ts';
import type { StoredMessage } from './job.ts';
import type { InboundLimits } from './limits.ts';
import type { Found } from './recipient.ts';

export interface TraceEvent {
  readonly what: string;
  readonly [fact: string]: string | number | boolean | readonly string[] | undefined;
}

export type Trace = (id: string, event: TraceEvent) => void;

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface InboundConfig {
  /** Our name in the greeting and in every trace field; the authserv-id (RFC 8601 §2.5). */
  readonly hostname: string;
  /** The ring's name, for policy. */
  readonly ring: string;
  /** The domains mail is taken for, the ring's own first. */
  readonly domains: readonly Domain[];
  readonly aliases: ReadonlyMap<Address, Address>;
  /** The gateway's identity, as it appears in provenance and as the one that leases what it stores. */
  readonly gateway: Address;
}

/** All that taking mail in needs from outside. */
export interface InboundParts {
  readonly config: InboundConfig;
  readonly limits: InboundLimits;
  readonly queue: Queue;
  /** Shut while the disk is not well: then nothing is taken. */
  readonly storage: Pick<StorageGate, 'shut' | 'watched'>;
  /** Who is there in the ring. */
  readonly lookup: (address: Address) => Promise<Found>;
  /** Puts a message into the ring before it is queued, where the queue cannot hold it. */
  readonly store: (message: Uint8Array, trace: string) => Promise<StoredMessage>;
  readonly policy: () => Policy;
  readonly policyLimits: LimitState;
  readonly resolver: Resolver;
  /** SPF, DKIM, DMARC and ARC, here or on threads. */
  readonly verify: Verify;
  readonly history: History;
  readonly lists: DnsLists;
  /** None are asked if absent. */
  readonly scan?: Scanners | undefined;
  /** Whether this author, or one who is not proven, may write to a list; undefined where its own node has to say so. Nobody is asked if absent. */
  readonly mayPost?: ((list: Address, author: Address | undefined) => Promise<boolean | undefined>) | undefined;
  readonly returnPaths: Pick<ReturnPaths, 'open'>;
  readonly signer: Signer;
  readonly trace: Trace;
  readonly log: Log;
  readonly now: () => number;
  readonly newTraceId: () => string;
}
