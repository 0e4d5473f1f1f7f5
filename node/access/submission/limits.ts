/** What the submission listener allows (DESIGN §14 unless said otherwise). */
export interface SubmissionLimits {
  readonly maxMessageBytes: number;
  readonly maxMessageBytesInFlight: number;
  readonly maxRecipients: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
  readonly maxLineBytes: number;
  readonly maxCommandBytes: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly unauthenticatedMs: number;
  readonly silenceMs: number;
  readonly maxBadCommands: number;
  readonly maxLogins: number;
}

export const submissionLimits: SubmissionLimits = {
  // The ring takes 35 MiB (DESIGN §14), of which some KiB are the fields that are put on top here and at the gateway.
  maxMessageBytes: 35 * 1024 * 1024 - 64 * 1024,
  // All connections together: messages lie in memory until the ring has them.
  maxMessageBytesInFlight: 256 * 1024 * 1024,
  maxRecipients: 100,
  maxHeaderBytes: 256 * 1024,
  maxHeaderFields: 1_000,
  // RFC 5321 §4.5.3.1.6, without the CRLF.
  maxLineBytes: 998,
  // Room for AUTH PLAIN with a long password (RFC 4954 §4 allows 12,288).
  maxCommandBytes: 12_288,
  maxConnections: 500,
  // On loopback all programs of all users have one address.
  maxConnectionsPerAddress: 100,
  unauthenticatedMs: 60_000,
  silenceMs: 180_000,
  maxBadCommands: 5,
  maxLogins: 3,
};
