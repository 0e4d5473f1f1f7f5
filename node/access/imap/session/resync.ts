import type { Resync } from '../command/command.ts';
import { covers, normalRanges, type SequenceSet } from '../wire/sequence-set.ts';
import type { Session } from './session.ts';
import { flagsLine } from './updates.ts';
import type { FolderView } from './view.ts';

type Ranges = readonly { readonly from: number; readonly to: number }[];

// One line of `VANISHED` stays well below what clients take as a line (RFC 7162 §4: 8,192 octets).
const rangesPerLine = 300;

/** RFC 7162 §3.2.5: after SELECT, what happened since the client last looked. A folder of another uidValidity says nothing. */
export async function resynchronise(session: Session, view: FolderView, resync: Resync): Promise<void> {
  const { folder } = view;
  if (resync.uidValidity !== folder.uidValidity) return;
  const known = resync.knownUids === undefined ? undefined : normalRanges(resync.knownUids, folder.uidNext - 1);
  await tellVanished(session, view, known, resync.modseq);
  for (const [index, entry] of view.all().entries()) {
    if (entry.modseq <= resync.modseq || (known !== undefined && !covers(known, entry.uid))) continue;
    await session.connection.writer.line(
      flagsLine(session, { sequence: index + 1, entry }, { uid: true, silent: false }),
    );
  }
}

/** RFC 7162 §3.2.6: UID FETCH with VANISHED. */
export async function tellVanishedOf(
  session: Session,
  view: FolderView,
  set: SequenceSet,
  modseq: number,
): Promise<void> {
  const largest = Math.max(view.all().at(-1)?.uid ?? 0, view.folder.uidNext - 1);
  await tellVanished(session, view, normalRanges(set, largest), modseq);
}

async function tellVanished(
  { connection }: Session,
  view: FolderView,
  known: Ranges | undefined,
  modseq: number,
): Promise<void> {
  const all = [{ from: 1, to: Math.max(1, view.folder.uidNext - 1) }];
  const asked = known ?? all;
  const gone = intersection(view.folder.expungedSince(modseq) ?? missing(view, all), asked);
  for (let at = 0; at < gone.length; at += rangesPerLine) {
    const shown = gone.slice(at, at + rangesPerLine).map(({ from, to }) => (from === to ? `${from}` : `${from}:${to}`));
    await connection.writer.line(`* VANISHED (EARLIER) ${shown.join(',')}`);
  }
}

/** Every uid up to the last that is not there: what may be said when it is not known any more which went since (RFC 7162 §3.2.5.1). */
function missing(view: FolderView, within: Ranges): Ranges {
  const ranges: { from: number; to: number }[] = [];
  let next = 1;
  for (const { uid } of view.all()) {
    if (uid > next) ranges.push({ from: next, to: uid - 1 });
    next = uid + 1;
  }
  const end = within.at(-1)?.to ?? 0;
  if (next <= end) ranges.push({ from: next, to: end });
  return ranges;
}

/** Of two ascending lists of ranges. Linear. */
export function intersection(a: Ranges, b: Ranges): Ranges {
  const both: { from: number; to: number }[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [left, right] = [a[i]!, b[j]!];
    const from = Math.max(left.from, right.from);
    const to = Math.min(left.to, right.to);
    if (from <= to) both.push({ from, to });
    if (left.to < right.to) i += 1;
    else j += 1;
  }
  return both;
}
