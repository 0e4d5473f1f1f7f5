import { BenchClient } from './client.ts';
import { cpuMs, memoryMiB } from './processes.ts';

/** A mail server over a mailbox that is empty at first. */
export interface Server {
  /** Of the process whose family it is. */
  readonly pid: number;
  readonly port: number;
  /** Over the same mailbox, remembering nothing in memory. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface Figure {
  readonly what: string;
  /** Of how many things; a time alone where there is one. */
  readonly items: number;
  readonly ms: number;
  /** Of the server's processes. */
  readonly cpu: number;
}

export interface Measured {
  readonly figures: readonly Figure[];
  /** With the whole folder selected and searched. */
  readonly memory: { readonly pss: number; readonly anonymous: number };
}

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

/** The folder gets `distinct` messages (an even number) by APPEND, and `count` in all by COPY. */
export async function measure(
  server: Server,
  { count, distinct }: { readonly count: number; readonly distinct: number },
): Promise<Measured> {
  const figures: Figure[] = [];
  const timed = async (what: string, items: number, work: () => Promise<unknown>): Promise<void> => {
    const [begun, cpu] = [performance.now(), cpuMs(server.pid)];
    await work();
    const ms = performance.now() - begun;
    figures.push({ what, items, ms, cpu: cpuMs(server.pid) - cpu });
  };
  let client = await BenchClient.open(server.port);
  const asked = async (what: string, items: number, text: string): Promise<void> =>
    await timed(what, items, async () => await client.command(text));
  const again = async (): Promise<void> => {
    client.close();
    client = await BenchClient.open(server.port);
  };
  await timed('APPEND, 4 KiB, one by one', distinct, async () => {
    for (let number = 0; number < distinct; number += 1) {
      const text = message(number);
      await client.command(`APPEND INBOX (\\Seen) {${text.length}+}`, text);
    }
  });
  await again();
  await client.command('SELECT INBOX');
  const list = '(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)';
  const fields = '(UID BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES)])';
  // The server has just started: half of the messages meet code that has not run yet, the other half does not.
  const [some, others] = [`1:${distinct / 2}`, `${distinct / 2 + 1}:${distinct}`];
  const half = distinct / 2;
  await asked('ENVELOPE, BODYSTRUCTURE, first', half, `FETCH ${some} ${list}`);
  await asked('ENVELOPE, BODYSTRUCTURE, again', half, `FETCH ${some} ${list}`);
  await asked('header fields', half, `FETCH ${some} ${fields}`);
  await asked('header fields of others', half, `FETCH ${others} ${fields}`);
  const before = client.received;
  await asked('bodies, first', half, `FETCH ${some} (UID BODY.PEEK[])`);
  if (client.received - before < 3_600 * half) throw new Error('the bodies were not sent');
  await asked('bodies of others, first', half, `FETCH ${others} (UID BODY.PEEK[])`);
  await asked('bodies, again', half, `FETCH ${some} (UID BODY.PEEK[])`);
  // Each changes something: what changes nothing is written by neither server.
  const change = (sign: '+' | '-', number: number): string =>
    `STORE ${1 + ((number * 7) % distinct)} ${sign}FLAGS (\\Flagged)`;
  const numbers = Array.from({ length: distinct }, (_, index) => index + 1);
  await timed('STORE, one by one', distinct, async () => {
    for (const number of numbers) await client.command(change('+', number));
  });
  await timed('STORE, not waiting between them', distinct, async () => {
    await client.pipelined(numbers.map((number) => change('-', number)));
  });
  await again();
  await client.command('SELECT INBOX (CONDSTORE)');
  await timed('STORE, told mod-sequences', 300, async () => {
    for (const number of numbers.slice(0, 300)) await client.command(change('+', number));
  });
  await again();
  await client.command('SELECT INBOX');
  await timed(`COPY until there are ${count}`, count - distinct, async () => {
    for (let have = distinct; have < count; ) {
      const more = Math.min(have, count - have);
      await client.command(`COPY 1:${more} INBOX`);
      have += more;
      await client.command('NOOP');
    }
  });
  await again();
  await asked('SELECT of all', 1, 'SELECT INBOX');
  await asked('FETCH 1:* (UID FLAGS)', count, 'FETCH 1:* (UID FLAGS)');
  await asked('SEARCH UNSEEN', 1, 'SEARCH UNSEEN');
  await asked('SEARCH SINCE LARGER', 1, 'SEARCH SINCE 1-Jan-2020 LARGER 1000000');
  await asked('SEARCH SUBJECT of all', 1, `SEARCH SUBJECT "Nr. ${distinct - 1}"`);
  await asked('SEARCH SUBJECT of all, again', 1, `SEARCH SUBJECT "Nr. ${distinct - 2}"`);
  await asked('SEARCH FROM or TO', 1, 'SEARCH OR FROM friend77@ TO nobody');
  await asked('SEARCH SENTSINCE', 1, 'SEARCH SENTSINCE 1-Jan-2027');
  await asked('SEARCH TEXT among 1,000', 1, 'SEARCH 1:1000 TEXT "not in any of them"');
  await asked('STORE 1:* at once', count, 'STORE 1:* +FLAGS.SILENT (\\Flagged)');
  client.close();
  await server.restart();
  client = await BenchClient.open(server.port);
  await asked('after a start: SELECT of all', 1, 'SELECT INBOX');
  await asked('after a start: FETCH 1:* (UID FLAGS)', count, 'FETCH 1:* (UID FLAGS)');
  await asked('after a start: SEARCH SUBJECT', 1, `SEARCH SUBJECT "Nr. ${distinct - 3}"`);
  const memory = memoryMiB(server.pid);
  client.close();
  return { figures, memory };
}

/** A figure as a person reads it: how often a second, or how long; and what it cost the server. */
export function shown({ items, ms, cpu }: Figure): readonly [speed: string, cpu: string] {
  if (items === 1) return [`${ms.toFixed(1)} ms`, `${cpu.toFixed(1)} ms`];
  return [`${((items / ms) * 1_000).toFixed(0)} /s`, `${((cpu / items) * 1_000).toFixed(1)} µs`];
}
