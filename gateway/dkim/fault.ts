/** Something is wrong with DKIM keys; `code` is stable, the message says what to do. */
export class DkimFault extends Error {
  readonly code: 'dkim-missing' | 'dkim-damaged' | 'dkim-too-open' | 'dkim-unsigned';
  constructor(code: DkimFault['code'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'DkimFault';
    this.code = code;
  }
}
