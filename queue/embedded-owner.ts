/**
 * One process owns an embedded queue: it adds and works. Two owners would give every running job back to each other.
 * A dead owner's claim does not count, so `kill -9` needs no clean-up; the start time tells a reused process number from the owner's.
 */
import { readFileSync } from 'node:fs';
import type { EmbeddedStore } from './embedded-store.ts';
import { QueueFault } from './queue.ts';

/** When the process started, in clock ticks since boot (Linux); empty where that cannot be found out. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name in parentheses may contain anything, so count fields from the last parenthesis; starttime is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(pid: number, start: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, under another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return start === '' || startOf(pid) === '' || startOf(pid) === start;
}

/** Throws QueueFault `queue-owned` if another living process owns the queue. */
export async function becomeOwner(store: EmbeddedStore): Promise<void> {
  const refused: { pid?: number } = {};
  await store.fact('owner', (current) => {
    const [pid, start = ''] = (current ?? '').split(' ');
    const other = Number(pid);
    if (other > 0 && other !== process.pid && isAlive(other, start)) {
      refused.pid = other;
      return undefined;
    }
    return `${process.pid} ${startOf(process.pid)}`;
  });
  if (refused.pid !== undefined) {
    throw new QueueFault('queue-owned', `the queue is in use by process ${refused.pid}; stop that one first`);
  }
}

/** So that another process may own the queue while this one lives on. */
export async function giveUpOwnership(store: EmbeddedStore): Promise<void> {
  await store.fact('owner', () => '');
}
