import { type Job, jobStates, type Queue } from '../../queue/queue.ts';
import { InputFault } from '../config/problem.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { queueOptions, withQueue } from './queue-opened.ts';
import { maxSelected, reasonOf, selectionOptions, selectJobs, selects } from './queue-selection.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const defaultLimit = 100;
const headings = ['ID', 'STATE', 'LANE', 'SENDER', 'RECIPIENTS', 'NEXT', 'TRIES', 'LAST'];
const idWord = { name: 'ID', help: 'the id of a job, or a trace id (the jobs of that message)' };

export const queueList: Command = {
  name: 'queue list',
  summary: 'what waits, runs, is held or failed, and what was done in the last 7 days',
  details:
    'ID is the trace id of the message. A message to several domains has a job for each; to steer one of them alone, take its own id from `epost queue show`, in quotes.',
  positionals: [],
  options: {
    ...queueOptions,
    ...selectionOptions,
  },
  run: (given) =>
    withQueue(given, async (queue) => {
      const limit = Number(given.values['limit'] ?? defaultLimit);
      const jobs = await selectJobs(queue, given.values, Date.now(), limit);
      const counts = await queue.counts();
      if (given.switches.has('json')) printJson({ counts, jobs: jobs.map(jobJson) });
      else {
        print(tableText(headings, jobs.map(jobRow)));
        print(jobStates.map((one) => `${counts[one]} ${one}`).join(', '));
      }
      return exitCodes.done;
    }),
};

export const queueShow: Command = {
  name: 'queue show',
  summary: 'one job with all its attempts',
  positionals: [idWord],
  options: queueOptions,
  run: (given) =>
    withQueue(given, async (queue) => {
      const jobs = await find(queue, given.positionals[0] ?? '');
      if (jobs.length === 0) return nothingFound(given);
      if (given.switches.has('json')) printJson(jobs.map(jobJson));
      else print(jobs.map(jobText).join('\n\n'));
      return exitCodes.done;
    }),
};

type Steering = 'release' | 'retry' | 'drop' | 'hold' | 'fail';

const steerings: Readonly<Record<Steering, { readonly summary: string; readonly done: string; readonly not: string }>> =
  {
    hold: { summary: 'stop delivering a job until it is released', done: 'held', not: 'is not waiting or running' },
    release: { summary: 'let a held job go on', done: 'released', not: 'is not held' },
    retry: { summary: 'try a waiting, held or failed job now', done: 'due now', not: 'is not waiting, held or failed' },
    drop: {
      summary: 'give a waiting, held or failed job up, without notice to anybody',
      done: 'dropped',
      not: 'is not waiting, held or failed',
    },
    fail: {
      summary: 'give a waiting, held or failed job up, and tell its sender',
      done: 'given up; its sender is told',
      not: 'is not waiting, held or failed',
    },
  };

const because: Option = { value: 'TEXT', help: 'why, for whoever looks later; with `fail` the sender reads it' };
const defaultReason = 'by the postmaster';
/** A line of a notice. */
const maxReasonChars = 300;

export const queueSteer: readonly Command[] = (Object.keys(steerings) as Steering[]).map((verb) => ({
  name: `queue ${verb}`,
  summary: steerings[verb].summary,
  details:
    'With an ID: that message. Without: all jobs that the options mean, which are only counted and shown until --yes is given.',
  positionals: [{ ...idWord, optional: true }],
  options: { ...queueOptions, ...selectionOptions, because, yes: { help: 'without an ID: do it' } },
  run: (given) =>
    withQueue(given, async (queue) => {
      const [id] = given.positionals;
      if ((id === undefined) !== selects(given.values)) throw neitherOrBoth(id);
      if (id === undefined) return steerMany(queue, verb, given);
      const jobs = await find(queue, id);
      if (jobs.length === 0) return nothingFound(given);
      const results = await steer(queue, verb, jobs, given);
      if (given.switches.has('json')) printJson(results);
      else for (const one of results) print(`${one.id}: ${one.done ? steerings[verb].done : steerings[verb].not}`);
      return results.some(({ done }) => done) ? exitCodes.done : exitCodes.failed;
    }),
}));

function neitherOrBoth(id: string | undefined): InputFault {
  const found = id === undefined ? 'neither an ID nor what jobs are meant' : 'an ID and options that choose jobs';
  const suggestion = 'give an ID, or options such as --sender or --reason';
  return new InputFault([{ file: 'command line', path: '', found, expected: 'one of the two', suggestion }]);
}

/** One commit each is shared by those under way together. */
const steeredAtOnce = 64;

async function steer(
  queue: Queue,
  verb: Steering,
  jobs: readonly Job[],
  given: Given,
): Promise<{ id: string; done: boolean }[]> {
  const reason = (given.values['because'] ?? defaultReason).slice(0, maxReasonChars);

  const results: { id: string; done: boolean }[] = [];
  for (let from = 0; from < jobs.length; from += steeredAtOnce) {
    const some = jobs.slice(from, from + steeredAtOnce).map(async ({ id }) => ({
      id,
      done: await (verb === 'hold' || verb === 'fail' ? queue[verb](id, reason) : queue[verb](id)),
    }));
    results.push(...(await Promise.all(some)));
  }
  return results;
}

async function steerMany(queue: Queue, verb: Steering, given: Given): Promise<number> {
  const limit = Number(given.values['limit'] ?? maxSelected);
  const jobs = await selectJobs(queue, given.values, Date.now(), limit);
  const asJson = given.switches.has('json');
  if (!given.switches.has('yes')) {
    if (asJson) printJson({ wouldSteer: jobs.length, jobs: jobs.map(jobJson) });
    else {
      print(tableText(headings, jobs.slice(0, defaultLimit).map(jobRow)));
      print(`${jobs.length} jobs are meant; nothing was done. With --yes: ${verb}`);
    }
    return exitCodes.done;
  }
  const results = await steer(queue, verb, jobs, given);
  const done = results.filter((one) => one.done).length;
  if (asJson) printJson(results);
  else
    print(`${done} ${steerings[verb].done}${done === results.length ? '' : `, ${results.length - done} had moved on`}`);
  return exitCodes.done;
}

async function find(queue: Queue, id: string): Promise<Job[]> {
  const job = await queue.get(id);
  return job === undefined ? queue.list({ about: { trace: id.toUpperCase() }, limit: 1_000 }) : [job];
}

function nothingFound(given: Given): number {
  if (given.switches.has('json')) printJson([]);
  process.stderr.write(
    `epost: no job ${given.positionals[0] ?? ''}; \`epost queue list --state done\` shows finished ones\n`,
  );
  return exitCodes.notFound;
}

function jobJson({ body: _body, progress: _progress, ...job }: Job): object {
  return { ...job, createdAt: new Date(job.createdAt).toISOString(), dueAt: new Date(job.dueAt).toISOString() };
}

function jobRow(job: Job): string[] {
  const recipients = job.about['recipients'];
  return [
    // The job's own id is long and has spaces; all commands take this one too.
    printable(String(job.about['trace'] ?? job.id)),
    job.state,
    job.lane,
    printable(String(job.about['sender'] ?? '')) || '<>',
    printable(Array.isArray(recipients) ? recipients.join(' ') : String(recipients ?? '')).slice(0, 60),
    job.state === 'due' ? new Date(job.dueAt).toISOString().slice(0, 19) : '-',
    String(job.attemptCount),
    printable(reasonOf(job)).slice(0, 80),
  ];
}

function jobText(job: Job): string {
  const about = Object.entries(job.about).map(
    ([name, value]) => `  ${name}: ${printable(Array.isArray(value) ? value.join(', ') : String(value))}`,
  );
  const attempts = job.attempts.map(
    (one) => `  ${new Date(one.at).toISOString()}  ${one.outcome}  (${one.tookMs} ms)  ${printable(one.why)}`,
  );
  return [
    `job ${job.id}: ${job.state}, lane ${job.lane}`,
    `  created: ${new Date(job.createdAt).toISOString()}`,
    ...(job.state === 'due' ? [`  next attempt: ${new Date(job.dueAt).toISOString()}`] : []),
    ...(job.holdReason === undefined ? [] : [`  held: ${printable(job.holdReason)}`]),
    ...(job.failing === undefined ? [] : [`  to be given up: ${printable(job.failing)}`]),
    ...(job.putOff === undefined ? [] : [`  not tried: ${printable(job.putOff)}`]),
    ...about,
    `${job.attemptCount} attempts${job.attempts.length < job.attemptCount ? ` (the last ${job.attempts.length} follow)` : ''}`,
    ...attempts,
  ].join('\n');
}
