import { type IncomingMessage, request } from 'node:http';
import { z } from 'zod';
import type { Evidence } from '../../policy/evidence.ts';
import type { Endpoint } from './endpoint.ts';

/** What rspamd is told beside the message. */
export interface RspamdFacts {
  readonly ip: string;
  readonly helo: string;
  readonly from: string;
  readonly recipients: readonly string[];
  readonly hostname: string;
}

// A message with many symbols is answered by some 20 KiB.
const maxReplyBytes = 512 * 1024;
// Each is a header of the question.
const maxRecipients = 100;
const maxSymbols = 100;

const actions = ['no action', 'greylist', 'add header', 'rewrite subject', 'soft reject', 'reject'] as const;
// https://rspamd.com/doc/developers/protocol.html: what is not read here may be anything.
const shape = z.object({
  action: z.enum(actions),
  score: z.number(),
  symbols: z.record(z.string(), z.unknown()).optional(),
});

/** What rspamd advises about a message. Never throws. */
export async function askRspamd(
  endpoint: Endpoint,
  message: Uint8Array,
  facts: RspamdFacts,
  signal: AbortSignal,
): Promise<Evidence['rspamd']> {
  try {
    const { action, score, symbols = {} } = shape.parse(JSON.parse(await exchange(endpoint, message, facts, signal)));
    return {
      result: action.replace(' ', '-') as Evidence['rspamd']['result'],
      score: Math.max(-1_000_000, Math.min(1_000_000, Math.round(score * 10))),
      symbols: Object.keys(symbols)
        .sort()
        .slice(0, maxSymbols)
        .map((name) => name.slice(0, 100)),
      reason: '',
    };
  } catch (error) {
    return { result: 'unknown', score: 0, symbols: [], reason: `rspamd: ${reasonOf(error)}` };
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError || error instanceof SyntaxError) return 'its answer makes no sense';
  if (!(error instanceof Error)) return String(error);
  return error.name === 'AbortError' ? 'it did not answer in time' : error.message;
}

function exchange(endpoint: Endpoint, message: Uint8Array, facts: RspamdFacts, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const where = 'path' in endpoint ? { socketPath: endpoint.path } : endpoint;
    const headers = { ...headersOf(facts), 'Content-Length': message.length };
    const asked = request({ ...where, method: 'POST', path: '/checkv2', headers, signal, agent: false }, (reply) => {
      readAll(reply, signal).then(resolve, reject);
    });
    asked.once('error', reject);
    asked.end(message);
  });
}

async function readAll(reply: IncomingMessage, signal: AbortSignal): Promise<string> {
  if (reply.statusCode !== 200) {
    reply.destroy();
    throw new Error(`it answered HTTP ${reply.statusCode}`);
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of reply as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxReplyBytes) throw new Error('its answer is too long');
    signal.throwIfAborted();
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function headersOf({ ip, helo, from, recipients, hostname }: RspamdFacts): Record<string, string | string[]> {
  return {
    IP: ip,
    Helo: headerText(helo),
    From: headerText(from),
    Rcpt: recipients.slice(0, maxRecipients).map(headerText),
    'MTA-Name': headerText(hostname),
    Flags: 'no_log',
  };
}

/** A stranger's word must not begin another header, nor be what node:http refuses. */
function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 320);
}
