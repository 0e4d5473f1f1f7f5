/**
 * Messages of a folder, named so that every history of its log means the same ones: [uid, origin, serial, count, …]. The uid says where they
 * were for whoever wrote it; where they have other uids by now, origin and serial find them.
 */
export type Runs = readonly number[];

interface Named {
  readonly uid: number;
  readonly origin: number;
  readonly serial: number;
}

/** Entries ascending by uid as runs: a mailbox-wide change is a few octets. */
export function toRuns(entries: readonly Named[]): Runs {
  const runs: number[] = [];
  let before: Named | undefined;
  for (const entry of entries) {
    const { uid, origin, serial } = entry;
    const follows = before?.uid === uid - 1 && before.origin === origin && before.serial === serial - 1;
    if (follows) runs[runs.length - 1] = (runs.at(-1) ?? 0) + 1;
    else runs.push(uid, origin, serial, 1);
    before = entry;
  }
  return runs;
}

/** The runs in pieces of at most so many, so that a record stays small however scattered its messages are. */
export function splitRuns(runs: Runs, most: number): readonly Runs[] {
  const pieces: Runs[] = [];
  for (let from = 0; from < runs.length; from += most * 4) pieces.push(runs.slice(from, from + most * 4));
  return pieces;
}

/** Whether the runs name the message with this origin and serial. */
export function names(runs: Runs, origin: number, serial: number): boolean {
  for (let at = 0; at < runs.length; at += 4) {
    const from = runs[at + 2] ?? 0;
    if (runs[at + 1] === origin && serial >= from && serial < from + (runs[at + 3] ?? 0)) return true;
  }
  return false;
}
