import { type Job, jobStates, type Queue } from '../../queue/queue.ts';
import type { Option } from './line.ts';
import { numberBetween } from './options.ts';

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
/** One command steers no more: the rest is for the next call, and memory stays bounded. */
export const maxSelected = 10_000;

function msOf(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const ms = units[unit];
  return amount === undefined || ms === undefined ? undefined : Number(amount) * ms;
}

/** The options that say which jobs are meant; all that are given must fit. */
export const selectionOptions: Readonly<Record<string, Option>> = {
  state: {
    value: 'STATE',
    help: `only ${jobStates.join(', ')} (default: all but done)`,
    check: (text) => ((jobStates as readonly string[]).includes(text) ? undefined : jobStates.join(', ')),
  },
  lane: { value: 'LANE', help: 'only this lane: `in`, or `out:` and a domain' },
  domain: { value: 'NAME', help: 'only what goes out to this domain' },
  sender: { value: 'ADDRESS', help: 'only from this envelope sender' },
  recipient: { value: 'ADDRESS', help: 'only with this envelope recipient' },
  reason: { value: 'TEXT', help: 'only those held, or not delivered, for a reason that contains this' },
  older: {
    value: 'TIME',
    help: 'only those that came longer ago than this: 90m, 12h, 3d',
    check: (text) => (msOf(text) === undefined ? 'a number and m, h or d, such as 12h' : undefined),
  },
  limit: { value: 'N', help: 'at most this many', check: numberBetween(1, maxSelected) },
};

type Values = Readonly<Record<string, string>>;

/** Whether anything but a number was said of which jobs are meant. */
export function selects(values: Values): boolean {
  return Object.keys(selectionOptions).some((name) => name !== 'limit' && values[name] !== undefined);
}

/** The jobs that the options mean, in the states' order; at most `limit`. */
export async function selectJobs(
  queue: Pick<Queue, 'list'>,
  values: Values,
  now: number,
  limit: number,
): Promise<Job[]> {
  const { state, lane, domain, sender, recipient, reason, older } = values;
  const about = {
    ...(sender === undefined ? {} : { sender }),
    ...(recipient === undefined ? {} : { recipients: recipient }),
  };
  const meant = lane ?? (domain === undefined ? undefined : `out:${domain.toLowerCase()}`);
  const states = jobStates.filter((one) => (state === undefined ? one !== 'done' : one === state));
  const bornBefore = now - (older === undefined ? 0 : (msOf(older) ?? 0));
  const found: Job[] = [];
  for (const one of states) {
    // What the queue cannot ask for itself is looked for in all there is.
    const asked = reason === undefined && older === undefined ? limit : maxSelected;
    const jobs = await queue.list({ state: one, about, limit: asked, ...(meant === undefined ? {} : { lane: meant }) });
    found.push(
      ...jobs.filter((job) => job.createdAt <= bornBefore && (reason === undefined || reasonOf(job).includes(reason))),
    );
  }
  return found.slice(0, limit);
}

/** Why it is held or was not tried, or what its last attempt came to; empty where there was none. */
export function reasonOf(job: Job): string {
  return job.holdReason ?? job.putOff ?? job.attempts.at(-1)?.why ?? '';
}
