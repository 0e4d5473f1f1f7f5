// The same IMAP commands, by the same client over TLS, to Dovecot (Maildir, its own way to sync) and to a node of ours (one node, durable), one after the
// other in one run, each server in processes of its own. Needs dovecot-imapd, and root to start it.
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { generate } from 'selfsigned';
import type { Account } from '../../node/access/account.ts';
import { imapLimits } from '../../node/access/imap/limits.ts';
import { startImap } from '../../node/access/imap/server.ts';
import { openMailbox } from '../../node/mail/open-mailbox.ts';
import { findProgram } from '../needs.ts';
import { localTls, quickGate, silent } from '../node/access/access-fixture.ts';
import { DiskPost } from '../node/mail/disk-post.ts';
import { makeUser } from '../node/mail/mailbox-fixture.ts';

const count = Number(process.env['EPOST_BENCH_MESSAGES'] ?? 100_000);
const user = 'alice@example.org';
const password = 'bench';

/** 4 KiB with a header as real mail has. */
function message(number: number): Buffer {
  const header = [
    'Return-Path: <friend@sender.test>',
    `Received: from mx.sender.test (mx.sender.test [192.0.2.1]) by mx.example.org with ESMTPS id ${number}; Thu, 26 Nov 2026 10:00:00 +0000`,
    `From: "Friend ${number % 97}" <friend${number % 97}@sender.test>`,
    'To: Alice <alice@example.org>',
    `Subject: Bericht Nr. ${number} von dies und das`,
    'Date: Thu, 26 Nov 2026 10:00:00 +0000',
    `Message-ID: <${number}.bench@sender.test>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    '',
    '',
  ].join('\r\n');
  return Buffer.from(header + `line of text number ${number} with some words in it\r\n`.repeat(70));
}

/** Sends commands and looks at nothing of an answer but its last line and its size, so that the server's work is what takes the time. */
class Client {
  readonly #socket: tls.TLSSocket;
  #tail = '';
  #answered: ((line: string) => void) | undefined;
  received = 0;

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
      this.#tail = (this.#tail + chunk.toString('latin1', Math.max(0, chunk.length - 600))).slice(-600);
      const line = /(?:^|\n)(t (?:OK|NO|BAD)[^\n]*)\r\n$/.exec(this.#tail)?.[1];
      if (line === undefined) return;
      this.#tail = '';
      this.#answered?.(line);
    });
  }

  static async open(port: number): Promise<Client> {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    socket.setNoDelay(true);
    const client = new Client(socket);
    await client.command(`LOGIN ${user} "${password}"`);
    return client;
  }

  async command(text: string, literal?: Buffer): Promise<void> {
    const answered = new Promise<string>((resolve) => (this.#answered = resolve));
    this.#socket.write(`t ${text}\r\n`);
    if (literal !== undefined) this.#socket.write(Buffer.concat([literal, Buffer.from('\r\n')]));
    const line = await answered;
    if (!line.startsWith('t OK')) throw new Error(`${text.slice(0, 80)}: ${line}`);
  }

  close(): void {
    this.#socket.destroy();
  }
}

interface Figure {
  readonly what: string;
  readonly ms: number;
  /** Of how many things; a time alone where there is one. */
  readonly items: number;
}

async function measure(port: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  const timed = async (what: string, items: number, work: () => Promise<unknown>): Promise<void> => {
    const begun = performance.now();
    await work();
    figures.push({ what, items, ms: performance.now() - begun });
  };
  let client = await Client.open(port);
  const again = async (): Promise<void> => {
    client.close();
    client = await Client.open(port);
  };
  await timed('APPEND, 4 KiB, one by one', 1_000, async () => {
    for (let number = 0; number < 1_000; number += 1) {
      const text = message(number);
      await client.command(`APPEND INBOX (\\Seen) {${text.length}+}`, text);
    }
  });
  await again();
  await client.command('SELECT INBOX');
  const list = '(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)';
  const fields = '(UID BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES)])';
  await timed('ENVELOPE, BODYSTRUCTURE, first', 1_000, async () => await client.command(`FETCH 1:1000 ${list}`));
  await timed('ENVELOPE, BODYSTRUCTURE, again', 1_000, async () => await client.command(`FETCH 1:1000 ${list}`));
  await timed('header fields', 1_000, async () => await client.command(`FETCH 1:1000 ${fields}`));
  const before = client.received;
  await timed('bodies, first', 1_000, async () => await client.command('FETCH 1:1000 (UID BODY.PEEK[])'));
  if (client.received - before < 3_600_000) throw new Error('the bodies were not sent');
  await timed('bodies, again', 1_000, async () => await client.command('FETCH 1:1000 (UID BODY.PEEK[])'));
  await timed('STORE, one by one', 1_000, async () => {
    for (let number = 1; number <= 1_000; number += 1)
      await client.command(`STORE ${1 + ((number * 7) % 1_000)} ${number % 2 === 0 ? '-' : '+'}FLAGS (\\Flagged)`);
  });
  await timed(`COPY until there are ${count}`, count - 1_000, async () => {
    for (let have = 1_000; have < count; ) {
      const more = Math.min(have, count - have);
      await client.command(`COPY 1:${more} INBOX`);
      have += more;
      await client.command('NOOP');
    }
  });
  await again();
  await timed('SELECT of all, first', 1, async () => await client.command('SELECT INBOX'));
  await again();
  await timed('SELECT of all, warm', 1, async () => await client.command('SELECT INBOX'));
  await timed('FETCH 1:* (UID FLAGS)', count, async () => await client.command('FETCH 1:* (UID FLAGS)'));
  await timed('SEARCH UNSEEN', 1, async () => await client.command('SEARCH UNSEEN'));
  await timed('SEARCH SUBJECT of all, first', 1, async () => await client.command('SEARCH SUBJECT "Nr. 999"'));
  await timed('SEARCH SUBJECT of all, again', 1, async () => await client.command('SEARCH SUBJECT "Nr. 998"'));
  await timed('STORE 1:* at once', count, async () => await client.command('STORE 1:* +FLAGS.SILENT (\\Flagged)'));
  client.close();
  return figures;
}

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

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = once(child, 'exit');
  child.kill('SIGTERM');
  await over;
}

async function dovecot(program: string, dir: string): Promise<Figure[]> {
  const port = await freePort();
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
      'passdb {\n  driver = static\n  args = password=' + password + '\n}',
      `userdb {\n  driver = static\n  args = uid=${uid} gid=${gid} home=${mail}/%n\n}`,
      `service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n  inet_listener imaps {\n    port = ${port}\n  }\n}`,
      '',
    ].join('\n'),
  );
  const server = spawn(program, ['-F', '-c', config], { stdio: 'ignore' });
  try {
    await answering(port);
    return await measure(port);
  } catch (cause) {
    const log = await readFile(path.join(dir, 'log'), 'utf8').catch(() => '');
    throw new Error(`Dovecot: ${String(cause)}\n${log.slice(-2_000)}`, { cause });
  } finally {
    await ended(server);
  }
}

async function ours(): Promise<Figure[]> {
  const server = fork(fileURLToPath(import.meta.url), ['serve']);
  try {
    const [port] = (await once(server, 'message')) as [number];
    return await measure(port);
  } finally {
    await ended(server);
  }
}

/** The child: a node with a mailbox on the real disk and its IMAP listener; tells its port. */
async function serve(): Promise<void> {
  const disk = await DiskPost.open();
  const owner = makeUser('alice');
  const dir = path.join(disk.dir, 'mail');
  const mailbox = await openMailbox({ post: disk.post, user: owner, dir, create: true, now: Date.now, log: silent });
  const account: Account = {
    address: owner.address,
    mailbox,
    ringDomains: [],
    ownership: async () => 'own',
    lookup: async () => ({ kind: 'none' }),
    submit: async () => ({ recipients: [] }),
  };
  const accounts = { login: async () => ({ kind: 'account' as const, account }) };
  const imap = await startImap({
    listen: [{ host: '127.0.0.1', port: 0, tls: 'implicit' }],
    tls: await localTls(),
    accounts,
    gate: quickGate(accounts),
    limits: imapLimits,
    now: Date.now,
    log: silent,
  });
  process.send?.(imap.ports[0]);
  await once(process, 'SIGTERM');
  await imap.stop(100);
  await mailbox.close();
  await disk.stop();
  process.disconnect();
}

async function bench(): Promise<void> {
  const program = findProgram('dovecot');
  if (program === undefined || process.getuid?.() !== 0) {
    console.log('imap-dovecot: skipped, as it needs dovecot-imapd, and root to start it');
    return;
  }
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-dovecot-'));
  // Dovecot's own users go in there.
  execFileSync('chmod', ['755', dir]);
  try {
    const theirs = await dovecot(program, dir);
    const own = await ours();
    const row = (...cells: readonly string[]): void =>
      console.log(`  ${cells.map((cell, index) => (index === 0 ? cell.padEnd(36) : cell.padStart(12))).join(' ')}`);
    row('over TLS', 'Dovecot', 'ours', 'ours/Dovecot');
    for (const [index, { what, items, ms }] of theirs.entries()) {
      const other = own[index]?.ms ?? Number.NaN;
      const said = (took: number): string =>
        items === 1 ? `${took.toFixed(1)} ms` : `${((items / took) * 1_000).toFixed(0)} /s`;
      row(what, said(ms), said(other), (ms / other).toFixed(2));
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

await (process.argv[2] === 'serve' ? serve() : bench());
