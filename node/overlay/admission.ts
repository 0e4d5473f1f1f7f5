import type { Connection, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import { nodePeerId } from '../identity/peer-id.ts';
import type { Gate } from './gate.ts';
import type { MemberProof } from './member-table.ts';
import type { Membership } from './membership.ts';
import { type Log, maxFrameBytes } from './overlay.ts';

// One round trip; a peer that needs longer than this is dead or plays for time.
const admissionTimeoutMs = 5_000;
// A certificate (2 KiB), a record (4 KiB) and a revocation list (100 KiB) fit.
const maxHelloBytes = maxFrameBytes;

const bytesShape = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const helloShape = z.strictObject({
  version: z.literal(1),
  certificate: bytesShape,
  record: bytesShape,
  revocations: bytesShape.optional(),
});

export interface AdmissionParts {
  readonly gate: Gate;
  readonly membership: Membership;
  readonly protocol: string;
  readonly ownProof: () => MemberProof;
  readonly admitted: (connection: Connection, peerId: string) => void;
  /** Forgets what libp2p noted about a stranger, so that strangers cost no memory. */
  readonly forget: (connection: Connection) => void;
  readonly log: Log;
}

/**
 * The handshake before everything else: both sides show their node certificate, their newest record and the revocation
 * list they know. Whoever dialled speaks first; whoever listens answers only a certified node. Noise has proven the key.
 */
export class Admission {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Handles a connection that was just opened, by us or to us. Resolves when it is admitted or cut; never rejects. */
  async meet(connection: Connection): Promise<void> {
    if (!this.#parts.gate.opened(connection)) return;
    const timer = setTimeout(() => this.#refuse(connection, 'no admission in time'), admissionTimeoutMs);
    try {
      if (connection.direction === 'outbound') await this.#introduce(connection);
      await this.#parts.gate.settled(connection);
    } catch (error) {
      this.#refuse(connection, error instanceof Error ? error.message : String(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The handler of the admission protocol. */
  async answer(stream: Stream, connection: Connection): Promise<void> {
    // One admission for one connection, begun by whoever dialled.
    if (connection.direction !== 'inbound' || this.#parts.gate.isAdmitted(connection)) {
      this.#refuse(connection, 'admission out of turn');
      return;
    }
    const signal = AbortSignal.timeout(admissionTimeoutMs);
    const frames = lpStream(stream, { maxDataLength: maxHelloBytes });
    try {
      const hello = await frames.read({ signal });
      if (!this.#judge(connection, hello.subarray())) return;
      await frames.write(this.#hello(), { signal });
      await stream.close({ signal });
      this.#open(connection);
    } catch (error) {
      this.#refuse(connection, error instanceof Error ? error.message : String(error));
    }
  }

  async #introduce(connection: Connection): Promise<void> {
    const signal = AbortSignal.timeout(admissionTimeoutMs);
    const stream = await connection.newStream(this.#parts.protocol, { signal });
    const frames = lpStream(stream, { maxDataLength: maxHelloBytes });
    await frames.write(this.#hello(), { signal });
    const hello = await frames.read({ signal });
    if (!this.#judge(connection, hello.subarray())) return;
    await stream.close({ signal });
    this.#open(connection);
  }

  #hello(): Uint8Array {
    const revocations = this.#parts.membership.revocations.bytes();
    const list = revocations === undefined ? {} : { revocations };
    return encodeCanonical({ version: 1, ...this.#parts.ownProof(), ...list });
  }

  /** Whether the other side is a member; if not, the connection is cut. */
  #judge(connection: Connection, bytes: Uint8Array): boolean {
    const decoded = decodeCanonical(bytes, maxHelloBytes);
    const hello = decoded.kind === 'decoded' ? helloShape.safeParse(decoded.value) : undefined;
    if (hello?.success !== true) return this.#refuse(connection, 'an admission that cannot be read');
    const { certificate, record, revocations } = hello.data;
    const { membership, log } = this.#parts;
    // Their list first: it may revoke the very certificate they show.
    if (revocations !== undefined) membership.learnRevocations(revocations);
    const check = membership.table.check(certificate);
    if (check.kind === 'invalid' || check.kind === 'revoked') return this.#refuse(connection, check.reason);
    if (nodePeerId(check.certificate.peerKey) !== connection.remotePeer.toString()) {
      return this.#refuse(connection, 'the certificate of another node');
    }
    const offer = membership.learn({ certificate, record });
    if (offer.kind === 'refused') return this.#refuse(connection, offer.reason);
    if (check.kind === 'unknown')
      log.warn({ peer: check.certificate.peerId, reason: check.reason }, 'admitted without a fresh revocation list');
    return true;
  }

  #open(connection: Connection): void {
    const { gate, admitted } = this.#parts;
    if (gate.admit(connection)) admitted(connection, connection.remotePeer.toString());
  }

  #refuse(connection: Connection, reason: string): false {
    const { gate, forget, log } = this.#parts;
    if (gate.isAdmitted(connection)) return false;
    log.info({ peer: connection.remotePeer.toString(), direction: connection.direction, reason }, 'not admitted');
    gate.refuse(connection, reason);
    forget(connection);
    return false;
  }
}
