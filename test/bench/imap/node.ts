import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Account } from '../../../node/access/account.ts';
import { imapLimits } from '../../../node/access/imap/limits.ts';
import { startImap } from '../../../node/access/imap/server.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { localTls, quickGate, silent } from '../../node/access/access-fixture.ts';
import { DiskPost } from '../../node/mail/disk-post.ts';
import { makeUser } from '../../node/mail/mailbox-fixture.ts';
import { ended } from './dovecot.ts';
import type { Server } from './measure.ts';

/** A node of ours, in a process of its own: a mailbox on the real disk and its IMAP listener, in a ring of one. */
export async function startNode(): Promise<Server> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'], {
    // What a profiler is told (--cpu-prof), the child is told.
    execArgv: process.execArgv,
  });
  let [port] = (await once(child, 'message')) as [number];
  return {
    pid: child.pid ?? 0,
    get port() {
      return port;
    },
    restart: async () => {
      const started = once(child, 'message') as Promise<[number]>;
      child.send('restart');
      [port] = await started;
    },
    stop: async () => await ended(child),
  };
}

/** The child: tells its port, and a new one after each restart. */
async function serve(): Promise<void> {
  const disk = await DiskPost.open();
  const owner = makeUser('alice');
  const dir = path.join(disk.dir, 'mail');
  const start = async (create: boolean): Promise<() => Promise<void>> => {
    const mailbox = await openMailbox({ post: disk.post, user: owner, dir, create, now: Date.now, log: silent });
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
    return async () => {
      await imap.stop(100);
      await mailbox.close();
    };
  };
  let stop = await start(true);
  const restart = async (): Promise<void> => {
    await stop();
    await disk.restart();
    stop = await start(false);
  };
  process.on('message', () => {
    restart().catch((fault: unknown) => {
      throw fault;
    });
  });
  await once(process, 'SIGTERM');
  await stop();
  await disk.stop();
  process.disconnect();
}

if (process.argv[2] === 'serve') await serve();
