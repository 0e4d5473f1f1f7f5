import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate } from 'selfsigned';
import { ended } from '../../node/access/imap-child.ts';
import { login } from './client.ts';
import type { Server } from './measure.ts';

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answering(port: number): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const socket = net.connect(port, '127.0.0.1');
    const open = await Promise.race([once(socket, 'connect'), once(socket, 'error')])
      .then(() => true)
      .catch(() => false);
    socket.destroy();
    if (open) return;
    if (tries === 100) throw new Error(`nothing answers at port ${port}`);
    await sleep(100);
  }
}

/** Dovecot over a Maildir in `dir`, with its own way to sync; its log is `dir`/log. Needs root. */
export async function startDovecot(program: string, dir: string): Promise<Server> {
  const port = await freePort();
  const config = await writeConfig(dir, port);
  let server = spawn(program, ['-F', '-c', config], { stdio: 'ignore' });
  await answering(port);
  return {
    get pid() {
      return server.pid ?? 0;
    },
    port,
    restart: async () => {
      await ended(server);
      server = spawn(program, ['-F', '-c', config], { stdio: 'ignore' });
      await answering(port);
    },
    stop: async () => await ended(server),
  };
}

async function writeConfig(dir: string, port: number): Promise<string> {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody']).toString());
  const [uid, gid] = [id('-u'), id('-g')];
  const mail = path.join(dir, 'mail');
  await mkdir(mail);
  await chown(mail, uid, gid);
  const pem = await generate([{ name: 'commonName', value: 'localhost' }], { algorithm: 'sha256' });
  await writeFile(path.join(dir, 'key.pem'), pem.private, { mode: 0o600 });
  await writeFile(path.join(dir, 'cert.pem'), pem.cert);
  const config = path.join(dir, 'dovecot.conf');
  await writeFile(
    config,
    [
      'protocols = imap',
      `base_dir = ${dir}/run`,
      `state_dir = ${dir}/run`,
      'listen = 127.0.0.1',
      'ssl = required',
      `ssl_cert = <${dir}/cert.pem`,
      `ssl_key = <${dir}/key.pem`,
      `log_path = ${dir}/log`,
      `mail_location = maildir:${mail}/%n`,
      `mail_uid = ${uid}`,
      `mail_gid = ${gid}`,
      'first_valid_uid = 1',
      'mail_fsync = optimized',
      `passdb {\n  driver = static\n  args = password=${login.password}\n}`,
      `userdb {\n  driver = static\n  args = uid=${uid} gid=${gid} home=${mail}/%n\n}`,
      `service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n  inet_listener imaps {\n    port = ${port}\n  }\n}`,
      '',
    ].join('\n'),
  );
  return config;
}
