import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../../policy/address.ts';
import { type Block, type BlockSource, type ContentRef, readContent } from '../store/content.ts';
import type { IndexCache } from './index-cache.ts';
import { type Clock, type Log, leaseMs, type MailPost } from './mail-post.ts';
import { contentsOf } from './message.ts';
import type { MessageRef } from './message-ref.ts';

export interface LeaseKeeperOptions {
  readonly store: MailPost['store'];
  readonly cache: Pick<IndexCache, 'leasedAt' | 'leased'>;
  readonly address: Address;
  /** Every message that is referenced now. */
  readonly refs: () => AsyncIterable<MessageRef>;
  readonly now: Clock;
  readonly log: Log;
}

const day = 86_400_000;
// A pass a day (DESIGN §6), which takes the messages whose lease it last renewed a week ago: three weeks are left then, enough for holidays of
// the node, and a renewal moves the blocks, so a seventh of the traffic.
const passMs = day;
const renewAfterMs = 7 * day;
// Not while everything else is starting.
const firstPassMs = 10 * 60_000;
// At most twenty messages a second: 100,000 take an hour and a half, and nobody else notices.
const pauseMs = 50;
// 1 MiB of blocks in one insert, as node/store does.
const blocksPerInsert = 16;

/** Keeps alive what the mailbox refers to: whoever accepted a message renews the leases on its blocks (DESIGN §6). */
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

  /** Renews what is due. A message that cannot be renewed now is tried again in the next pass; the others do not wait for it. */
  async pass(pause = 0): Promise<{ renewed: number; failed: number }> {
    const { refs, cache, now, log, address } = this.#options;
    const { signal } = this.#ending;
    const count = { renewed: 0, failed: 0 };
    for await (const ref of refs()) {
      if (signal.aborted) return count;
      const key = Buffer.from(ref.manifest.key).toString('hex');
      if (cache.leasedAt(key) > now() - renewAfterMs) continue;
      try {
        await this.#renew(ref);
        await cache.leased(key, now());
        count.renewed += 1;
      } catch (error) {
        count.failed += 1;
        log.debug({ message: key, err: error }, 'a lease could not be renewed');
      }
      if (pause > 0) await sleep(pause, undefined, { signal, ref: false });
    }
    const { renewed, failed } = count;
    if (failed > 0)
      log.warn({ user: address, renewed, failed }, 'some leases could not be renewed; tried again tomorrow');
    return count;
  }

  async #renew(ref: MessageRef): Promise<void> {
    for (const content of await contentsOf(this.#options.store, ref)) await this.#renewContent(content);
  }

  /** Reads the content through a source that puts every block back under the new lease, the manifests of a tree included. */
  async #renewContent(content: ContentRef): Promise<void> {
    const { store, address, now } = this.#options;
    const lease = { identity: address, until: now() + leaseMs };
    const blocks: Block[] = [];
    const source: BlockSource = {
      fetch: async (key) => {
        const bytes = await store.fetch(key);
        blocks.push({ key, bytes });
        return bytes;
      },
    };
    for await (const _ of readContent(source, content)) {
      if (blocks.length < blocksPerInsert) continue;
      await store.insert(blocks.splice(0), lease);
    }
    if (blocks.length > 0) await store.insert(blocks, lease);
  }
}
