import type { FolderChange } from './folder.ts';
import type { FolderIndex, FolderOutcome } from './folder-index.ts';

/** Outcomes as changes, neighbours of one kind in one. */
export function changesOf(outcomes: readonly FolderOutcome[]): readonly FolderChange[] {
  const changes: { kind: FolderChange['kind']; uids: Set<number> }[] = [];
  const tell = (kind: FolderChange['kind'], uids: readonly number[]): void => {
    if (uids.length === 0) return;
    const last = changes.at(-1);
    if (last?.kind === kind) for (const uid of uids) last.uids.add(uid);
    else changes.push({ kind, uids: new Set(uids) });
  };
  for (const outcome of outcomes) {
    if (outcome.kind === 'none' || outcome.kind === 'known') continue;
    if (outcome.kind === 'inserted') tell('inserted', [outcome.uid]);
    else if (outcome.kind === 'moved') {
      tell('expunged', [...outcome.moves.keys()]);
      tell('inserted', [...outcome.moves.values()]);
    } else tell(outcome.kind, outcome.uids);
  }
  return changes.map(({ kind, uids }) => ({ kind, uids: [...uids].sort((a, b) => a - b) }));
}

/** What a program that saw `before` has to be told to see `now`. No uid means another message than before (folder-index.ts). */
export function changesBetween(before: FolderIndex, now: FolderIndex): readonly FolderChange[] {
  const expunged = before.entries().filter(({ uid }) => now.entry(uid) === undefined);
  const inserted = now.entries().filter(({ uid }) => before.entry(uid) === undefined);
  const flagged = now.entries().filter((entry) => {
    const was = before.entry(entry.uid);
    return was !== undefined && was.flags.join(' ') !== entry.flags.join(' ');
  });
  const changes: FolderChange[] = [];
  for (const [kind, entries] of [
    ['expunged', expunged],
    ['inserted', inserted],
    ['flags', flagged],
  ] as const)
    if (entries.length > 0) changes.push({ kind, uids: entries.map(({ uid }) => uid) });
  return changes;
}
