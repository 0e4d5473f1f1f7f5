import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export interface ScriptedHost {
  readonly port: number;
  /** All that clients sent, in order, decrypted. */
  readonly heard: () => string;
  close(): Promise<void>;
}

export interface Says {
  /** A reply, or several, without the last CRLF. */
  say(text: string): void;
  raw(text: string): void;
  /** TLS from here on. */
  secure(key: string, cert: string): void;
  hangUp(): void;
}

/** A mail server that is one function: a whole line comes (without CRLF), it says what it wants. */
export async function scriptedHost(
  onLine: (line: string, host: Says) => void,
  greeting: string | undefined = '220 scripted',
): Promise<ScriptedHost> {
  const sockets = new Set<Socket>();
  let heard = '';
  const server = createServer((plain) => {
    let socket: Socket = plain;
    let kept = '';
    const listen = (on: Socket): void => {
      on.on('error', () => on.destroy());
      on.on('data', (bytes) => {
        heard += bytes.toString('latin1');
        kept += bytes.toString('latin1');
        for (let end = kept.indexOf('\r\n'); end >= 0; end = kept.indexOf('\r\n')) {
          const line = kept.slice(0, end);
          kept = kept.slice(end + 2);
          onLine(line, host);
        }
      });
    };
    const host: Says = {
      say: (text) => void socket.write(`${text}\r\n`),
      raw: (text) => void socket.write(text),
      secure: (key, cert) => {
        plain.removeAllListeners('data');
        socket = new TLSSocket(plain, { isServer: true, key, cert });
        listen(socket);
      },
      hangUp: () => socket.destroy(),
    };
    sockets.add(plain);
    listen(plain);
    if (greeting !== undefined) host.say(greeting);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    heard: () => heard,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
