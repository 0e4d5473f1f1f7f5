import type { Extension, Session } from './session.ts';

const known: Readonly<Record<string, Extension>> = {
  CONDSTORE: 'CONDSTORE',
  QRESYNC: 'QRESYNC',
  'UTF8=ACCEPT': 'UTF8=ACCEPT',
  IMAP4REV2: 'IMAP4rev2',
};

/** ENABLE: switches on what is known of it; gives what it switched on (RFC 5161 §3.1: the rest is left unsaid). */
export function enable({ enabled }: Session, names: readonly string[]): readonly Extension[] {
  const wanted = names.flatMap((name) => known[name.toUpperCase()] ?? []);
  const fresh = [...new Set(wanted)].filter((extension) => !enabled.has(extension));
  for (const extension of fresh) enabled.add(extension);
  // RFC 7162 §3.2.3.
  if (enabled.has('QRESYNC')) enabled.add('CONDSTORE');
  return fresh;
}

/** RFC 7162 §3.1: a command that asks for mod-sequences switches them on, and is told where a selected folder stands. */
export async function wantsModseq({ enabled, state, connection }: Session): Promise<void> {
  if (enabled.has('CONDSTORE')) return;
  enabled.add('CONDSTORE');
  if (state.at === 'selected') await connection.writer.line(highestModseq(state.view.folder.highestModseq));
}

export function highestModseq(modseq: number): string {
  return `* OK [HIGHESTMODSEQ ${modseq}] the highest mod-sequence`;
}

/** RFC 9051 §5.1, RFC 6855 §3: mailbox names go in UTF-8, both ways. */
export function utf8Names({ enabled }: Session): boolean {
  return enabled.has('UTF8=ACCEPT') || enabled.has('IMAP4rev2');
}
