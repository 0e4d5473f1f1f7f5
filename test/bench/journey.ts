import { generateKeyPairSync } from 'node:crypto';
import { dkimSign } from 'mailauth';
import { standardPolicy } from '../../policy/standard.ts';
import { TestHome } from '../journey/fixtures/home.ts';
import { MailProgram } from '../journey/fixtures/mailbox.ts';
import { message, newMessageId } from '../journey/fixtures/message.ts';
import { type Outside, startOutside } from '../journey/fixtures/outside.ts';
import { run } from '../journey/fixtures/program.ts';
import type { RunningEpost } from '../journey/fixtures/running.ts';
import { mxClient, type SmtpClient, submissionClient } from '../journey/fixtures/smtp-client.ts';
import { until } from '../journey/fixtures/until.ts';

// The whole product as it is started by `epost up`: real processes, real SMTP and IMAP over loopback, every 250 durable.
// The clients, the name server and the foreign mail server run in this one process, on the same cores.
const messageBytes = 4096;
const warmUp = 100;
const inCount = 2_000;
const outCount = 1_000;
const insideCount = 100;
const patienceMs = 300_000;

const alice = 'alice@example.org';

function say(what: string, figures: string): void {
  console.log(`${what.padEnd(64)}  ${figures}`);
}

function quantiles(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(1);
  return `p50 ${at(0.5)} ms  p99 ${at(0.99)} ms`;
}

const perSecond = (count: number, ms: number): string => `${Math.round((count / ms) * 1000)}/s`;

/** Sends all over `sessions` connections at once; how long each took from MAIL to its 250. */
async function sendAll(
  messages: readonly { from: string; to: string; bytes: Uint8Array }[],
  connect: () => Promise<SmtpClient>,
  sessions: number,
): Promise<number[]> {
  const waiting = messages.values();
  const times: number[] = [];
  const session = async (): Promise<void> => {
    let client = await connect();
    let sent = 0;
    for (const { from, to, bytes } of waiting) {
      // A connection carries at most 100 messages.
      if (sent === 100) {
        await client.quit();
        client = await connect();
        sent = 0;
      }
      const begun = performance.now();
      const reply = await client.send({ from, to: [to] }, bytes);
      if (reply.code !== 250) throw new Error(reply.text);
      times.push(performance.now() - begun);
      sent += 1;
    }
    await client.quit();
  };
  await Promise.all(Array.from({ length: sessions }, session));
  return times;
}

/** Messages of 4 KiB from a domain with SPF, DKIM and DMARC, signed. */
async function signedMessages(count: number, outside: Outside): Promise<{ from: string; to: string; bytes: Buffer }[]> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const record = `v=DKIM1; k=rsa; p=${publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`;
  outside.dns.add({ 's1._domainkey.sender.test': { TXT: [record.match(/.{1,250}/g)] } });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const body = `${'All that is written here is of no importance whatever. '.slice(0, 70)}\r\n`.repeat(70);
  const messages = [];
  for (let number = 0; number < count; number += 1) {
    const plain = message({ from: 'friend@sender.test', to: alice, subject: `number ${number}`, body }).subarray(
      0,
      messageBytes - 700,
    );
    const whole = Buffer.concat([plain, Buffer.from('\r\n')]);
    const key = { signingDomain: 'sender.test', selector: 's1', privateKey: pem };
    const { signatures } = await dkimSign(whole, { ...key, signatureData: [key] });
    messages.push({ from: 'friend@sender.test', to: alice, bytes: Buffer.concat([Buffer.from(signatures), whole]) });
  }
  return messages;
}

async function benchIn(epost: RunningEpost, outside: Outside): Promise<void> {
  const messages = await signedMessages(warmUp + inCount, outside);
  const connect = () => mxClient(epost.port('mx'));
  await sendAll(messages.slice(0, warmUp), connect, 20);
  const program = await MailProgram.open(epost, alice);
  const begun = performance.now();
  const times = await sendAll(messages.slice(warmUp), connect, 20);
  const taken = performance.now() - begun;
  await until(
    'all are in the inbox',
    async () => {
      const status = await program.imap.status('INBOX', { messages: true });
      return status !== false && status.messages === warmUp + inCount;
    },
    patienceMs,
  );
  const delivered = performance.now() - begun;
  program.close();
  say(
    'in: 4 KiB, DKIM-signed, SPF+DKIM+DMARC+ARC, 20 connections, to 250',
    `${perSecond(inCount, taken)}  ${quantiles(times)}`,
  );
  say('in: the same, until the last is in the inbox by IMAP', perSecond(inCount, delivered));
  const alone = await sendAll(await signedMessages(200, outside), connect, 1);
  say(
    'in: the same, one connection',
    `${perSecond(
      200,
      alone.reduce((sum, time) => sum + time, 0),
    )}  ${quantiles(alone)}`,
  );
}

async function benchOut(epost: RunningEpost, outside: Outside): Promise<void> {
  const body = 'x'.repeat(70).concat('\r\n').repeat(50);
  const messages = Array.from({ length: outCount }, (_, number) => {
    const to = `friend@foreign${number % 10}.test`;
    return { from: alice, to, bytes: message({ from: alice, to, subject: `number ${number}`, body }) };
  });
  for (let number = 0; number < 10; number += 1)
    outside.dns.add({ [`foreign${number}.test`]: { MX: [{ preference: 10, exchange: 'mx.foreign.test' }] } });
  const begun = performance.now();
  const times = await sendAll(
    messages,
    () => submissionClient(epost.port('submission'), alice, epost.password(alice)),
    10,
  );
  const submitted = performance.now() - begun;
  await until('all have arrived', () => outside.mx.arrivals.length >= outCount, patienceMs);
  const arrived = performance.now() - begun;
  say(
    'out: 4 KiB submitted over TLS, 10 connections, to 250',
    `${perSecond(outCount, submitted)}  ${quantiles(times)}`,
  );
  say('out: the same, until the last of 10 domains’ servers has it, signed twice', perSecond(outCount, arrived));
}

/** From alice's final dot to bob's mail program being told, one at a time. */
async function benchInside(epost: RunningEpost): Promise<void> {
  const bob = await MailProgram.open(epost, 'bob@example.org');
  await bob.imap.mailboxOpen('INBOX');
  const idling = bob.imap.idle();
  const client = await submissionClient(epost.port('submission'), alice, epost.password(alice));
  const times: number[] = [];
  for (let number = 0; number < insideCount; number += 1) {
    const told = new Promise<void>((resolve) => bob.imap.once('exists', () => resolve()));
    const mail = message({ from: alice, to: 'bob@example.org', subject: newMessageId() });
    const begun = performance.now();
    const reply = await client.send({ from: alice, to: ['bob@example.org'] }, mail);
    if (reply.code !== 250) throw new Error(reply.text);
    await told;
    times.push(performance.now() - begun);
  }
  await client.quit();
  bob.close();
  await idling.catch(() => undefined);
  say('inside: alice’s final dot until bob’s program is told (IDLE)', quantiles(times));
}

async function memory(epost: RunningEpost, when: string): Promise<void> {
  const { node, gateway } = await epost.processes();
  const { out } = await run('ps', ['-o', 'pid=,rss=', '-p', `${epost.pid},${node ?? 0},${gateway ?? 0}`]);
  const rss = new Map(
    out
      .trim()
      .split('\n')
      .map((row) => row.trim().split(/\s+/).map(Number) as [number, number]),
  );
  const mib = (pid: number | undefined): string => `${Math.round((rss.get(pid ?? 0) ?? 0) / 1024)} MiB`;
  say(`memory (RSS) ${when}`, `node ${mib(node)}  gateway ${mib(gateway)}  supervisor ${mib(epost.pid)}`);
}

async function main(): Promise<void> {
  const outside = await startOutside();
  const home = await TestHome.make({
    flags: outside.flags,
    config: (text) => text.replace('log: {level: info}', 'log: {level: warn}'),
    // The standard policy's rules for what comes in. Those for what leaves would hold what alice sends here: 1,000 in a few seconds is a stolen account.
    policy: `${standardPolicy.slice(0, standardPolicy.indexOf('# What leaves.'))}\ndefault: accept\n`,
  });
  try {
    const begun = performance.now();
    const epost = await home.up();
    say('`epost up` until ready', `${Math.round(performance.now() - begun)} ms`);
    await memory(epost, 'when ready');
    await benchInside(epost);
    await benchIn(epost, outside);
    await benchOut(epost, outside);
    await memory(epost, 'after all of it');
  } finally {
    await home.remove();
    await outside.close();
  }
}

await main();
