import { formatSet } from '../wire/sequence-set.ts';
import type { Session } from './session.ts';
import type { Numbered } from './view.ts';

/** Tells the client what happened to the selected folder (RFC 3501 §7.3, §7.4). Nothing to tell sends nothing. */
export async function sendUpdates(session: Session, options: { expunges: boolean }): Promise<void> {
  const { state, connection, enabled } = session;
  if (state.at !== 'selected') return;
  const { expunged, vanished, exists, flags } = state.view.catchUp(options.expunges);
  // RFC 7162 §3.2.10.
  if (enabled.has('QRESYNC') && vanished.length > 0) await connection.writer.line(`* VANISHED ${formatSet(vanished)}`);
  else for (const sequence of expunged) await connection.writer.line(`* ${sequence} EXPUNGE`);
  if (exists !== undefined) await connection.writer.line(`* ${exists} EXISTS`);
  for (const message of flags) await connection.writer.line(flagsLine(session, message, { uid: false, silent: false }));
}

/** A FETCH response that tells of flags; with `silent` of their mod-sequence only (RFC 7162 §3.1.3). */
export function flagsLine(
  { enabled }: Session,
  { sequence, entry }: Numbered,
  options: { readonly uid: boolean; readonly silent: boolean },
): string {
  // RFC 7162 §3.2.4, RFC 9051 §7.5.2: who asked for these extensions is always told the UID.
  const uid = options.uid || enabled.has('QRESYNC') || enabled.has('IMAP4rev2');
  const items = [
    ...(uid ? [`UID ${entry.uid}`] : []),
    ...(options.silent ? [] : [`FLAGS (${entry.flags.join(' ')})`]),
    ...(enabled.has('CONDSTORE') ? [`MODSEQ (${entry.modseq})`] : []),
  ];
  return `* ${sequence} FETCH (${items.join(' ')})`;
}
