export type MailFaultCode =
  /** The folder was removed, or its mailbox closed, while the caller still held it. */
  | 'folder-gone'
  /** The uid names no message (any more). */
  | 'no-such-message'
  /** Not enough of the ring answered: the same call may well succeed later. */
  | 'unavailable'
  /** What a reference or a record names is not what it must be. */
  | 'damaged'
  /** Blocks of the message are gone from every proper holder. */
  | 'missing'
  /** The user's quota at the holders is used up: nothing more can be kept until something is deleted. */
  | 'quota'
  /** Larger than a message, a letter or a header may be. */
  | 'too-large'
  /** Not a flag that IMAP knows, or more keywords than a folder takes. */
  | 'bad-flag';

/** A fault of the mail floor: what could not be kept, read or written, and why. Answers to a user are values, never this. */
export class MailFault extends Error {
  readonly code: MailFaultCode;

  constructor(code: MailFaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'MailFault';
    this.code = code;
  }
}

// The same words are used by the store, the log and the door's client; what is not listed is a bug or another's fault and is thrown on.
const translated: Readonly<Record<string, MailFaultCode>> = {
  missing: 'missing',
  invalid: 'damaged',
  damaged: 'damaged',
  'too-large': 'too-large',
  quota: 'quota',
  quorum: 'unavailable',
  unavailable: 'unavailable',
  stale: 'unavailable',
  fork: 'unavailable',
  overtaken: 'unavailable',
  stopped: 'unavailable',
  closed: 'unavailable',
  unreachable: 'unavailable',
  timeout: 'unavailable',
  'node-away': 'unavailable',
};

/** What a fault of a floor below means for mail. Gives back a MailFault or anything unknown as it is. */
export function asMailFault(error: unknown, doing: string): unknown {
  if (error instanceof MailFault || !(error instanceof Error)) return error;
  const code = isOthersQuota(error)
    ? 'unavailable'
    : 'code' in error && typeof error.code === 'string'
      ? translated[error.code]
      : undefined;
  return code === undefined ? error : new MailFault(code, `${doing}: ${error.message}`, error);
}

/** The account that is used up is not the user's own: nothing that he could do about it. */
function isOthersQuota(error: Error): boolean {
  return 'account' in error && typeof error.account === 'string' && error.account.startsWith('*');
}
