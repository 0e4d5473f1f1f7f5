/** How a process is asked to end or to read its files again. */
export interface Lifetime {
  /** Resolves when the process is to stop, with the reason. */
  readonly stopped: Promise<string>;
  readonly signal: AbortSignal;
  readonly onReload: (listener: () => void) => void;
}

// A stop that hangs is ended: kill -9 is always safe. SIGTERM must be over within 10 s, for a gateway and then its node.
export const partStopLimitMs = 4_500;
export const wholeStopLimitMs = 9_800;

/** Ties the process to its signals and to its supervisor: when that dies, however it dies, this one ends at once. */
export function processLifetime(stopLimitMs: number): Lifetime {
  const abort = new AbortController();
  const reloads: (() => void)[] = [];
  const stopped = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        abort.abort();
        resolve(name);
        setTimeout(() => process.exit(1), stopLimitMs).unref();
      });
    }
  });
  process.on('SIGHUP', () => {
    for (const reload of reloads) reload();
  });
  // Without its supervisor a process would hold ports and locks against the next start. Nothing acknowledged is in memory only.
  if (process.send !== undefined) {
    process.once('disconnect', () => process.exit(1));
    // Listening must not keep a process alive that has closed everything else.
    process.channel?.unref();
  }
  return { stopped, signal: abort.signal, onReload: (listener) => reloads.push(listener) };
}
