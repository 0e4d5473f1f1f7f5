import type { z } from 'zod';
import { equalBytes } from '../identity/canonical.ts';
import type { Member, Overlay } from '../overlay/overlay.ts';
import { sha256 } from './block-cipher.ts';
import { StoreFault } from './fault.ts';
import { headFrom, type LocalHolder } from './holder.ts';
import { body, plain } from './remote-holder.ts';
import type { Summary } from './summaries.ts';
import { fittingLeases, methods, packBits, packBody, shapes, unpackBody, unpackItems } from './wire.ts';

/** Two heads prove a fork; with more the answer might not fit into a frame. */
const maxHeadsAnswered = 2;

/** Answers the ring's requests to this node as a holder. What is not of its shape is refused by a throw, which the overlay carries back. */
export function serveHolder(
  overlay: Overlay,
  holder: LocalHolder,
  on: {
    /** Does the work, or refuses it when the store stops. */
    during: <T>(work: () => Promise<T>) => Promise<T>;
    wrote: () => void;
    sync: (from: Member) => Promise<boolean>;
    summary: (from: Member) => Promise<Summary>;
  },
): void {
  const answer = <T>(
    method: string,
    shape: z.ZodType<T>,
    work: (request: T, from: Member) => Promise<object>,
  ): void => {
    overlay.handle(method, (bytes, from) =>
      on.during(async () => packBody(await work(unpackBody(bytes, shape), from))),
    );
  };
  answer(methods.insert, shapes.insert, async ({ blocks }, from) => {
    try {
      await holder.for(from).insert(blocks.map((block) => ({ key: sha256(block.bytes), ...block })));
    } catch (fault) {
      if (!(fault instanceof StoreFault) || fault.code !== 'quota') throw fault;
      return { kept: 0, over: fault.account ?? from.owner };
    }
    on.wrote();
    return { kept: blocks.length };
  });
  answer(methods.renew, shapes.renew, async ({ keys, lease }, from) => ({
    bits: packBits(
      await holder.for(from).renew(
        unpackItems('block', keys).map(({ key }) => key),
        lease,
      ),
    ),
  }));
  answer(methods.exchange, shapes.exchange, async ({ items }, from) => {
    const standings = await holder.for(from).exchange(items);
    return { items: fittingLeases(standings.map(({ held, leases }) => ({ held, leases: leases.map(plain) }))) };
  });
  answer(methods.putRound, shapes.putRound, async (stated, from) => {
    await holder.for(from).putRound(stated);
    return {};
  });
  answer(methods.round, shapes.round, async ({ key }) => ({ round: (await holder.round(key))?.stated ?? null }));
  answer(methods.fetch, shapes.fetch, async ({ key }, from) => ({
    block: (await holder.for(from).fetch(key)) ?? null,
  }));
  answer(methods.lacks, shapes.lacks, async ({ kind, items }) => ({
    bits: packBits(await holder.lacks(kind, unpackItems(kind, items))),
  }));
  answer(methods.putHead, shapes.putHead, async ({ head }) => {
    const verdict = await holder.putHead(headFrom(head));
    on.wrote();
    const heads = verdict.kind === 'kept' ? [] : verdict.heads.slice(0, maxHeadsAnswered).map(({ bytes }) => bytes);
    return { verdict: verdict.kind, heads };
  });
  answer(methods.heads, shapes.heads, async ({ key }) => ({
    heads: (await holder.heads(key)).slice(0, maxHeadsAnswered).map(({ bytes }) => bytes),
  }));
  answer(methods.putEntry, shapes.putEntry, async (entry) => {
    const kept = await holder.putEntry(entry);
    on.wrote();
    return { entry: body(kept.entry) };
  });
  answer(methods.entry, shapes.entry, async ({ key }) => {
    const found = await holder.entry(key);
    return { entry: found === undefined ? null : body(found.entry) };
  });
  answer(methods.summary, shapes.summary, async ({ root }, from) => {
    const here = await on.summary(from);
    return { stamps: equalBytes(here.root(), root) ? null : here.stamps() };
  });
  answer(methods.sync, shapes.sync, async (_, from) => ({ complete: await on.sync(from) }));
}
