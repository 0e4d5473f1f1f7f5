import { setTimeout as pause } from 'node:timers/promises';
import { equalBytes } from '../identity/canonical.ts';
import { checkHead, type Head } from '../store/head.ts';
import { LogFault } from './fault.ts';
import type { LogShelf } from './log-disk.ts';
import type { LogTip } from './tip.ts';

// A ring that is just starting gathers within seconds; after that the caller is better told, and tries again.
const tries = 4;
const retryMs = 500;

interface HeadSource {
  getHeads(key: Uint8Array): Promise<{ heads: Uint8Array[]; answered: number; asked: number; sure: boolean }>;
}

interface Opening {
  readonly store: HeadSource;
  readonly disk: LogShelf;
  readonly create: boolean;
  readonly name: string;
}

/**
 * Finds the newest head of a log. The own disk is believed before the ring: an older answer from there is ignored and repaired. Without an
 * own head the ring must answer so that none can have been missed; a missing head is never silently created anew (DESIGN §6).
 */
export async function findTip(tip: LogTip, opening: Opening): Promise<void> {
  const { acknowledged, sent } = opening.disk.heads(tip.key);
  const own = sent ?? acknowledged;
  if (own === undefined) await openFromRing(tip, opening);
  else await openOwn(tip, own, opening.store);
}

/** What was sent last and not known to be acknowledged is taken as written: it may be, and is now put at the holders again. */
async function openOwn(tip: LogTip, own: Head, store: HeadSource): Promise<void> {
  tip.believe(own);
  // Out of reach, the ring is brought up to date by the next append.
  const found = await store.getHeads(tip.key).catch(() => undefined);
  const ring = headsOf(found?.heads ?? []);
  if (ring.length === 1 && ring[0] !== undefined && equalBytes(ring[0].hash, own.hash)) return;
  const others = ring.filter((head) => head.version >= own.version && !equalBytes(head.hash, own.hash));
  try {
    if (others.length > 0) await tip.merge(others);
    else await tip.renew();
  } catch (cause) {
    if (!(cause instanceof LogFault) || cause.code !== 'unavailable') throw cause;
  }
}

async function openFromRing(tip: LogTip, { store, create, name }: Opening): Promise<void> {
  const heads = await surelyNewest(tip.key, store, name);
  const [first, ...others] = heads;
  if (first === undefined) {
    if (!create) throw new LogFault('missing', `the ring has no log ${name} of this identity`);
    await tip.commit({ records: [] });
    return;
  }
  tip.believe(first);
  await tip.keep();
  if (others.length > 0) await tip.merge(others);
}

async function surelyNewest(key: Uint8Array, store: HeadSource, name: string): Promise<Head[]> {
  for (let attempt = 1; ; attempt++) {
    const { heads, sure, answered, asked } = await store.getHeads(key);
    if (sure) return headsOf(heads);
    if (attempt === tries)
      throw new LogFault(
        'unavailable',
        `${answered} of ${asked} holders of the log ${name} answered: too few to be sure`,
      );
    await pause(retryMs);
  }
}

function headsOf(heads: readonly Uint8Array[]): Head[] {
  return heads.flatMap((bytes) => checkHead(bytes) ?? []);
}
