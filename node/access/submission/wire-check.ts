import { setImmediate as turn } from 'node:timers/promises';
import { sliceBytes } from '../../mail/slices.ts';
import { readFields } from '../header/fields.ts';
import type { SubmissionLimits } from './limits.ts';
import { type Reply, reply } from './reply.ts';

/** Where the header of a message ends. */
export interface HeaderEnd {
  /** After the last field's CRLF. */
  readonly fields: number;
  /** After the empty line; the same where there is none. */
  readonly body: number;
}

/**
 * Whether the octets are a message that any server would carry on unchanged (RFC 5321 §2.3.8, §4.5.3.1.6). Bare CR and LF
 * are refused: other servers see other lines in them, so that one message becomes two. Linear; yields to the event loop.
 */
export async function wireProblem(message: Buffer, limits: SubmissionLimits): Promise<Reply | undefined> {
  let lineStart = 0;
  let sliceEnd = sliceBytes;
  for (;;) {
    const at = message.indexOf(0x0a, lineStart);
    const end = at === -1 ? message.length : at;
    if (at !== -1 && (at === lineStart || message[at - 1] !== 0x0d)) return bare;
    const textEnd = at === -1 ? end : end - 1;
    const cr = message.indexOf(0x0d, lineStart);
    if (cr !== -1 && cr < textEnd) return bare;
    if (textEnd - lineStart > limits.maxLineBytes) {
      return reply(
        554,
        '5.6.0',
        `a line is longer than ${limits.maxLineBytes} octets; the program must fold or encode it`,
      );
    }
    if (at === -1) break;
    lineStart = at + 1;
    if (lineStart < sliceEnd) continue;
    sliceEnd = lineStart + sliceBytes;
    await turn();
  }
  // RFC 5321 §4.5.2 leaves NUL out of what is carried surely.
  return message.includes(0) ? reply(554, '5.6.0', 'the message has a NUL octet in it') : undefined;
}

const bare = reply(554, '5.6.0', 'a line ends in a bare CR or LF; lines end in CRLF (RFC 5321 section 2.3.8)');

export function headerEnd(message: Buffer): HeaderEnd {
  if (message[0] === 0x0d && message[1] === 0x0a) return { fields: 0, body: 2 };
  const empty = message.indexOf('\r\n\r\n', 0, 'latin1');
  return empty === -1 ? { fields: message.length, body: message.length } : { fields: empty + 2, body: empty + 4 };
}

/** Whether the header block keeps to the limits and has nothing in it but fields. */
export function headerProblem(message: Buffer, end: HeaderEnd, limits: SubmissionLimits): Reply | undefined {
  if (end.fields > limits.maxHeaderBytes)
    return reply(552, '5.3.4', `the header is larger than ${limits.maxHeaderBytes} octets`);
  const fields = readFields(message, { start: 0, end: end.fields });
  if (fields.length > limits.maxHeaderFields) {
    return reply(552, '5.3.4', `the header has more than ${limits.maxHeaderFields} fields`);
  }
  // A line that is no field ends the header for some programs and not for others.
  const covered = fields.reduce((sum, field) => sum + field.end - field.start, 0);
  return covered === end.fields ? undefined : reply(554, '5.6.0', 'a line of the header is no field');
}
