import path from 'node:path';
import type { Logger } from 'pino';
import type { RingDescriptor } from '../../node/identity/ring.ts';
import { loadConfig } from '../config/load.ts';
import { withOverrides } from '../config/overrides.ts';
import type { Config } from '../config/schema.ts';
import { type Layout, layoutOf, runFolder } from '../home/layout.ts';
import { acquireLock } from '../home/lock.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { readRing } from '../home/ring-files.ts';
import { TraceStore } from '../trace/store.ts';
import { type Role, sayReady } from './child-message.ts';
import { Closing } from './closing.ts';
import { outliveFailedCommits } from './failed-commits.ts';
import { type Lifetime, partStopLimitMs, processLifetime } from './lifetime.ts';
import { stderrLog } from './log.ts';

export interface PartOptions {
  readonly folder: string;
  readonly overrides: Readonly<Record<string, string>>;
  readonly passphraseFile: string | undefined;
  /** Called when ready, beside telling the supervisor. */
  readonly onReady?: (listens: Readonly<Record<string, string>>) => void;
}

/** What the node and the gateway of a home both begin with. */
export interface Part {
  readonly layout: Layout;
  readonly ring: RingDescriptor;
  readonly config: Config;
  readonly passphrase: string | undefined;
  readonly log: Logger;
  readonly traces: TraceStore;
  readonly lifetime: Lifetime;
  /** Whatever is started is added here, and is closed in reverse when the part ends. */
  readonly closing: Closing;
}

/**
 * Runs one part of a home until it is told to stop: `check` refuses what a person got wrong, before anything is touched; `start` resolves with
 * where the part listens. Resolves with the exit code.
 */
export async function runPart<Checked>(
  role: Role,
  options: PartOptions,
  check: (layout: Layout, config: Config) => Checked,
  start: (part: Part, checked: Checked) => Promise<Readonly<Record<string, string>>>,
): Promise<number> {
  const lifetime = processLifetime(partStopLimitMs);
  const closing = new Closing();
  try {
    const layout = layoutOf(options.folder);
    const ring = readRing(layout);
    const config = withOverrides(loadConfig(layout.config), options.overrides, ring);
    const passphrase = readPassphrase(options.passphraseFile);
    const checked = check(layout, config);
    const log = stderrLog(config.log.level).child({ part: role });
    closing.add(outliveFailedCommits(log));
    const lock = await acquireLock(path.join(runFolder(layout), `${role}.lock`), `a ${role}`);
    closing.add(() => lock.release());
    const traces = new TraceStore({
      folder: layout.trace,
      now: Date.now,
      onFault: (fault) => log.error({ fault }, 'the trace store cannot be written'),
    });
    closing.add(() => traces.close());
    const starting = start({ layout, ring, config, passphrase, log, traces, lifetime, closing }, checked);
    const listens = await Promise.race([starting, lifetime.stopped]);
    if (typeof listens === 'string') return 0;
    sayReady({ kind: 'ready', role, listens });
    options.onReady?.(listens);
    await lifetime.stopped;
    return 0;
  } finally {
    await closing.close();
  }
}
