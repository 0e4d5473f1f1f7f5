import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Proof, Suppression, suppressionMs } from '../../../gateway/relay/suppression.ts';
import { type HostileHost, hostileHost, type Manners } from './hostile/hostile-host.ts';
import { lifeOf } from './hostile/life-of-mail.ts';

let now: number;
let kept: Map<string, { value: Uint8Array; until: number }>;
let suppression: Suppression;
const marks = {
  getMark: async (key: string) => {
    const mark = kept.get(key);
    return mark !== undefined && mark.until > now ? mark.value : undefined;
  },
  setMark: async (key: string, value: Uint8Array, until: number) => {
    expect(value.length).toBeLessThanOrEqual(16 * 1024);
    kept.set(key, { value, until });
  },
};
const proof = (trace: string, status = '5.1.1'): Proof => ({ at: now, trace, status, said: '550 no such user' });
const isSuppressed = async (address: string): Promise<boolean> =>
  (await suppression.look(address)).suppressed !== undefined;

beforeEach(() => {
  now = 1_000_000;
  kept = new Map();
  suppression = new Suppression(marks, () => now);
});

describe('an address', () => {
  test('is suppressed by two messages, for two weeks, with what was said to each', async () => {
    expect(await suppression.refused('a@dest.example', proof('one'))).toBe(false);
    expect(await isSuppressed('a@dest.example')).toBe(false);
    now += 1_000;
    expect(await suppression.refused('A@dest.example', proof('two', '5.2.1'))).toBe(true);
    expect((await suppression.look('a@dest.example')).suppressed).toMatchObject({
      since: now,
      until: now + suppressionMs,
      proofs: [
        { trace: 'one', status: '5.1.1' },
        { trace: 'two', status: '5.2.1' },
      ],
    });
    now += suppressionMs;
    expect(await isSuppressed('a@dest.example')).toBe(false);
  });

  const harmless: readonly (readonly [why: string, act: () => Promise<unknown>])[] = [
    [
      'one message counts once, however often it is refused',
      async () => suppression.refused('a@x.example', proof('one')),
    ],
    ['a full mailbox is not dead', async () => suppression.refused('a@x.example', proof('two', '5.2.2'))],
    ['a refusal of us is not his death', async () => suppression.refused('a@x.example', proof('two', '5.7.1'))],
    ['a refusal without a code proves nothing', async () => suppression.refused('a@x.example', proof('two', '5.0.0'))],
    ['another is another', async () => suppression.refused('b@x.example', proof('two'))],
    [
      'a success in between clears it',
      async () => {
        await suppression.clear('a@x.example');
        await suppression.refused('a@x.example', proof('two'));
      },
    ],
    [
      'two weeks in between, and it is as if nothing had been',
      async () => {
        now += suppressionMs;
        await suppression.refused('a@x.example', proof('two'));
      },
    ],
  ];
  test.each(harmless)('%s', async (_why, act) => {
    await suppression.refused('a@x.example', proof('one'));
    await act();
    expect(await isSuppressed('a@x.example')).toBe(false);
    expect(await suppression.list()).toEqual([]);
  });

  test('is added and removed by the postmaster, and listed meanwhile', async () => {
    await suppression.add('b@x.example', 'he asked us to');
    await suppression.add('a@x.example', 'he too');
    expect((await suppression.list()).map(({ address, because }) => [address, because])).toEqual([
      ['a@x.example', 'he too'],
      ['b@x.example', 'he asked us to'],
    ]);
    expect(await suppression.clear('b@x.example')).toBe(true);
    expect(await suppression.clear('b@x.example')).toBe(false);
    expect((await suppression.list()).map(({ address }) => address)).toEqual(['a@x.example']);
  });

  test('of whom what is kept cannot be read is tried', async () => {
    await suppression.add('a@x.example', 'x');
    for (const mark of kept.values()) mark.value = Buffer.from('{"address":1}');
    expect(await suppression.look('a@x.example')).toEqual({ isSuspect: false });
  });

  test('many at once are all listed, and the list is bounded whatever comes', async () => {
    await Promise.all(Array.from({ length: 200 }, async (_, i) => suppression.add(`u${i}@x.example`, 'x')));
    expect(await suppression.list()).toHaveLength(200);
    for (let i = 0; i < 4_000; i += 1) await suppression.add(`${'x'.repeat(300)}${i}@x.example`, 'x');
    expect((await suppression.list()).length).toBeLessThan(4_000);
  });
});

describe('mail', () => {
  let host: HostileHost;
  afterEach(() => host.close());

  test('to a dead address is refused by its host twice, and the third is told at once without being tried', async () => {
    const refuses: Manners = async (conversation) => {
      while ((await conversation.serveUntil('RCPT')) !== undefined) conversation.say('550 5.1.1 no such user here');
    };
    host = await hostileHost([refuses]);
    const shared = new Map<string, Uint8Array>();
    const send = async (trace: string) => lifeOf({ port: host.port, marks: shared, body: { trace } });
    await send('one');
    const second = await send('two');
    expect(second.events).toContainEqual({ what: 'suppression', recipient: 'a@dest.example' });
    const connections = host.connections();
    const third = await send('three');
    expect(host.connections()).toBe(connections);
    expect(third.told).toEqual(['a@dest.example failed 5.1.1']);
    const text = third.notices[0]?.recipients[0]?.text ?? '';
    expect(text).toContain('550 5.1.1 no such user here');
    expect(text).toContain('epost suppression remove a@dest.example');
    expect(third.notices[0]?.recipients[0]?.diagnostic).toBeUndefined();
  });

  test('that arrives clears what was held against its address', async () => {
    const refusesOnce: Manners = async (conversation) => {
      await conversation.serveUntil('RCPT');
      conversation.say('550 5.1.1 no such user here');
      await conversation.serveUntil('nothing');
    };
    host = await hostileHost([refusesOnce, undefined, refusesOnce, undefined]);
    const shared = new Map<string, Uint8Array>();
    const told: (readonly string[])[] = [];
    for (const trace of ['one', 'two', 'three', 'four'])
      told.push((await lifeOf({ port: host.port, marks: shared, body: { trace } })).told);
    const failed = ['a@dest.example failed 5.1.1'];
    expect(told).toEqual([failed, [], failed, []]);
    expect(host.copies).toHaveLength(2);
  });
});
