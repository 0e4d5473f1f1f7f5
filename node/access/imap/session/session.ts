import type { SecureContext } from 'node:tls';
import type { Account } from '../../account.ts';
import type { Clock, Log } from '../../log.ts';
import type { LoginGate } from '../../login-gate.ts';
import type { ImapLimits } from '../limits.ts';
import type { Arrival, Connection } from './connection.ts';
import type { FolderView } from './view.ts';

/** RFC 3501 §3. What is known in a state is in it. */
export type State =
  | { readonly at: 'greeting' }
  | { readonly at: 'not-authenticated' }
  | { readonly at: 'authenticated'; readonly account: Account }
  | { readonly at: 'selected'; readonly account: Account; readonly view: FolderView }
  | { readonly at: 'logout' };

export type LoggedIn = Extract<State, { at: 'authenticated' | 'selected' }>;
export type Selected = Extract<State, { at: 'selected' }>;

/** What all sessions of one listener share. */
export interface Shared {
  readonly gate: LoginGate;
  readonly limits: ImapLimits;
  readonly context: () => SecureContext;
  readonly now: Clock;
  readonly log: Log;
  /** Counts a connection for its user; undefined when he has too many. The function gives it back. */
  readonly enter: (account: Account) => (() => void) | undefined;
  /** Takes octets from what messages in flight may use together. */
  readonly reserve: (bytes: number) => boolean;
  readonly release: (bytes: number) => void;
  /** Fires when the listener stops. */
  readonly stopping: AbortSignal;
}

/** What a client may switch on for its session (RFC 5161): with it, answers take another shape. */
export type Extension = 'CONDSTORE' | 'QRESYNC' | 'UTF8=ACCEPT' | 'IMAP4rev2';

export interface Session {
  readonly shared: Shared;
  readonly connection: Connection;
  readonly enabled: Set<Extension>;
  state: State;
  /** Of the command under way. */
  tag: string;
  secure: boolean;
  logins: number;
  /** Octets of the command's literal that were reserved. */
  reserved: number;
  leave: (() => void) | undefined;
}

/** How a command ended: the tagged response, without the tag. */
export interface Completion {
  readonly status: 'OK' | 'NO' | 'BAD';
  /** RFC 3501 §7.1 response code, without its brackets. */
  readonly code?: string | undefined;
  readonly text: string;
  readonly next?: State;
}

export function ok(text: string, code?: string): Completion {
  return { status: 'OK', code, text };
}

export function no(text: string, code?: string): Completion {
  return { status: 'NO', code, text };
}

export function bad(text: string): Completion {
  return { status: 'BAD', text };
}

/** What BYE has to say where the conversation has to end from this side. */
export function endOf({ shared, state, connection }: Session): string | undefined {
  if (shared.stopping.aborted) return 'the server is stopping';
  if (state.at !== 'authenticated' && state.at !== 'selected') return undefined;
  const reason = state.account.over?.();
  if (reason === undefined) return undefined;
  const user = state.account.address;
  shared.log.warn({ ip: connection.address, user, reason }, 'a session is ended: its user may not go on');
  return reason.replace(/[^\x20-\x7e]/g, '?');
}

/** Waits as {@link Connection.more} does, and looks from time to time whether the user may go on. */
export async function moreOrEnd(session: Session, timeoutMs: number): Promise<Arrival | { readonly bye: string }> {
  const { connection, shared } = session;
  for (let left = timeoutMs; ; left -= shared.limits.standingMs) {
    const bye = endOf(session);
    if (bye !== undefined) return { bye };
    const arrival = await connection.more(Math.min(left, shared.limits.standingMs));
    if (arrival !== 'timed-out' || left <= shared.limits.standingMs) return arrival;
  }
}
