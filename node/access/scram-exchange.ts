import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Login, ScramAccounts } from './account.ts';
import type { LoginGate } from './login-gate.ts';
import {
  type Channel,
  type ClientFirst,
  checkClientFinal,
  readClientFirst,
  type ScramKeys,
  serverFirst,
} from './scram.ts';

export const scramMechanism = 'SCRAM-SHA-256';
export const scramPlusMechanism = 'SCRAM-SHA-256-PLUS';

/** RFC 9266 §2: 32 octets, for TLS 1.3 only (in 1.2 it would need a check that Node does not offer). */
export function tlsExporter(socket: TLSSocket): Buffer | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined;
  return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
}

/** The SCRAM mechanisms to announce on a connection. */
export function scramMechanisms(accounts: ScramAccounts | undefined, exporter: Uint8Array | undefined): string[] {
  if (accounts === undefined) return [];
  return [scramMechanism, ...(exporter === undefined ? [] : [scramPlusMechanism])];
}

export type ScramStep =
  /** Send it and wait for the client. */
  | { readonly kind: 'challenge'; readonly text: string }
  /** The client's octets are no SCRAM. */
  | { readonly kind: 'malformed'; readonly why: string }
  | { readonly kind: 'decided'; readonly login: Login; readonly serverFinal: string };

/** One SCRAM exchange (RFC 5802), whatever protocol carries it: first message in, challenge out, final message in, decision out. */
export class ScramExchange {
  readonly #gate: LoginGate;
  readonly #accounts: ScramAccounts;
  readonly #channel: Channel;
  #begun: { readonly first: ClientFirst; readonly sent: string; readonly keys: ScramKeys } | undefined;

  constructor(gate: LoginGate, accounts: ScramAccounts, channel: Channel) {
    this.#gate = gate;
    this.#accounts = accounts;
    this.#channel = channel;
  }

  async first(message: string): Promise<ScramStep> {
    const first = readClientFirst(message, this.#channel);
    if (first.kind === 'wrong') return { kind: 'malformed', why: first.why };
    const keys = await this.#accounts.keys(first.username);
    const sent = serverFirst(first, randomBytes(18).toString('base64'), keys);
    this.#begun = { first, sent, keys };
    return { kind: 'challenge', text: sent };
  }

  /** A wrong proof counts, and is answered, as a wrong password is. */
  async final(message: string, from: { ip: string; signal: AbortSignal }): Promise<ScramStep> {
    const begun = this.#begun;
    if (begun === undefined) return { kind: 'malformed', why: 'a final message before a first' };
    const checked = checkClientFinal(message, { ...begun, channel: this.#channel });
    const { username } = begun.first;
    const login = await this.#gate.attempt(username, from, async () =>
      checked.kind === 'proved' ? await this.#accounts.admit(username) : { kind: 'refused' },
    );
    return { kind: 'decided', login, serverFinal: checked.kind === 'proved' ? checked.serverFinal : '' };
  }
}
