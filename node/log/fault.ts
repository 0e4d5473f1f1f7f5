export type LogFaultCode =
  /** The holders answered, none has a head of this log, and it was not to be created. */
  | 'missing'
  /** Too few holders answered to be sure of the newest head, or the write quorum was not reached. */
  | 'unavailable'
  /** Two heads stand against each other and the records of one cannot be read. */
  | 'fork'
  /** The head does not open under this log's secret, or is not a head of this log. */
  | 'damaged'
  /** A record or snapshot is larger than a log takes. */
  | 'too-large'
  /** The records were made for another length than the log has by now: another writer's were merged in. Nothing was written. */
  | 'overtaken'
  | 'closed';

export class LogFault extends Error {
  readonly code: LogFaultCode;

  constructor(code: LogFaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'LogFault';
    this.code = code;
  }
}
