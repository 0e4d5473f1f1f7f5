/** The pace of all groups of mail servers this process works: which lane belongs to which, what each may take now, and what is remembered of it. */
import { z } from 'zod';
import type { LanePace } from '../../../queue/queue.ts';
import {
  afterAnswer,
  defaultPaceLimits,
  type GroupAnswer,
  type GroupPace,
  newPace,
  type PaceLimits,
} from './group-pace.ts';

interface Marks {
  getMark(key: string): Promise<Uint8Array | undefined>;
  setMark(key: string, value: Uint8Array, expiresAt: number, options?: { readonly durable?: boolean }): Promise<void>;
}

export interface PaceParts {
  readonly marks: Marks;
  /** Attempts at once in all groups together. */
  readonly total: number;
  readonly limits?: PaceLimits;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: { warn(fields: object, message: string): void };
}

export type Admission =
  | { readonly kind: 'go' }
  /** The group does not answer; somebody asked it a short while ago, or is asking it now. */
  | { readonly kind: 'away'; readonly text: string };

/** Lanes and groups that were not used for long are forgotten, the oldest first. */
const maxKnown = 20_000;
const rememberMs = 3_600_000;
/** What a lane's pace is shown by, and taken up after a restart. Written no more often than this where nothing turned. */
const writeEveryMs = 10_000;
const slowAfterMs = 5_000;
/** Until a slow one has ended, those that may turn out slow wait so long before they are looked at again. */
const lookAgainMs = 500;

const shape = z.strictObject({
  group: z.string().max(300),
  places: z.int().min(1).max(1_000),
  troubles: z.int().min(0),
  restUntil: z.number(),
  awayUntil: z.number(),
  isQuick: z.boolean(),
  said: z.strictObject({ at: z.number(), text: z.string().max(2_000) }).optional(),
});

/** What `epost queue lanes` shows of a lane; kept as a mark of the queue. */
export type LaneNote = z.infer<typeof shape>;

function noteKey(lane: string): string {
  return `pace ${lane}`;
}

/** Undefined where nothing is known, or what is known cannot be read. */
export async function readLaneNote(marks: Pick<Marks, 'getMark'>, lane: string): Promise<LaneNote | undefined> {
  const bytes = await marks.getMark(noteKey(lane));
  if (bytes === undefined) return undefined;
  try {
    return shape.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return undefined;
  }
}

interface Underway {
  readonly group: string;
  readonly startedAt: number;
}

export class HostPace implements LanePace {
  readonly #parts: PaceParts;
  readonly #limits: PaceLimits;
  /** In the order of their last use. */
  readonly #lanes = new Map<string, string>();
  readonly #groups = new Map<string, GroupPace>();
  readonly #probing = new Set<string>();
  readonly #underWay = new Set<Underway>();
  readonly #written = new Map<string, number>();

  constructor(parts: PaceParts) {
    this.#parts = parts;
    this.#limits = parts.limits ?? defaultPaceLimits;
  }

  group(lane: string): string {
    return this.#lanes.get(lane) ?? lane;
  }

  places(group: string): number {
    return this.#stateOf(group).places;
  }

  /** Those of whom nothing good is known yet must not take the places of those who are quick: half of all is left to these. */
  notBefore(group: string, now: number): number {
    const state = this.#stateOf(group);
    if (!state.isQuick && state.restUntil <= now && this.#slow(now) * 2 >= this.#parts.total) return now + lookAgainMs;
    return state.restUntil;
  }

  #slow(now: number): number {
    let slow = 0;
    // In the order of their start.
    for (const { startedAt } of this.#underWay) {
      if (now - startedAt < slowAfterMs) break;
      slow += 1;
    }
    return slow;
  }

  #stateOf(group: string): GroupPace {
    return this.#groups.get(group) ?? newPace(this.#limits);
  }

  /** What another process learned of this lane, where this one knows nothing yet. */
  async recall(lane: string): Promise<void> {
    if (this.#lanes.has(lane)) return;
    const note = await readLaneNote(this.#parts.marks, lane).catch(() => undefined);
    if (note === undefined || this.#lanes.has(lane)) return;
    const { group, ...state } = note;
    this.#assign(lane, group);
    if (!this.#groups.has(group)) {
      const { said, ...rest } = state;
      this.#keep(group, { ...rest, streak: 0, ...(said === undefined ? {} : { said }) });
    }
  }

  /** Before an attempt in a lane whose servers are known by now. Where it says go, `began` must follow. */
  admit(lane: string, group: string): Admission {
    this.#assign(lane, group);
    const { awayUntil, said } = this.#stateOf(group);
    if (awayUntil === 0) return { kind: 'go' };
    if (awayUntil > this.#parts.now() || this.#probing.has(group))
      return { kind: 'away', text: said?.text ?? 'no answer' };
    this.#probing.add(group);
    return { kind: 'go' };
  }

  /** An attempt begins; call what is returned when it ended, with the group's answer if it gave one. */
  began(lane: string, group: string): (answer: GroupAnswer | undefined) => void {
    const underWay: Underway = { group, startedAt: this.#parts.now() };
    this.#underWay.add(underWay);
    return (answer) => {
      this.#underWay.delete(underWay);
      this.#probing.delete(group);
      if (answer === undefined) return;
      const before = this.#stateOf(group);
      const after = afterAnswer(before, answer, this.#limits, this.#parts.now(), this.#parts.random);
      this.#keep(group, after);
      const turned = after.restUntil !== before.restUntil || after.awayUntil !== before.awayUntil;
      this.#write(lane, group, after, turned);
    };
  }

  #assign(lane: string, group: string): void {
    this.#lanes.delete(lane);
    this.#lanes.set(lane, group);
    forgetOldest(this.#lanes);
  }

  #keep(group: string, state: GroupPace): void {
    this.#groups.delete(group);
    this.#groups.set(group, state);
    forgetOldest(this.#groups);
  }

  /** May be lost by a power cut: then the pace is found anew. */
  #write(lane: string, group: string, state: GroupPace, turned: boolean): void {
    const { marks, now, log } = this.#parts;
    const at = now();
    if (!turned && at - (this.#written.get(lane) ?? 0) < writeEveryMs) return;
    this.#written.delete(lane);
    this.#written.set(lane, at);
    forgetOldest(this.#written);
    const { places, troubles, restUntil, awayUntil, isQuick, said } = state;
    const text = said === undefined ? undefined : { at: said.at, text: said.text.slice(0, 500) };
    const note: LaneNote = { group, places, troubles, restUntil, awayUntil, isQuick, said: text };
    marks
      .setMark(noteKey(lane), Buffer.from(JSON.stringify(note)), at + rememberMs, { durable: false })
      .catch((error: unknown) => log.warn({ lane, error: String(error) }, 'the pace of a lane could not be kept'));
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) {
    if (map.size <= maxKnown) return;
    map.delete(oldest);
  }
}
