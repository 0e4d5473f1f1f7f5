export type StoreFaultCode =
  /** Fewer copies than the write quorum became durable: the write may or may not survive. */
  | 'quorum'
  /** The account that would pay for a block has no room left at too many holders: for good, until something of it is deleted. */
  | 'quota'
  /** Every proper holder answered that it has no such block. */
  | 'missing'
  /** Too few holders answered to say anything. */
  | 'unavailable'
  /** A holder has a newer head than the one offered; `heads` carries it. */
  | 'stale'
  /** A holder has another head of the same version; `heads` carries it. */
  | 'fork'
  /** What was handed in, or what a reference names, is not what it must be. */
  | 'invalid'
  /** A file of this node cannot be used. */
  | 'damaged'
  /** The store has been stopped. */
  | 'stopped';

/** A fault of the store: what could not be kept or fetched, and why. */
export class StoreFault extends Error {
  readonly code: StoreFaultCode;
  /** For `stale` and `fork`: the valid heads that stand against the one offered. */
  readonly heads: readonly Uint8Array[];
  /** For `quota`: which one. */
  readonly account: string | undefined;

  constructor(
    code: StoreFaultCode,
    message: string,
    more: { cause?: unknown; heads?: readonly Uint8Array[]; account?: string } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'StoreFault';
    this.code = code;
    this.heads = more.heads ?? [];
    this.account = more.account;
  }
}

export function overQuota(account: string): StoreFault {
  const whose = account.startsWith('*')
    ? `what the nodes of ${account.slice(1)} may keep for others`
    : `the quota of ${account}`;
  return new StoreFault('quota', `${whose} is used up at a holder`, { account });
}
