import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing } from '../needs.ts';
import { type Cutter, startCutter } from '../queue/redis-cutter.ts';
import { type RedisServer, startRedis } from '../queue/redis-server.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, SmtpClient, submissionClient } from './fixtures/smtp-client.ts';
import { type Letter, sendAll } from './fixtures/traffic.ts';
import { until } from './fixtures/until.ts';

describe.skipIf(missing('redis-server'))('with the queue in Redis', () => {
  let redis: RedisServer;
  let way: Cutter;
  let outside: Outside;
  let home: TestHome;
  let epost: RunningEpost;
  let alice: MailProgram;

  beforeAll(async () => {
    redis = await startRedis();
    way = await startCutter(redis.url, -1, 'before');
    outside = await startOutside();
    home = await TestHome.make({
      flags: { ...outside.flags, 'redis-url': way.url },
      config: (text) => text.replace('first: 60s, max: 4h', 'first: 1s, max: 2s'),
    });
    epost = await home.up();
    alice = await MailProgram.open(epost, 'alice@example.org');
  });

  afterAll(async () => {
    alice?.close();
    await home?.remove();
    await outside?.close();
    await way?.close();
    await redis?.stop();
  });

  function letter(from: string, to: string, body?: string): Letter {
    const id = newMessageId();
    const text = body === undefined ? {} : { body };
    return { id, bytes: message({ from, to, subject: 'redis', messageId: id, ...text }), envelope: { from, to: [to] } };
  }

  async function submit(...letters: readonly Letter[]): Promise<void> {
    const client = await submissionClient(
      epost.port('submission'),
      'alice@example.org',
      epost.password('alice@example.org'),
    );
    for (const { envelope, bytes } of letters) expect(await client.send(envelope, bytes)).toMatchObject({ code: 250 });
    await client.quit();
  }

  test('the configuration says so', async () => {
    const { code, out } = await home.run('queue', 'list', '--json');
    expect({ code, out: JSON.parse(out) as unknown }).toMatchObject({ code: 0, out: { jobs: [] } });
  });

  test('a small and a large message from outside are in the inbox', async () => {
    // Larger than what is kept in Redis itself: its body goes through the ring.
    for (const body of ['small\r\n', `${'large '.repeat(12)}\r\n`.repeat(20_000)]) {
      const client = await mxClient(epost.port('mx'));
      const mail = letter('friend@sender.test', 'alice@example.org', body);
      expect(await client.send(mail.envelope, mail.bytes)).toMatchObject({ code: 250 });
      await client.quit();
      const got = await alice.waitForText(mail.id);
      expect(got.bytes.subarray(got.bytes.length - mail.bytes.length).equals(mail.bytes)).toBe(true);
    }
  });

  test('alice’s mail reaches bob, and the world after a 4xx', async () => {
    outside.mx.refuse('friend@foreign.test', { code: 451, text: '4.7.1 greylisted' });
    const [inside, out] = [
      letter('alice@example.org', 'bob@example.org'),
      letter('alice@example.org', 'friend@foreign.test'),
    ];
    await submit(inside);
    await submit(out);
    const bob = await MailProgram.open(epost, 'bob@example.org');
    await bob.waitForText(inside.id);
    bob.close();
    await until('it arrives', () => outside.mx.to('friend@foreign.test').some(({ messageId }) => messageId === out.id));
  });

  test('a 5xx comes back as a notice', async () => {
    outside.mx.refuse('gone@foreign.test', { code: 550, text: '5.1.1 no such user here' });
    await submit(letter('alice@example.org', 'gone@foreign.test'));
    await alice.waitFor(
      'the notice',
      ({ bytes }) => bytes.includes('multipart/report') && bytes.includes('gone@foreign.test'),
    );
  });

  test('while Redis is away mail is put off with 451, and nothing accepted before is lost or doubled; after it all goes on by itself', async () => {
    // Some of it is under way when the connection breaks, some waits for its second attempt.
    for (let i = 0; i < 10; i += 1) outside.mx.refuse('later@foreign.test', { code: 451, text: '4.7.1 greylisted' });
    const out = Array.from({ length: 10 }, (_, i) =>
      letter('alice@example.org', `${i % 2 === 0 ? 'later' : 'friend'}@foreign.test`),
    );
    await submit(...out);
    const inward = letter('friend@sender.test', 'alice@example.org');
    const client = await mxClient(epost.port('mx'));
    expect(await client.send(inward.envelope, inward.bytes)).toMatchObject({ code: 250 });
    way.cut();
    const reply = await client.send(inward.envelope, inward.bytes);
    expect(reply).toMatchObject({ code: 451 });
    client.destroy();
    // RFC 5321 §3.8: who comes anew is told at the door, and told to come again.
    const offer = async ({ envelope, bytes }: Letter): Promise<number> => {
      const another = await SmtpClient.connect(epost.port('mx'));
      if (another.greeting.code !== 220) return another.greeting.code;
      await another.command('EHLO mail.sender.test');
      const { code } = await another.send(envelope, bytes);
      another.destroy();
      return code;
    };
    expect([421, 451]).toContain(await offer(inward));
    // What a user sends meanwhile is safe in the ring, and waits there.
    const meanwhile = letter('alice@example.org', 'friend@foreign.test');
    await submit(meanwhile);
    way.mend();
    const again = letter('friend@sender.test', 'alice@example.org');
    await until('mail is taken again', async () => (await offer(again).catch(() => 0)) === 250);
    const times = (id: string): number => outside.mx.arrivals.filter(({ messageId }) => messageId === id).length;
    await until('all that was sent has arrived', () => [...out, meanwhile].every(({ id }) => times(id) > 0), 90_000);
    await Promise.all([inward, again].map(({ id }) => alice.waitForText(id)));
    await until('the queue is empty', queueIsEmpty, 90_000);
    expect([...out, meanwhile].map(({ id }) => times(id))).toEqual(Array.from({ length: 11 }, () => 1));
  }, 240_000);

  test('a gateway that is killed while mail comes in loses none and doubles none', async () => {
    const letters = Array.from({ length: 60 }, () => letter('friend@sender.test', 'alice@example.org'));
    const { gateway } = await epost.processes();
    const sending = sendAll(letters, () => mxClient(epost.port('mx')), 4);
    await alice.waitForText(letters[5]?.id ?? '');
    await epost.kill9('gateway');
    await epost.isBack('gateway', gateway ?? 0);
    expect((await sending).acknowledged.size).toBe(letters.length);
    /** The trace ids of all copies of each. */
    const copies = async (): Promise<string[][]> => {
      const all = await alice.messages();
      const traces = (id: string): string[] =>
        all.filter(({ bytes }) => bytes.includes(id)).map(({ bytes }) => field(bytes, 'X-ePOST-Trace') ?? '');
      return letters.map(({ id }) => traces(id));
    };
    // A job that a dead gateway was working on is taken up again when its lock has run out.
    await until('all are there', async () => (await copies()).every(({ length }) => length > 0), 90_000);
    await until('the queue is empty', queueIsEmpty, 90_000);
    expect((await copies()).filter(({ length }) => length > 1)).toEqual([]);
  }, 220_000);

  async function queueIsEmpty(): Promise<boolean> {
    const { code, out } = await home.run('queue', 'list', '--json');
    return code === 0 && (JSON.parse(out) as { jobs: unknown[] }).jobs.length === 0;
  }
});
