// The IMAP listener over a folder of 100,000 messages (or the number given): one node, the real store on a real disk, a client of few words in the same
// process, whose own work counts with the server's. The folder is filled through its own API, as IMAP would take minutes for it.
import path from 'node:path';
import type { Account } from '../../node/access/account.ts';
import { imapLimits } from '../../node/access/imap/limits.ts';
import { startImap } from '../../node/access/imap/server.ts';
import type { Mailbox } from '../../node/mail/mailbox.ts';
import { openMailbox } from '../../node/mail/open-mailbox.ts';
import { localTls, password, quickGate, silent } from '../node/access/access-fixture.ts';
import { ScriptClient } from '../node/access/scripts/script-client.ts';
import { DiskPost } from '../node/mail/disk-post.ts';
import { makeUser } from '../node/mail/mailbox-fixture.ts';

const count = Number(process.argv[2] ?? 100_000);
const distinct = 2_000;

/** 4 KiB with a header as real mail has. */
function message(number: number): Buffer {
  const header = [
    'Return-Path: <friend@sender.test>',
    `Received: from mx.sender.test (mx.sender.test [192.0.2.1]) by mx.example.org with ESMTPS id ${number}; Thu, 26 Nov 2026 10:00:00 +0000`,
    `From: "Friend ${number % 97}" <friend${number % 97}@sender.test>`,
    'To: Alice <alice@example.org>',
    `Subject: =?utf-8?Q?Bericht_Nr=2E_${number}_=C3=BCber_dies_und_das?=`,
    'Date: Thu, 26 Nov 2026 10:00:00 +0000',
    `Message-ID: <${number}.bench@sender.test>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    '',
    '',
  ].join('\r\n');
  return Buffer.from(header + `line of text number ${number} with some words in it\r\n`.repeat(70));
}

async function timed(what: string, work: () => Promise<unknown>, items?: number): Promise<void> {
  const begun = performance.now();
  await work();
  const ms = performance.now() - begun;
  const rate = items === undefined ? '' : `  ${((items / ms) * 1000).toFixed(0).padStart(7)} /s`;
  console.log(`  ${what.padEnd(58)} ${ms.toFixed(1).padStart(9)} ms${rate}`);
}

/** Sends a command and reads its whole answer. */
async function command(client: ScriptClient, text: string): Promise<number> {
  client.send(`t ${text}\r\n`);
  for (let responses = 0; ; responses += 1) {
    const response = await client.response();
    if (response.startsWith('t OK')) return responses;
    if (response.startsWith('t ')) throw new Error(`${text}: ${response}`);
  }
}

async function fill(mailbox: Mailbox): Promise<void> {
  const inbox = await mailbox.folder('INBOX');
  if (inbox === undefined) throw new Error('no INBOX');
  const numbers = Array.from({ length: Math.min(count, distinct) }, (_, number) => number).values();
  const line = async (): Promise<void> => {
    for (const number of numbers) await inbox.append(message(number), { flags: [], internalDate: Date.now() });
  };
  await Promise.all(Array.from({ length: 32 }, line));
  // The others share the octets of these: what is measured is the folder and the listener, not the store.
  const uids = inbox.entries().map(({ uid }) => uid);
  while (inbox.entries().length < count)
    await inbox.copyTo(inbox, uids.slice(0, Math.min(uids.length, count - inbox.entries().length)));
}

async function bench(): Promise<void> {
  const disk = await DiskPost.open();
  const { post, dir } = disk;
  const user = makeUser('alice');
  const options = { post, user, dir: path.join(dir, 'mail'), now: Date.now, log: silent };
  console.log(`IMAP: a folder of ${count} messages of ${message(1).length} octets, ${distinct} of them different`);
  let mailbox = await openMailbox({ ...options, create: true });
  await timed('fill it (without IMAP)', async () => await fill(mailbox), count);
  await mailbox.close();
  await timed('start: open the mailbox', async () => {
    mailbox = await openMailbox({ ...options, create: false });
  });
  const account: Account = {
    address: user.address,
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
  const client = await ScriptClient.connect(imap.ports[0] ?? 0);
  await client.response();
  await command(client, `LOGIN alice@example.org "${password}"`);
  const fields = 'BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES)]';
  await timed('SELECT, cold: the folder is loaded', async () => await command(client, 'SELECT INBOX'));
  await timed('SELECT, warm', async () => await command(client, 'SELECT INBOX'));
  await timed('FETCH 1:* (UID FLAGS)', async () => await command(client, 'FETCH 1:* (UID FLAGS)'), count);
  await timed('headers of 1,000, first time', async () => await command(client, `FETCH 1:1000 (${fields})`), 1_000);
  await timed('headers of 1,000, again', async () => await command(client, `FETCH 1:1000 (${fields})`), 1_000);
  const list = '(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)';
  await timed(
    'ENVELOPE, BODYSTRUCTURE and flags of 1,000',
    async () => await command(client, `FETCH 1:1000 ${list}`),
    1_000,
  );
  await timed('bodies of 1,000', async () => await command(client, 'FETCH 1:1000 (BODY.PEEK[])'), 1_000);
  await timed(
    'SEARCH SUBJECT of all, first time',
    async () => await command(client, 'SEARCH SUBJECT "Nr. 1999"'),
    count,
  );
  await timed('SEARCH SUBJECT of all, again', async () => await command(client, 'SEARCH SUBJECT "Nr. 1999"'), count);
  await timed(
    'SEARCH UNSEEN SINCE',
    async () => await command(client, 'SEARCH RETURN (COUNT) UNSEEN SINCE 1-Jan-2020'),
    count,
  );
  await timed(
    'STORE 1,000 one by one',
    async () => {
      for (let number = 1; number <= 1_000; number += 1) await command(client, `STORE ${number} +FLAGS (\\Seen)`);
    },
    1_000,
  );
  await timed('STORE 1:* at once', async () => await command(client, 'STORE 1:* +FLAGS.SILENT (\\Flagged)'), count);
  await timed(
    'APPEND 500 one by one',
    async () => {
      for (let number = 0; number < 500; number += 1) {
        const text = message(distinct + number).toString('latin1');
        await command(client, `APPEND INBOX {${text.length}+}\r\n${text}`);
      }
    },
    500,
  );
  console.log(`  memory of the process ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);
  client.close();
  await imap.stop(100);
  await mailbox.close();
  await disk.stop();
}

await bench();
