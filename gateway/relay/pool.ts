/** A few idle connections per mail server, so that the next message to it needs no new greeting and no new TLS. Bounded, and closed soon. */
import { defaultTimes, SmtpClient, type SmtpTimes, type SmtpTrouble } from './connection.ts';
import type { Hop } from './route.ts';
import { isOptional, type TlsDemand } from './smtp/tls-demand.ts';

export interface PoolOptions {
  /** Our name in EHLO. */
  readonly hostname: string;
  readonly times?: SmtpTimes;
  /** A host that the operator named does not take our login; `reply` is what it said. */
  readonly onLoginRefused?: (hop: Hop, user: string, reply: string) => void;
}

/** Long enough for the next job of a lane; hosts dislike idle clients. */
const idleMs = 5_000;
/** Many domains share the servers of one large provider; fewer would be closed and opened again all the time. */
const idlePerServer = 20;
/** All servers together: file descriptors. */
const maxIdle = 100;
/** Some hosts count messages per connection; so many save nearly all of the greeting. */
const messagesPerConnection = 50;

interface Idle {
  readonly client: SmtpClient;
  readonly timer: NodeJS.Timeout;
}

export interface Lent {
  readonly client: SmtpClient;
  /** Used before: it may have been closed on the other side just now. */
  readonly reused: boolean;
}

export class SmtpPool {
  readonly #options: PoolOptions;
  readonly #idle = new Map<string, Idle[]>();
  #idleCount = 0;
  readonly #keys = new WeakMap<SmtpClient, string>();
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** A connection that is ready for a transaction; give it back in any case. */
  async take(hop: Hop, tls: TlsDemand, fresh: boolean): Promise<Lent | { trouble: SmtpTrouble }> {
    const key = keyOf(hop, tls);
    for (let idle = fresh ? undefined : this.#pop(key); idle !== undefined; idle = this.#pop(key)) {
      if (!idle.dead) return { client: idle, reused: true };
    }
    const client = await this.#open(hop, tls);
    if (client instanceof SmtpClient) this.#keys.set(client, key);
    return client instanceof SmtpClient ? { client, reused: false } : client;
  }

  async #open(hop: Hop, tls: TlsDemand): Promise<SmtpClient | { trouble: SmtpTrouble }> {
    const { hostname: name, times = defaultTimes } = this.#options;
    const login = hop.named?.login;
    const auth = login === undefined ? undefined : { user: login.user, password: login.password() };
    const opened = await SmtpClient.open(hop, { name, times, tls, auth });
    if (auth !== undefined && !(opened instanceof SmtpClient) && opened.trouble.command === 'AUTH')
      this.#options.onLoginRefused?.(hop, auth.user, opened.trouble.reply);
    if (opened instanceof SmtpClient || opened.trouble.name !== 'tls' || !isOptional(tls) || auth !== undefined)
      return opened;
    // RFC 7435 §3: a host whose TLS is broken gets what a host without TLS gets.
    return SmtpClient.open(hop, { name, times, tls: { kind: 'none' } });
  }

  #pop(key: string): SmtpClient | undefined {
    const idle = this.#idle.get(key)?.pop();
    if (this.#idle.get(key)?.length === 0) this.#idle.delete(key);
    if (idle === undefined) return undefined;
    clearTimeout(idle.timer);
    this.#idleCount -= 1;
    return idle.client;
  }

  /** After a transaction; `clean` if it ended with the message accepted, which needs no RSET. */
  async giveBack(client: SmtpClient, clean: boolean): Promise<void> {
    const usable = !client.dead && client.messages < messagesPerConnection && !this.#closed;
    if (!usable || !(clean || (await client.reset()))) {
      client.quit();
      return;
    }
    const key = this.#keys.get(client) ?? '';
    const others = this.#idle.get(key) ?? [];
    if (others.length >= idlePerServer || this.#idleCount >= maxIdle || this.#closed) {
      client.quit();
      return;
    }
    const timer = setTimeout(() => this.#expire(key, client), idleMs);
    this.#idle.set(key, [...others, { client, timer }]);
    this.#idleCount += 1;
  }

  #expire(key: string, client: SmtpClient): void {
    const left = (this.#idle.get(key) ?? []).filter((idle) => idle.client !== client);
    if (left.length === 0) this.#idle.delete(key);
    else this.#idle.set(key, left);
    this.#idleCount -= 1;
    client.quit();
  }

  close(): void {
    this.#closed = true;
    for (const { client, timer } of [...this.#idle.values()].flat()) {
      clearTimeout(timer);
      client.close();
    }
    this.#idle.clear();
    this.#idleCount = 0;
  }
}

/** What a connection has proved, and as whom it is logged in, is part of what it is good for. */
function keyOf(hop: Hop, tls: TlsDemand): string {
  return `${hop.name} ${hop.address} ${hop.port} ${tls.kind} ${hop.named?.login?.user ?? ''}`;
}
