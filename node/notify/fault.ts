export type NotifyFaultCode = 'stopped' | 'too-large' | 'damaged' | 'too-many' | 'not-understood' | 'not-a-member';

/** Something is broken on this side or on the wire. What a recipient or a holder answers is a value, never this. */
export class NotifyFault extends Error {
  readonly code: NotifyFaultCode;

  constructor(code: NotifyFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NotifyFault';
    this.code = code;
  }
}
