/** What the guard tells. */
export interface FaultLog {
  error(fields: object, message: string): void;
}

/**
 * Keeps a process alive when its disk is full. lmdb tells a failed commit to whoever made the write, who deals with it; beside that it rejects promises of
 * its own, which nobody can get hold of, and of which Node ends the process: every part would die at each write until there is room again. Any other
 * rejection without an owner is a bug, and ends the process as it would without this. Returns how to stop.
 */
export function outliveFailedCommits(log: FaultLog): () => void {
  const told = new WeakSet<object>();
  const tell = (fault: unknown): void => {
    if (typeof fault !== 'object' || fault === null || told.has(fault)) return;
    told.add(fault);
    log.error({ fault }, 'a write to the disk failed; whoever made it was told');
  };
  const onRejection = (reason: unknown): void => {
    if (!(reason instanceof Error)) throw reason;
    if ('commitError' in reason && reason.commitError instanceof Promise) reason.commitError.catch(tell);
    else if (isCause(reason)) tell(reason);
    else throw reason;
  };
  process.on('unhandledRejection', onRejection);
  return () => process.off('unhandledRejection', onRejection);
}

/** Why a commit failed: it has the number of the system's error, as Node's own errors never have. */
function isCause(reason: Error): boolean {
  return 'code' in reason && typeof reason.code === 'number' && /[/\\]lmdb[/\\]/.test(reason.stack ?? '');
}
