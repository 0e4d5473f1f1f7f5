import type { Session } from './session.ts';

/** Tells the client what happened to the selected folder (RFC 3501 §7.3, §7.4). Nothing to tell sends nothing. */
export async function sendUpdates(session: Session, options: { expunges: boolean; uids: boolean }): Promise<void> {
  const { state, connection } = session;
  if (state.at !== 'selected') return;
  const { expunged, exists, flags } = state.view.catchUp(options.expunges);
  for (const sequence of expunged) await connection.writer.line(`* ${sequence} EXPUNGE`);
  if (exists !== undefined) await connection.writer.line(`* ${exists} EXISTS`);
  for (const { sequence, entry } of flags) {
    const uid = options.uids ? `UID ${entry.uid} ` : '';
    await connection.writer.line(`* ${sequence} FETCH (${uid}FLAGS (${entry.flags.join(' ')}))`);
  }
}
