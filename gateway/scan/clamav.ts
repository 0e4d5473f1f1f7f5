import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Evidence } from '../../policy/evidence.ts';
import type { Endpoint } from './endpoint.ts';

// A reply is a line: `stream: NAME FOUND`.
const maxReplyBytes = 4_096;
// Smaller than what a socket takes at once, so that a large message is no one write.
const chunkBytes = 64 * 1024;
const maxName = 200;

/** What clamd finds in a message, by INSTREAM (clamd(8)): its length in four octets before each piece, nothing ends it. Never throws. */
export async function askClamav(
  endpoint: Endpoint,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<Evidence['clamav']> {
  try {
    return verdictOf(await exchange(endpoint, message, signal));
  } catch (error) {
    return unknown(error instanceof Error ? error.message : String(error));
  }
}

const unknown = (reason: string): Evidence['clamav'] => ({ result: 'unknown', name: '', reason: `ClamAV: ${reason}` });

function verdictOf(reply: string): Evidence['clamav'] {
  if (reply === 'stream: OK') return { result: 'clean', name: '', reason: '' };
  const [, name] = /^stream: (.{1,1000}) FOUND$/.exec(reply) ?? [];
  if (name !== undefined) return { result: 'infected', name: name.slice(0, maxName), reason: '' };
  // `INSTREAM size limit exceeded. ERROR`: what it did not look at is not clean.
  return unknown(`it answered ${JSON.stringify(reply.slice(0, 100))}`);
}

function exchange(endpoint: Endpoint, message: Uint8Array, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...endpoint, signal } as NetConnectOpts);
    let reply = '';
    const end = (outcome: () => void): void => {
      socket.destroy();
      outcome();
    };
    socket.on('data', (part: Buffer) => {
      reply += part.toString('latin1');
      // A `z` command is answered up to a NUL.
      const end_ = reply.indexOf('\0');
      if (end_ >= 0) end(() => resolve(reply.slice(0, end_)));
      else if (reply.length > maxReplyBytes) end(() => reject(new Error('its answer is too long')));
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(() => reject(error.name === 'AbortError' ? new Error('it did not answer in time') : error)),
    );
    socket.once('close', () => reject(new Error('it closed the connection without an answer')));
    send(socket, message).catch((error: unknown) =>
      end(() => reject(error instanceof Error ? error : new Error('lost'))),
    );
  });
}

async function send(socket: Socket, message: Uint8Array): Promise<void> {
  await write(socket, Buffer.from('zINSTREAM\0'));
  for (let at = 0; at < message.length; at += chunkBytes) {
    const chunk = message.subarray(at, at + chunkBytes);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(chunk.length);
    await write(socket, length);
    await write(socket, chunk);
  }
  await write(socket, Buffer.alloc(4));
}

/** Waits while the other side does not read; a socket that ends meanwhile tells its own listeners. */
function write(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed || socket.write(bytes)) return resolve();
    const go = (): void => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.once('drain', go).once('close', go);
  });
}
