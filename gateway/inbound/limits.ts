/** Bounds on what strangers may do to the MX listener (DESIGN §14), all settable, each with its reason. */
export interface InboundLimits {
  /** At once from one address, its /24 (/64) and its /16 (/48): a busy sender uses some ten, a botnet hundreds. */
  readonly connections: readonly [address: number, subnet: number, wide: number];
  /** New ones a minute, for the same three. */
  readonly connectionsPerMinute: readonly [address: number, subnet: number, wide: number];
  /** In all: each costs some tens of KiB, and the process needs its file descriptors for other things. */
  readonly totalConnections: number;
  /** Addresses and networks (`10.0.0.0/8`) that the two counts above, and the share of memory below, leave alone. */
  readonly exemptNetworks: readonly string[];
  /** RFC 5321 §4.5.3.1.4 asks for 512 octets; extensions add some. */
  readonly commandLineBytes: number;
  /** As large as common providers take (25 MB of attachment in base64); with our fields on top it must fit into the ring. */
  readonly messageBytes: number;
  /** All messages being received or decided at once; beyond it senders are asked to come again. */
  readonly messagesInMemoryBytes: number;
  /** Of those, from one /24 (/64): who sends slowly and much must leave room for others. */
  readonly messagesInMemoryPerSubnetBytes: number;
  /** A header that people or programs need has some KiB; parsing is paid for each octet. */
  readonly headerBytes: number;
  readonly headerFields: number;
  /** mailauth's work grows with the square of the lines of one field: 50,000 folds are 5 s, these some 35 ms. */
  readonly headerLines: number;
  /** RCPT commands, whatever comes of them (RFC 9422 §4.2). RFC 5321 §4.5.3.1.8 asks for at least 100. */
  readonly recipients: number;
  /** MAIL commands, whatever comes of them (RFC 9422 §4.1); then a new connection, so that none is kept for ever. */
  readonly messagesPerConnection: number;
  /** A client that cannot speak SMTP will not learn it. */
  readonly badCommands: number;
  /** Commands that lead to no message since the last one that was taken: NOOP keeps connections from others. */
  readonly commandsWithoutMail: number;
  /** From here each further recipient that is not here is answered slowly, to make guessing addresses expensive. */
  readonly unknownRecipientsSlow: number;
  /** Here the connection is closed. */
  readonly unknownRecipientsClose: number;
  /** How slowly: well below a client's time-out (RFC 5321 §4.5.3.2.3: 5 minutes). */
  readonly slowAnswerMs: number;
  /** How long a client that lately broke the rules waits for the greeting; bots talk before it. RFC 5321 §4.5.3.2.1: clients wait 5 minutes. */
  readonly greetingWaitMs: number;
  /** Clients that are made to wait at once. Beyond it they are answered at once, or they would be our connections' undoing instead of theirs. */
  readonly tarpitPlaces: number;
  /** RFC 5321 §4.5.3.2.7 asks for 5 minutes; DESIGN §14 gives waiting strangers less. */
  readonly commandTimeoutMs: number;
  readonly dataTimeoutMs: number;
  readonly sessionMs: number;
  /** From the final dot to the reply; RFC 5321 §4.5.3.2.6 has the client wait 10 minutes, many wait less. */
  readonly decisionMs: number;
  /** Of that, for looking things up. */
  readonly evidenceMs: number;
  /** One lookup in the ring at RCPT. */
  readonly recipientLookupMs: number;
  /** DNS questions for one message: what the RFCs allow SPF alone (RFC 7208 §4.6.4), and some for the rest. */
  readonly dnsLookups: number;
  /**
   * A message with more Received fields than this goes in circles. RFC 5321 §6.3 asks for "at least 100"; DESIGN §14
   * says 50, but mail with 99 is among the ordinary mail of the test data.
   */
  readonly receivedHops: number;
  /** RFC 5322 §2.1.1: lines over 998 octets break the rules but not the message, so they are carried unless this is set. */
  readonly refuseLongLines: boolean;
  /** No line may be longer than this: the work of relaxed canonicalization grows with the square of it (10 MB: 5 s). */
  readonly lineBytes: number;
}

/** DESIGN §14: the ring takes no larger message, our fields on top included. */
export const ringMessageBytes = 35 * 1024 * 1024;
// Our fields are some 4 KiB at the most. A message that fitted without them and not with them would be accepted and never delivered.
const fieldsBytes = 64 * 1024;

export const defaultInboundLimits: InboundLimits = {
  connections: [20, 60, 180],
  connectionsPerMinute: [60, 180, 540],
  totalConnections: 2_000,
  exemptNetworks: ['127.0.0.0/8', '::1/128'],
  commandLineBytes: 2_048,
  messageBytes: ringMessageBytes - fieldsBytes,
  messagesInMemoryBytes: 256 * 1024 * 1024,
  messagesInMemoryPerSubnetBytes: 96 * 1024 * 1024,
  headerBytes: 256 * 1024,
  headerFields: 1_000,
  headerLines: 4_000,
  recipients: 100,
  messagesPerConnection: 100,
  badCommands: 5,
  commandsWithoutMail: 100,
  unknownRecipientsSlow: 3,
  unknownRecipientsClose: 10,
  slowAnswerMs: 2_000,
  greetingWaitMs: 3_000,
  tarpitPlaces: 200,
  commandTimeoutMs: 60_000,
  dataTimeoutMs: 180_000,
  sessionMs: 20 * 60_000,
  decisionMs: 60_000,
  evidenceMs: 10_000,
  recipientLookupMs: 10_000,
  dnsLookups: 120,
  receivedHops: 100,
  refuseLongLines: false,
  lineBytes: 512 * 1024,
};
