/** A socket in the home's run folder (0700) by which commands tell a running gateway what to do: one line, one line of JSON back. */
import { rmSync } from 'node:fs';
import net from 'node:net';

export type ControlHandlers = Readonly<Record<string, () => unknown>>;

// A word; whoever sends more does not speak this.
const maxLine = 64;
const maxAnswer = 64 * 1024;
const waitMs = 10_000;

/** Answers until closed. The lock of its role is held already, so a socket file that is there is a dead process's. */
export async function serveControl(path: string, handlers: ControlHandlers): Promise<{ close(): Promise<void> }> {
  rmSync(path, { force: true });
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.setTimeout(waitMs, () => socket.destroy());
    socket.on('error', () => undefined);
    let line = '';
    socket.on('data', (part) => {
      line += part.toString('latin1');
      if (line.includes('\n')) socket.end(`${JSON.stringify(answerTo(line.slice(0, line.indexOf('\n')), handlers))}\n`);
      else if (line.length > maxLine) socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function answerTo(word: string, handlers: ControlHandlers): object {
  const handler = Object.hasOwn(handlers, word) ? handlers[word] : undefined;
  if (handler === undefined) return { fault: 'not understood' };
  try {
    return { value: handler() ?? null };
  } catch (fault) {
    return { fault: String(fault) };
  }
}

export type ControlAnswer =
  | { readonly kind: 'answered'; readonly value: unknown }
  | { readonly kind: 'fault'; readonly reason: string }
  | { readonly kind: 'away' };

/** Tells the process that serves `path`; `away` where none does. */
export function tellControl(path: string, word: string): Promise<ControlAnswer> {
  return new Promise((resolve) => {
    const socket = net.connect(path, () => socket.write(`${word}\n`));
    let text = '';
    socket.setTimeout(waitMs, () => socket.destroy());
    socket.on('data', (part) => {
      text += part.toString('utf8');
      if (text.length > maxAnswer) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(readAnswer(text)));
  });
}

function readAnswer(text: string): ControlAnswer {
  try {
    const { value, fault } = JSON.parse(text) as { value?: unknown; fault?: string };
    return fault === undefined ? { kind: 'answered', value } : { kind: 'fault', reason: fault };
  } catch {
    return { kind: 'away' };
  }
}
