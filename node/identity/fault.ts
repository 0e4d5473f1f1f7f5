export type IdentityFaultCode = 'bad-key';

/** A key that cannot be used: wrong length or small order. */
export class IdentityFault extends Error {
  override readonly name = 'IdentityFault';
  readonly code: IdentityFaultCode;

  constructor(code: IdentityFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
