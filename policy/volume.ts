/**
 * How much an identity sends, beside what is usual for it. Hours in which it sends nothing do not count: a person who writes on one day a week has
 * a usual hour all the same. One hour far above the usual moves the usual by little, so that a thief cannot make his own volume usual.
 */
import type { Evidence } from './evidence.ts';

/** What is kept of one identity. Times in ms. */
export interface Volume {
  /** When the hour that is being counted began. */
  readonly hourAt: number;
  readonly count: number;
  /** Of the hour before, for an hour that slides. */
  readonly before: number;
  /** Exponentially weighted average over the hours in which something was sent. */
  readonly usual: number;
}

const hourMs = 3_600_000;
// A twentieth of an active hour each: some twenty such hours, a few days of work, are what is remembered.
const weight = 0.05;
// However much an hour brings, it counts as no more than this many times the usual.
const mostTimes = 3;
/** Nobody writes to fewer: a new account, or one that rests, is measured by this. */
export const leastUsual = 10;

export const noVolume: Volume = { hourAt: 0, count: 0, before: 0, usual: leastUsual };

/** The volume after a message to `recipients` at `now`. */
export function withMessage(volume: Volume, recipients: number, now: number): Volume {
  const current = turned(volume, now);
  return { ...current, count: current.count + recipients };
}

/** The group `volume` of the evidence. */
export function volumeFacts(volume: Volume, now: number): Evidence['volume'] {
  const { hourAt, count, before, usual } = turned(volume, now);
  // The part of the hour before that lies within the last sixty minutes, as if it had been even.
  const share = 1 - Math.min(1, Math.max(0, now - hourAt) / hourMs);
  const lastHour = Math.round(count + before * share);
  const usually = Math.max(leastUsual, Math.round(usual));
  return { lastHour, usual: usually, timesUsual: Math.floor(lastHour / usually) };
}

// The hour ends: what it came to becomes part of the usual. A clock set back begins no new hour.
function turned(volume: Volume, now: number): Volume {
  const hourAt = Math.floor(now / hourMs) * hourMs;
  if (hourAt <= volume.hourAt) return volume;
  const follows = hourAt - volume.hourAt === hourMs;
  const { count, usual } = volume;
  const counted = Math.min(count, mostTimes * Math.max(leastUsual, usual));
  return {
    hourAt,
    count: 0,
    before: follows ? count : 0,
    usual: count === 0 ? usual : usual + weight * (counted - usual),
  };
}
