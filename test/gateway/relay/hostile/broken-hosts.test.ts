/** Hosts that break off, say too much, say nothing, or say it out of step: what becomes of the mail, what its sender hears, and how often it arrives. */
import { afterEach, describe, expect, test } from 'vitest';
import type { SmtpTimes } from '../../../../gateway/relay/connection.ts';
import { type Conversation, type HostileHost, hostileHost, type Manners } from './hostile-host.ts';
import { type Life, type LifeOptions, lifeOf } from './life-of-mail.ts';

const large = Buffer.concat([
  Buffer.from('From: Alice <alice@example.org>\r\nSubject: large\r\n\r\n'),
  Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(60_000)),
]);

let host: HostileHost;
afterEach(() => host.close());

async function meets(
  manners: readonly (Manners | undefined)[],
  options: Omit<LifeOptions, 'port'> & { extensions?: readonly string[] } = {},
): Promise<Life> {
  const { extensions, ...rest } = options;
  host = await hostileHost(manners, extensions === undefined ? {} : { extensions });
  return lifeOf({ port: host.port, ...rest });
}

/** The connections are given up, not held. */
async function letGo(): Promise<void> {
  const end = Date.now() + 10_000;
  while (host.open() > 0 && Date.now() < end)
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  expect(host.open()).toBe(0);
}

const steps = ['greeting', 'EHLO', 'MAIL', 'RCPT', 'data', 'dot'] as const;
const ways: readonly (readonly [how: string, act: (conversation: Conversation) => void])[] = [
  ['resets', (conversation) => conversation.reset()],
  ['closes', (conversation) => conversation.hangUp()],
  [
    'says 421 and closes',
    (conversation) => {
      conversation.say('421 4.3.2 closing');
      conversation.hangUp();
    },
  ],
  ['says 421 and stays', (conversation) => conversation.say('421 4.3.2 closing')],
];
const dialects: readonly (readonly [name: string, extensions: readonly string[]])[] = [
  ['one command at a time', ['8BITMIME']],
  ['PIPELINING', ['PIPELINING', '8BITMIME']],
  ['CHUNKING', ['PIPELINING', '8BITMIME', 'CHUNKING']],
];

describe('a host that breaks off', () => {
  const rows = dialects.flatMap(([dialect, extensions]) =>
    steps.flatMap((step) => ways.map(([how, act]) => ({ dialect, extensions, step, how, act }))),
  );
  test.each(rows)('$how at $step ($dialect): one copy, at the second try, nobody is troubled', async (row) => {
    const breaks: Manners = async (conversation) => {
      await conversation.serveUntil(row.step);
      row.act(conversation);
    };
    const life = await meets([breaks, undefined], { extensions: row.extensions });
    expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
    expect(host.copies).toHaveLength(1);
    expect(
      host.copies[0]?.text.endsWith('\r\n\r\nHello\r\n' + (row.dialect === 'CHUNKING' ? '' : '.') + '.dot\r\n'),
    ).toBe(true);
    await letGo();
  });

  const midway: readonly (readonly [why: string, act: Manners])[] = [
    ['resets', async (conversation) => conversation.reset()],
    ['closes', async (conversation) => conversation.hangUp()],
    ['says 421 and reads on', async (conversation) => conversation.say('421 4.3.2 shutting down')],
    ['says 452 and reads on', async (conversation) => conversation.say('452 4.3.1 disk full')],
  ];
  test.each(midway)('in the middle of four megabytes: %s', async (_why, act) => {
    const breaks: Manners = async (conversation) => {
      await conversation.serveUntil('data');
      await conversation.octets(100_000);
      await act(conversation);
    };
    const life = await meets([breaks, undefined], { message: large });
    expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
    expect(host.copies).toHaveLength(1);
    expect(host.copies[0]?.text).toHaveLength(large.length);
    await letGo();
  });

  test.each(dialects)(
    'after it took the message and before it said so, SMTP cannot know: two copies (%s)',
    async (_, extensions) => {
      const drops: Manners = async (conversation) => {
        await conversation.serveUntil('dot');
        conversation.took();
        conversation.reset();
      };
      const life = await meets([drops, undefined], { extensions });
      expect(life).toMatchObject({ end: 'done', tries: 2, told: [] });
      expect(host.copies).toHaveLength(2);
    },
  );

  test('for ever: five days of tries, one word after four hours, one at the end', async () => {
    const life = await meets([async (conversation) => conversation.reset()]);
    expect(life.told).toEqual(['a@dest.example delayed 4.4.1', 'a@dest.example failed 5.4.7']);
    expect(life.tookMs).toBeGreaterThanOrEqual(5 * 24 * 3_600_000);
    expect(life.tries).toBeLessThan(50);
    expect(host.copies).toEqual([]);
  });

  test('after one of three was refused for good: he is told once, and only the others are tried again', async () => {
    const drops: Manners = async (conversation) => {
      await conversation.serveUntil('RCPT');
      conversation.answer('RCPT TO:<a@dest.example>');
      await conversation.line();
      conversation.say('550 5.1.1 no such user');
      await conversation.serveUntil('dot');
      conversation.reset();
    };
    const recipients = ['a@dest.example', 'b@dest.example', 'c@dest.example'];
    const life = await meets([drops, undefined], { recipients, extensions: ['PIPELINING'] });
    expect(life.told).toEqual(['b@dest.example failed 5.1.1']);
    expect(host.copies.map((copy) => copy.recipients)).toEqual([['a@dest.example', 'c@dest.example']]);
  });
});

describe('a host that does not say no and does not say yes', () => {
  test('4xx for ever: told that it takes longer, then that it failed, with what was said last', async () => {
    const busy: Manners = async (conversation) => {
      while ((await conversation.serveUntil('RCPT')) !== undefined) conversation.say('450 4.2.1 mailbox busy');
    };
    const life = await meets([busy]);
    expect(life.told).toEqual(['a@dest.example delayed 4.2.1', 'a@dest.example failed 5.4.7']);
    expect(life.notices.at(-1)?.recipients[0]?.text).toContain('450 4.2.1 mailbox busy');
    expect(life.tookMs).toBeGreaterThanOrEqual(5 * 24 * 3_600_000);
    expect(life.tries).toBeLessThan(50);
  });

  const quick: Partial<SmtpTimes> = { greetingMs: 250, silenceMs: 250, connectMs: 500 };
  test.each(steps)('silent at %s: it is given up after a while and tried again', async (step) => {
    const silent: Manners = async (conversation) => {
      await conversation.serveUntil(step);
    };
    const life = await meets([silent], { times: quick, attempts: 1 });
    expect(life).toMatchObject({ end: 'later', told: [] });
    expect(life.whys[0]).toContain('did not answer in time');
    await letGo();
  });

  test('one that stops reading is given up', async () => {
    const deaf: Manners = async (conversation) => {
      await conversation.serveUntil('data');
      conversation.stopReading();
    };
    const message = Buffer.concat([large, large, large, large]);
    const life = await meets([deaf], { message, times: { ...quick, silenceMs: 500 }, attempts: 1 });
    expect(life).toMatchObject({ end: 'later', told: [] });
    expect(life.whys[0]).toContain('the host stopped reading');
  });

  const drip: Manners = async (conversation) => {
    while (!conversation.isGone) {
      conversation.raw('-');
      await pause(20);
    }
  };
  test('a greeting that drips for ever is given up', async () => {
    const drips: Manners = async (conversation) => {
      conversation.raw('220-');
      await drip(conversation);
    };
    const life = await meets([drips], { times: { connectMs: 200, greetingMs: 200 }, attempts: 1 });
    expect(life).toMatchObject({ end: 'later', told: [] });
    expect(life.whys[0]).toContain('greeting took too long');
    await letGo();
  });

  test('a last reply that drips for ever is given up', async () => {
    const drips: Manners = async (conversation) => {
      await conversation.serveUntil('dot');
      conversation.raw('250-');
      await drip(conversation);
    };
    const life = await meets([drips], { times: { totalMs: 500 }, attempts: 1 });
    expect(life).toMatchObject({ end: 'later', told: [] });
    expect(life.whys[0]).toContain('the transaction took too long');
    await letGo();
  });

  test('a host that says everything an octet at a time is understood', async () => {
    const slowly: Manners = async (conversation) => {
      const line = '250 2.0.0 taken\r\n';
      await conversation.serveUntil('dot');
      conversation.took();
      for (const octet of line) {
        conversation.raw(octet);
        await pause(2);
      }
      await conversation.serveUntil('nothing');
    };
    expect(await meets([slowly])).toMatchObject({ end: 'done', tries: 1, told: [] });
    expect(host.copies).toHaveLength(1);
  });
});

describe('a host that says too much', () => {
  const floods: readonly (readonly [what: string, piece: string])[] = [
    ['a line without end', 'x'.repeat(65_536)],
    ['lines without end', '250-more to come\r\n'.repeat(4_000)],
    ['empty lines without end', '\r\n'.repeat(30_000)],
    ['NUL without end', '\0'.repeat(65_536)],
    ['replies without end', '250 ok\r\n'.repeat(8_000)],
    ['421 without end', '421 4.3.2 closing\r\n'.repeat(4_000)],
  ];
  const rows = steps.flatMap((step) => floods.map(([what, piece]) => ({ step, what, piece })));
  test.each(rows)('$what at $step: it is cut off after a little', async ({ step, piece }) => {
    const flood: Manners = async (conversation) => {
      await conversation.serveUntil(step);
      while (!conversation.isGone) {
        conversation.raw(piece);
        await conversation.drained();
      }
    };
    const life = await meets([flood], { attempts: 1 });
    await letGo();
    expect(life.told).toEqual([]);
    // What lies in the kernel's buffers besides what was read.
    expect(host.said()).toBeLessThan(24_000_000);
  });
});

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
