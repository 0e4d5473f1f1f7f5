import { setTimeout as sleep } from 'node:timers/promises';
import type { LogReferences } from '../log/references.ts';
import { keysOf } from '../store/content.ts';
import { makeRound } from '../store/round.ts';
import type { IndexCache } from './index-cache.ts';
import { type Clock, type Log, leaseMs, type MailPost, type MailUser } from './mail-post.ts';
import { contentsOf } from './message.ts';
import type { MessageRef } from './message-ref.ts';

/** A log of the mailbox: what it refers to in the ring, and how far this node has followed it. */
export interface KeptLog {
  readonly name: string;
  readonly version: () => number;
  readonly references: () => Promise<LogReferences | undefined>;
}

export interface LeaseKeeperOptions {
  readonly store: MailPost['store'];
  readonly cache: Pick<IndexCache, 'leasedAt' | 'leased'>;
  readonly user: Pick<MailUser, 'address' | 'certificate' | 'keys'>;
  /** Every message that is referenced now. */
  readonly refs: () => AsyncIterable<MessageRef>;
  /** Every log of the mailbox, that of the folder list included. */
  readonly logs: () => AsyncIterable<KeptLog>;
  readonly now: Clock;
  readonly log: Log;
}

export interface LeasePass {
  /** Messages, and blocks of logs, whose leases were renewed. */
  renewed: number;
  blocks: number;
  /** Could not be renewed; tried again in the next pass. */
  failed: number;
  /** Messages with blocks that no holder has any more. */
  lost: number;
  /** The ring was told that all that is still wanted is leased, so that the rest may go. */
  stated: boolean;
}

const day = 86_400_000;
// A pass a day (DESIGN §6). Messages are taken when their lease was last renewed a week ago, because what a large one is made of has to be
// looked up: three weeks are left then, enough for holidays of the node.
const passMs = day;
const renewAfterMs = 7 * day;
// Not while everything else is starting.
const firstPassMs = 10 * 60_000;
// Blocks renewed in one go: 16 KB to each holder.
const keysAtOnce = 500;
// After each: a mailbox of 100,000 messages takes some minutes, and nobody else notices.
const pauseMs = 100;

type Waiting = { readonly message: string | undefined; readonly keys: readonly Uint8Array[] };

/**
 * Keeps alive what the mailbox refers to: whoever accepted a message renews the leases on its blocks (DESIGN §6), and on those of the
 * mailbox's own logs. A pass in which everything was reached is stated to the ring, signed: only then may holders let go of what it left out.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#ending.signal.aborted) this.#options.log.error({ err: error }, 'leases are not renewed any more');
    });
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let wait = firstPassMs; ; wait = passMs) {
      await sleep(wait, undefined, { signal, ref: false });
      try {
        await this.pass(pauseMs);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log.warn(
          { err: error },
          'the leases of a mailbox could not be looked through; tried again tomorrow',
        );
      }
    }
  }

  /** Leases a message that has just been accepted: its sender's lease is not for us. What fails is left to the next pass. */
  async accept(ref: MessageRef): Promise<void> {
    const { store, cache, user, now, log } = this.#options;
    const message = nameOf(ref);
    try {
      const keys = await this.#keysOf(ref);
      const { missing, unreached } = await store.renew(keys, { identity: user.address, until: now() + leaseMs });
      if (missing.length === 0 && unreached.length === 0) await cache.leased(message, now());
    } catch (error) {
      log.debug({ message, err: error }, 'a message that came could not be leased yet');
    }
  }

  /** Renews what is due. What cannot be renewed now is tried again in the next pass; the others do not wait for it. */
  async pass(pause = 0): Promise<LeasePass> {
    const { user, now, log } = this.#options;
    const begun = now();
    const count: LeasePass = { renewed: 0, blocks: 0, failed: 0, lost: 0, stated: false };
    await this.#renewMessages(count, pause);
    const whole = await this.#renewLogs(count, pause);
    if (this.#ending.signal.aborted) return count;
    const { failed, lost } = count;
    if (failed === 0 && whole) count.stated = await this.#state(begun);
    if (failed > 0)
      log.warn({ user: user.address, ...count }, 'some leases could not be renewed; tried again tomorrow');
    if (lost > 0) log.warn({ user: user.address, lost }, 'messages of this mailbox have blocks that no holder has');
    return count;
  }

  async #renewMessages(count: LeasePass, pause: number): Promise<void> {
    const { refs, cache, now, log } = this.#options;
    let waiting: Waiting[] = [];
    let keys = 0;
    for await (const ref of refs()) {
      if (this.#ending.signal.aborted) return;
      const message = nameOf(ref);
      // In the future: the clock was set back, and nobody knows when that was.
      const leasedAt = cache.leasedAt(message);
      if (leasedAt > now() - renewAfterMs && leasedAt <= now()) continue;
      try {
        const its = await this.#keysOf(ref);
        waiting.push({ message, keys: its });
        keys += its.length;
      } catch (error) {
        count.failed += 1;
        log.debug({ message, err: error }, 'a message whose lease is due could not be looked into');
      }
      if (keys < keysAtOnce) continue;
      await this.#renew(waiting, count, pause);
      [waiting, keys] = [[], 0];
    }
    await this.#renew(waiting, count, pause);
  }

  /** Whether all logs were looked through as far as the ring has them. */
  async #renewLogs(count: LeasePass, pause: number): Promise<boolean> {
    const { logs, log } = this.#options;
    for await (const { name, version, references } of logs()) {
      if (this.#ending.signal.aborted) return false;
      try {
        const found = await references();
        let keys: Uint8Array[] = [];
        for await (const key of found?.blocks ?? []) {
          keys.push(key);
          if (keys.length < keysAtOnce) continue;
          await this.#renew([{ message: undefined, keys }], count, pause);
          keys = [];
        }
        await this.#renew([{ message: undefined, keys }], count, pause);
        if (found !== undefined && found.version > version()) {
          log.info({ log: name }, 'another node has written this log; what it refers to is left to that one');
          return false;
        }
      } catch (error) {
        count.failed += 1;
        log.debug({ log: name, err: error }, 'the leases of a log could not be renewed');
      }
    }
    return true;
  }

  async #renew(waiting: readonly Waiting[], count: LeasePass, pause: number): Promise<void> {
    if (waiting.every(({ keys }) => keys.length === 0)) return;
    const { store, cache, user, now } = this.#options;
    const at = now();
    const keys = waiting.flatMap((one) => one.keys);
    const { renewed, missing, unreached } = await store.renew(keys, { identity: user.address, until: at + leaseMs });
    count.blocks += renewed;
    const [gone, silent] = [new Set(missing), new Set(unreached)];
    for (const { message, keys: its } of waiting) {
      const failed = its.some((key) => silent.has(key));
      if (failed) count.failed += 1;
      // What is lost for good must not keep all else of this mailbox from ever being let go of.
      else if (its.some((key) => gone.has(key))) count.lost += 1;
      else if (message !== undefined) {
        await cache.leased(message, at);
        count.renewed += 1;
      }
    }
    if (pause > 0) await sleep(pause, undefined, { signal: this.#ending.signal, ref: false });
  }

  async #state(begun: number): Promise<boolean> {
    const { store, user, now, log } = this.#options;
    const { address, certificate, keys } = user;
    // The oldest lease that this pass has left as it was.
    const until = begun - renewAfterMs + leaseMs;
    try {
      const round = { address, begun, completed: now(), until };
      await store.putRound(makeRound(round, { certificate, signing: keys.signing }));
      return true;
    } catch (error) {
      log.warn(
        { user: address, err: error },
        'the ring could not be told that leases are renewed; nothing is lost by it',
      );
      return false;
    }
  }

  async #keysOf(ref: MessageRef): Promise<Uint8Array[]> {
    const keys: Uint8Array[] = [];
    for (const content of await contentsOf(this.#options.store, ref))
      for await (const key of keysOf(this.#options.store, content)) keys.push(key);
    return keys;
  }
}

function nameOf(ref: MessageRef): string {
  return Buffer.from(ref.manifest.key).toString('hex');
}
