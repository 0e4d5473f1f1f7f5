import type { Job, Queue } from '../../queue/queue.ts';
import { printable } from './screen.ts';

/** What is held for one reason from one sender. */
export interface Held {
  readonly reason: string;
  readonly sender: string;
  readonly count: number;
  /** More is held than was looked at. */
  readonly orMore: boolean;
}

/** `status` is asked often, also while 100,000 messages of a stolen account are held: of these as many are looked at. */
const maxLookedAt = 1_000;
/** A screen. Who sees these five knows where to look on. */
const maxShown = 5;

/** Who waits for the postmaster, and why; most first. Their senders were told 250, so that nobody else will say it. */
export async function heldWork(queue: Pick<Queue, 'list'>): Promise<readonly Held[]> {
  return heldOf(await queue.list({ state: 'held', limit: maxLookedAt }));
}

export function heldOf(jobs: readonly Pick<Job, 'holdReason' | 'about'>[]): readonly Held[] {
  const orMore = jobs.length >= maxLookedAt;
  const found = new Map<string, Held>();
  for (const { holdReason: reason = '', about } of jobs) {
    const sender = typeof about['sender'] === 'string' ? about['sender'] : '';
    const key = `${reason}\0${sender}`;
    found.set(key, { reason, sender, count: (found.get(key)?.count ?? 0) + 1, orMore });
  }
  return [...found.values()].toSorted((a, b) => b.count - a.count).slice(0, maxShown);
}

export function heldText({ reason, sender, count, orMore }: Held): string {
  const many = orMore ? `${count} or more` : `${count}`;
  return `held: ${many} from ${sender === '' ? '<>' : printable(sender)} (${printable(reason)}); look, then \`epost queue release\` or \`drop\``;
}
