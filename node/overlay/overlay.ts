import type { Address } from '../../policy/address.ts';
import type { NodeCertificate } from '../identity/certificate.ts';
import type { RevocationState } from '../identity/revocation.ts';
import type { RingDescriptor } from '../identity/ring.ts';

export type Clock = () => number;

/** Where events go; pino's shape. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A certified node of the ring, up or down. `addresses` are multiaddrs without the peer id; they may be out of date. */
export interface Member {
  readonly peerId: string;
  readonly peerKey: Uint8Array;
  readonly owner: Address;
  readonly addresses: readonly string[];
  readonly certificate: NodeCertificate;
}

/** `woke`: this machine was asleep, or its clock jumped; `member` is the node itself. What the others hold for it is to be asked for. */
export type MembershipKind = 'joined' | 'left' | 'up' | 'down' | 'revoked' | 'woke';
export type MembershipChange = { readonly kind: MembershipKind; readonly member: Member };

/**
 * `unreachable`: no admitted connection and none could be made, or it broke; `timeout`: the deadline passed or the caller
 * gave up; `refused`: the peer's handler threw (its message is carried) or has no such method; `too-large`: body or answer over the frame bound.
 */
export type OverlayFaultCode = 'unreachable' | 'timeout' | 'refused' | 'too-large';

export class OverlayFault extends Error {
  override readonly name = 'OverlayFault';
  readonly code: OverlayFaultCode;

  constructor(code: OverlayFaultCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Two 64 KiB blocks, or one with everything around it, fit into a frame; more would hold up what waits behind it. */
export const maxFrameBytes = 128 * 1024;
/** What fits beside kind, id, deadline and method name. */
export const maxBodyBytes = maxFrameBytes - 256;
/** ASCII; long enough for `store/insert`. */
export const maxMethodBytes = 64;

/** Answers one request. `signal` aborts when the caller's deadline passes, the caller cancels, or the connection is lost. */
export type RequestHandler = (body: Uint8Array, from: Member, signal: AbortSignal) => Promise<Uint8Array>;

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** The ring as one node sees it: who is a member, who is up, and how to ask one of them something. */
export interface Overlay {
  readonly self: Member;
  readonly ring: RingDescriptor;
  /**
   * Certified, neither revoked nor expired, self included, whether up or down. All of them, or in a ring larger than the member table
   * those whom this node keeps: its neighbourhood and some of each distance.
   */
  members(): readonly Member[];
  /**
   * The members whose sha256(peerKey) is closest to `key` by XOR, nearest first. From what is known here; no network. This is the ring's answer
   * where {@link locate} has nothing to do or has done it.
   */
  closest(key: Uint8Array, count: number): readonly Member[];
  /**
   * Sees to it that `closest` for this key is the ring's answer, and that those of it that are up are connected. Undefined when that is so already,
   * as it always is in a ring in which everyone is connected to everyone; else a promise that never rejects: when not
   * everybody could be asked, `closest` is as good as could be found out.
   */
  locate(key: Uint8Array, count: number): Promise<void> | undefined;
  /** Whether there is an admitted connection now. Self is always up. */
  isUp(peerId: string): boolean;
  /** Asks a member; to self the handler is called directly. Throws {@link OverlayFault}. */
  request(peerId: string, method: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array>;
  /** Answers `method` from now on; one handler per method. */
  handle(method: string, handler: RequestHandler): void;
  /** Calls `listener` on every change until the returned function is called. */
  onMembership(listener: (change: MembershipChange) => void): () => void;
  /** Takes a newer signed revocation list over, keeps it, drops who is on it, and tells the others. */
  offerRevocations(bytes: Uint8Array): void;
  revocations(): RevocationState;
  /** Ends every connection, timer and request. Resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}
