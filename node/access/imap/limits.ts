/** What one IMAP listener allows; each value with its reason. */
export interface ImapLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxConnectionsPerUser: number;
  readonly unauthenticatedMs: number;
  readonly idleMs: number;
  readonly idleCommandMs: number;
  readonly standingMs: number;
  readonly stallMs: number;
  readonly maxBadCommands: number;
  readonly maxLogins: number;
  readonly maxTextBytes: number;
  readonly maxUnauthenticatedTextBytes: number;
  readonly maxLiterals: number;
  readonly maxLiteralBytes: number;
  readonly maxMessageBytes: number;
  readonly maxMessageBytesInFlight: number;
  readonly searchMs: number;
  readonly flagDelayMs: number;
}

export const imapLimits: ImapLimits = {
  // A node has a handful of users; each connection may hold some megabytes.
  maxConnections: 1_000,
  // On loopback all programs of all users have one address.
  maxConnectionsPerAddress: 200,
  // Thunderbird opens 5 for each account, phones keep one per folder.
  maxConnectionsPerUser: 40,
  // Time for a person to type a password; a stranger gets no longer.
  unauthenticatedMs: 60_000,
  // RFC 3501 §5.4: at least 30 minutes.
  idleMs: 30 * 60_000,
  // RFC 2177: clients repeat IDLE every 29 minutes; those that do not are asked whether they live.
  idleCommandMs: 29 * 60_000,
  // How long somebody who was put out of the ring is told of new mail at most; asking costs next to nothing.
  standingMs: 30_000,
  // A client that takes no octet for a minute is gone or means harm.
  stallMs: 60_000,
  maxBadCommands: 10,
  // DESIGN §14 counts bad commands; a wrong password is one of the worse.
  maxLogins: 3,
  // RFC 7162 §4 wants 8192; long UID sets are longer.
  maxTextBytes: 65_536,
  // RFC 2971 §3.3: ID may come before the log-in, with 30 fields of 30 octets and values of 1,024.
  maxUnauthenticatedTextBytes: 32_768,
  maxLiterals: 100,
  // A literal that is no message: a name, a password, a search text.
  maxLiteralBytes: 16_384,
  // DESIGN §14.
  maxMessageBytes: 35 * 1024 * 1024,
  // Messages being appended by all connections together, as they lie in memory until they are stored.
  maxMessageBytesInFlight: 256 * 1024 * 1024,
  // A search through texts ends here, so that one command cannot keep a node busy.
  searchMs: 20_000,
  // A change of flags is answered when its writing has begun, unless an older one is not written after so long; 0: when it is written. What a
  // power cut may cost is what a person did in this time.
  flagDelayMs: 250,
};
