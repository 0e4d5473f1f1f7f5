export type DoorFaultCode =
  /** No connection to the node now; it comes back by itself, so ask again. */
  | 'node-away'
  /** The path of the socket is longer than the system allows. */
  | 'path-too-long'
  | 'in-use'
  | 'timeout'
  | 'too-large'
  | 'too-many'
  | 'damaged'
  | 'no-such-method'
  /** The other side failed; the message says how. */
  | 'failed'
  | 'closed';

/** The door itself is at fault: between here and the node, not in what was asked. */
export class DoorFault extends Error {
  readonly code: DoorFaultCode;

  constructor(code: DoorFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DoorFault';
    this.code = code;
  }
}
