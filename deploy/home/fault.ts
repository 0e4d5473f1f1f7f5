export type HomeFaultCode =
  | 'not-a-home'
  | 'damaged'
  | 'exists'
  | 'in-use'
  | 'no-authority'
  | 'no-such-user'
  | 'no-such-list'
  | 'no-such-node'
  | 'own-node'
  | 'user-exists'
  | 'not-done'
  | 'bad-invite'
  | 'bad-keys'
  | 'bad-user'
  | 'run-folder';

/** Something is wrong with a home; the message is one sentence that says what was found and what to do. */
export class HomeFault extends Error {
  override readonly name = 'HomeFault';
  readonly code: HomeFaultCode;

  constructor(code: HomeFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
