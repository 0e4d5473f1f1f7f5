import type { Decision } from './decide.ts';

// RFC 5321 §4.5.3.1.5: a reply line has 512 octets, and code, enhanced code and trace id need theirs.
const maxText = 420;

/** A time as people say it: seconds, minutes, hours or days, rounded up. */
export function inWords(ms: number): string {
  if (ms < 120_000) return `${Math.ceil(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.ceil(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.ceil(ms / 3_600_000)} h` : `${Math.ceil(ms / 86_400_000)} days`;
}

/** The text of a decision's reply, with when it makes sense to try again where that is known; undefined where nothing is answered. */
export function hintedText({ reply, retryAfterMs }: Pick<Decision, 'reply' | 'retryAfterMs'>): string | undefined {
  if (reply === undefined || retryAfterMs === undefined) return reply?.text;
  const hint = `; next try in ${inWords(retryAfterMs)}`;
  return reply.text.length + hint.length > maxText ? reply.text : `${reply.text}${hint}`;
}
