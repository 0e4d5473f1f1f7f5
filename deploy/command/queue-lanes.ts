import { setTimeout as sleep } from 'node:timers/promises';
import { type LaneNote, readLaneNote } from '../../gateway/relay/pace/host-pace.ts';
import { everyLane, type LaneFacts, type Pause, type Queue } from '../../queue/queue.ts';
import { InputFault } from '../config/problem.ts';
import { type Command, exitCodes, type Given, type Option } from './line.ts';
import { numberBetween } from './options.ts';
import { queueOptions, withQueue } from './queue-opened.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const defaultLimit = 200;
const maxLanes = 10_000;

interface SeenLane extends LaneFacts {
  readonly paused: Pause | undefined;
  readonly pace: LaneNote | undefined;
}

export const queueLanes: Command = {
  name: 'queue lanes',
  summary: 'each destination: what waits and runs, how fast it is worked, what it said last, and what is paused',
  details:
    'PLACES is how many deliveries at once its mail servers get now; it follows their answers. REST is until when they are left alone: they asked for it, or do not answer.',
  positionals: [],
  options: {
    ...queueOptions,
    limit: { value: 'N', help: `at most this many (default: ${defaultLimit})`, check: numberBetween(1, maxLanes) },
  },
  run: (given) =>
    withQueue(given, async (queue) => {
      const pauses = await queue.pauses();
      const lanes = await seenLanes(queue, pauses, Number(given.values['limit'] ?? defaultLimit));
      if (given.switches.has('json')) printJson({ pauses, lanes });
      else {
        print(
          tableText(
            headings,
            lanes.map((lane) => laneRow(lane, Date.now())),
          ),
        );
        for (const pause of pauses) print(pauseText(pause));
      }
      return exitCodes.done;
    }),
};

async function seenLanes(queue: Queue, pauses: readonly Pause[], limit: number): Promise<SeenLane[]> {
  const lanes = await queue.lanes(limit);
  const notes = await Promise.all(lanes.map(async ({ lane }) => readLaneNote(queue, lane)));
  const pauseOf = (lane: string) => pauses.find((one) => one.lane === lane || one.lane === everyLane);
  return lanes.map((lane, i) => ({ ...lane, paused: pauseOf(lane.lane), pace: notes[i] }));
}

const headings = ['LANE', 'DUE', 'READY', 'RUNNING', 'HELD', 'FAILED', 'NEXT', 'PLACES', 'REST', 'PAUSED', 'LAST'];

function laneRow(lane: SeenLane, now: number): string[] {
  const { pace } = lane;
  const restsUntil = Math.max(pace?.restUntil ?? 0, pace?.awayUntil ?? 0);
  return [
    printable(lane.lane),
    ...[lane.due, lane.ready, lane.running, lane.held, lane.failed].map(String),
    timeOf(lane.nextAt),
    pace === undefined ? '-' : String(pace.places),
    restsUntil > now ? timeOf(restsUntil) : '-',
    lane.paused === undefined ? '-' : 'paused',
    printable(pace?.said?.text ?? lane.last?.why ?? '').slice(0, 80),
  ];
}

function timeOf(at: number | undefined): string {
  return at === undefined ? '-' : new Date(at).toISOString().slice(0, 19);
}

// The queue's promise: other processes heed a pause within a second.
const elsewhereMs = 1_000;

/** One pause in words. */
export function pauseText({ lane, reason, at }: Pause): string {
  const what = lane === everyLane ? 'everything' : printable(lane);
  return `paused since ${new Date(at).toISOString()}: ${what} (${printable(reason)})`;
}

const whichOptions: Readonly<Record<string, Option>> = {
  lane: { value: 'LANE', help: 'this lane: `in`, or `out:` and a domain' },
  domain: { value: 'NAME', help: 'what goes out to this domain' },
  all: { help: 'everything' },
};

/** The lane that is meant; one of the three must be given. */
function laneMeant({ values, switches }: Given): string {
  const { lane, domain } = values;
  const meant = [
    ...(lane === undefined ? [] : [lane]),
    ...(domain === undefined ? [] : [`out:${domain.toLowerCase()}`]),
    ...(switches.has('all') ? [everyLane] : []),
  ];
  const [first] = meant;
  if (first !== undefined && meant.length === 1) return first;
  const found = first === undefined ? 'nothing that says what is meant' : 'more than one of them';
  const suggestion = '`epost queue lanes` shows what there is';
  throw new InputFault([
    { file: 'command line', path: '', found, expected: 'one of --lane, --domain and --all', suggestion },
  ]);
}

export const queuePause: Command = {
  name: 'queue pause',
  summary: 'deliver nothing of a lane, to a domain, or at all, until it is resumed; mail is still taken in',
  details:
    'What is being delivered ends. A pause outlives restarts; `epost status`, `queue lanes` and the metrics show it.',
  positionals: [],
  options: { ...queueOptions, ...whichOptions, because: { value: 'TEXT', help: 'why, for whoever looks later' } },
  run: (given) =>
    withQueue(given, async (queue) => {
      const lane = laneMeant(given);
      await queue.pause(lane, given.values['because'] ?? 'by the postmaster');
      // When the command returns the pause holds, also in a gateway that runs.
      await sleep(elsewhereMs);
      if (given.switches.has('json')) printJson({ paused: lane });
      else print(`paused: ${lane === everyLane ? 'everything' : lane}; \`epost queue resume\` ends it`);
      return exitCodes.done;
    }),
};

export const queueResume: Command = {
  name: 'queue resume',
  summary: 'end a pause',
  positionals: [],
  options: { ...queueOptions, ...whichOptions },
  run: (given) =>
    withQueue(given, async (queue) => {
      const lane = laneMeant(given);
      const wasPaused = await queue.resume(lane);
      const what = lane === everyLane ? 'everything' : lane;
      if (given.switches.has('json')) printJson({ resumed: wasPaused ? lane : null });
      else if (wasPaused) print(`resumed: ${what}`);
      if (!wasPaused) process.stderr.write(`epost: ${what} is not paused; \`epost queue lanes\` shows what is\n`);
      return wasPaused ? exitCodes.done : exitCodes.notFound;
    }),
};
