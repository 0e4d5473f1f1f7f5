/**
 * Whether only opening the queue anew can help. lmdb gives up on an environment when it does not know whether the page that makes a commit valid has
 * reached the disk: from then on every transaction fails, reads too, however well the disk is again.
 */
export function needsReopening(fault: unknown): boolean {
  let at = fault;
  // A chain of causes that goes in a circle ends here.
  for (let depth = 0; depth < 5 && at instanceof Error; depth += 1) {
    if (at.message.includes('MDB_PANIC')) return true;
    at = at.cause;
  }
  return false;
}
