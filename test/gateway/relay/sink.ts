/** Mail servers to deliver to: one that follows a script, over a real socket. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

export interface Received {
  readonly from: string;
  readonly recipients: string[];
  readonly data: Buffer;
}

/** What to answer; absent means yes. `reset` instead of a reply to the final dot breaks the connection. */
export interface Script {
  greeting?: string;
  ehlo?: string[];
  mail?: (from: string) => string | undefined;
  rcpt?: (to: string) => string | undefined;
  /** At the DATA command. */
  data?: () => string | undefined;
  /** After so many octets of data. */
  resetInData?: number;
  /** At the final dot. */
  end?: (received: Received) => string | undefined;
}

export interface Sink {
  readonly port: number;
  readonly received: Received[];
  readonly commands: string[];
  connections: number;
  script: Script;
  close(): Promise<void>;
}

export async function startSink(script: Script = {}): Promise<Sink> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    sink.connections += 1;
    serve(socket, sink);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const sink: Sink = {
    port,
    received: [],
    commands: [],
    connections: 0,
    script,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return sink;
}

function serve(socket: Socket, sink: Sink): void {
  let kept = Buffer.alloc(0);
  let from = '';
  let recipients: string[] = [];
  let inData = false;
  const say = (line: string) => socket.write(`${line}\r\n`);
  say(sink.script.greeting ?? '220 sink ready');

  const command = (line: string): void => {
    const { script } = sink;
    sink.commands.push(line);
    const address = /<([^>]*)>/.exec(line)?.[1] ?? '';
    switch (line.slice(0, 4).toUpperCase()) {
      case 'EHLO': {
        const lines = ['sink', ...(script.ehlo ?? ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'SIZE 40000000'])];
        for (const [i, text] of lines.entries()) say(`250${i === lines.length - 1 ? ' ' : '-'}${text}`);
        return;
      }
      case 'MAIL':
        from = address;
        recipients = [];
        return void say(script.mail?.(address) ?? '250 2.1.0 ok');
      case 'RCPT': {
        const answer = script.rcpt?.(address);
        if (answer === undefined) recipients.push(address);
        return void say(answer ?? '250 2.1.5 ok');
      }
      case 'DATA': {
        const answer = script.data?.() ?? (recipients.length === 0 ? '554 5.5.1 no recipients' : undefined);
        inData = answer === undefined;
        return void say(answer ?? '354 go');
      }
      case 'QUIT':
        say('221 bye');
        return void socket.end();
      default:
        return void say('250 ok');
    }
  };

  const data = (): boolean => {
    const end = kept.indexOf('\r\n.\r\n');
    const { resetInData } = sink.script;
    if (resetInData !== undefined && kept.length >= resetInData) {
      socket.resetAndDestroy();
      return false;
    }
    if (end < 0) return false;
    const text = kept
      .subarray(0, end + 2)
      .toString('latin1')
      .replace(/^\.\./gm, '.');
    const received = { from, recipients, data: Buffer.from(text, 'latin1') };
    kept = kept.subarray(end + 5);
    inData = false;
    const answer = sink.script.end?.(received);
    if (answer === 'reset') {
      socket.resetAndDestroy();
      return false;
    }
    if (answer === undefined || answer.startsWith('2')) sink.received.push(received);
    say(answer ?? '250 2.0.0 taken');
    return true;
  };

  socket.on('data', (chunk) => {
    kept = Buffer.concat([kept, chunk]);
    for (;;) {
      if (inData) {
        if (!data()) return;
        continue;
      }
      const end = kept.indexOf('\r\n');
      if (end < 0) return;
      const line = kept.subarray(0, end).toString();
      kept = kept.subarray(end + 2);
      command(line);
    }
  });
}
