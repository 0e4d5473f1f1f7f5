import type { Connection, Stream, StreamHandler } from '@libp2p/interface';
import type { PingComponents } from '@libp2p/ping';
import type { Log } from './overlay.ts';

type Registrar = PingComponents['registrar'];
type State = {
  readonly settled: Promise<boolean>;
  readonly settle: (admitted: boolean) => void;
  peerId: string | undefined;
};

// Connections that have not shown a certificate yet, all strangers together: more are turned away at once.
const maxUnadmitted = 128;
// A peer keeps one connection, two after dialling each other at once, a few while old ones are found dead.
const maxPerPeer = 4;

/**
 * Which connections belong to members. Every protocol of the host but admission itself stands behind the gate: a
 * connection that is not admitted gets no answer and, where the peer should have known better, is cut.
 */
export class Gate {
  readonly #log: Log;
  readonly #states = new Map<Connection, State>();
  /** Open connections by peer, admitted or not. */
  readonly #open = new Map<string, number>();
  #unadmitted = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Begins to watch a fresh connection; false when it is one too many and was cut. */
  opened(connection: Connection): boolean {
    if (this.#unadmitted >= maxUnadmitted) {
      connection.abort(new Error('too many connections without admission'));
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#states.set(connection, { settled: promise, settle: resolve, peerId: undefined });
    this.#unadmitted += 1;
    this.#count(connection, 1);
    return true;
  }

  /** The peer showed its certificate. False when the connection is gone by now. */
  admit(connection: Connection): boolean {
    const state = this.#states.get(connection);
    if (state === undefined || connection.status !== 'open') return false;
    if (state.peerId !== undefined) return true;
    state.peerId = connection.remotePeer.toString();
    this.#unadmitted -= 1;
    state.settle(true);
    const same = this.connections(state.peerId);
    for (const old of same.slice(0, Math.max(0, same.length - maxPerPeer))) this.refuse(old, 'too many connections');
    return true;
  }

  /** Cuts the connection. */
  refuse(connection: Connection, reason: string): void {
    this.#log.debug(
      { peer: connection.remotePeer.toString(), from: connection.remoteAddr.toString(), reason },
      'connection refused',
    );
    this.closed(connection);
    connection.abort(new Error(reason));
  }

  closed(connection: Connection): void {
    const state = this.#states.get(connection);
    if (state === undefined) return;
    this.#states.delete(connection);
    this.#count(connection, -1);
    if (state.peerId === undefined) this.#unadmitted -= 1;
    state.settle(false);
  }

  /** Whether there is a connection to this peer, admitted or not yet. */
  meets(peerId: string): boolean {
    return this.#open.has(peerId);
  }

  #count(connection: Connection, change: number): void {
    const peerId = connection.remotePeer.toString();
    const count = (this.#open.get(peerId) ?? 0) + change;
    if (count > 0) this.#open.set(peerId, count);
    else this.#open.delete(peerId);
  }

  isAdmitted(connection: Connection): boolean {
    return this.#states.get(connection)?.peerId !== undefined;
  }

  /** Resolves when the connection is admitted (true) or will never be (false). */
  async settled(connection: Connection): Promise<boolean> {
    return (await this.#states.get(connection)?.settled) ?? false;
  }

  /** What is being admitted from this peer now; resolves when that is settled. Undefined where nothing is. */
  meeting(peerId: string): Promise<unknown> | undefined {
    const waiting = [...this.#states]
      .filter(([connection, { peerId: admitted }]) => admitted === undefined && isOf(connection, peerId))
      .map(([, { settled }]) => settled);
    return waiting.length === 0 ? undefined : Promise.all(waiting);
  }

  /** The admitted connections of a peer, oldest first. */
  connections(peerId: string): readonly Connection[] {
    const found: Connection[] = [];
    for (const [connection, state] of this.#states) {
      if (state.peerId === peerId && connection.status === 'open') found.push(connection);
    }
    return found;
  }

  /**
   * Puts a protocol handler behind the gate. Whoever dialled us begins by admission, so any other protocol before it is
   * an offence, except what libp2p sends by its own clock (`patient`). Whom we dialled may be a moment ahead of us.
   */
  guard(handler: StreamHandler, patient: boolean): StreamHandler {
    return async (stream: Stream, connection: Connection): Promise<void> => {
      if (!this.isAdmitted(connection)) {
        if (connection.direction === 'inbound' && !patient) {
          this.refuse(connection, `${stream.protocol} before admission`);
          return;
        }
        if (!(await this.settled(connection))) {
          stream.abort(new Error('not admitted'));
          return;
        }
      }
      await handler(stream, connection);
    };
  }

  /**
   * The components of a libp2p service with a registrar that guards whatever the service handles. Not libp2p's own
   * `use()` middleware: in 3.3 each inbound stream appends its handler to the registered array, so that the second
   * stream runs two handlers, and a protocol registered later would stand outside.
   */
  guarded<T extends { readonly registrar: Registrar }>(components: T, patient = false): T {
    const registrar = new Proxy(components.registrar, {
      get: (target, name) => {
        if (name === 'handle') {
          const handle: Registrar['handle'] = (protocol, handler, options) =>
            target.handle(protocol, this.guard(handler, patient), options);
          return handle;
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    return new Proxy(components, {
      get: (target, name) => (name === 'registrar' ? registrar : (Reflect.get(target, name) as unknown)),
    });
  }
}

function isOf(connection: Connection, peerId: string): boolean {
  return connection.status === 'open' && connection.remotePeer.toString() === peerId;
}
