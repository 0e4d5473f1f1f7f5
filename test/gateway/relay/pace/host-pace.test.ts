import { describe, expect, test } from 'vitest';
import { HostPace, readLaneNote } from '../../../../gateway/relay/pace/host-pace.ts';

function started(total = 10) {
  const kept = new Map<string, Uint8Array>();
  let now = 1_000_000;
  const marks = {
    getMark: async (key: string) => kept.get(key),
    setMark: async (key: string, value: Uint8Array) => {
      kept.set(key, value);
    },
  };
  const log = { warn: () => undefined };
  const open = () => new HostPace({ marks, total, now: () => now, random: () => 0.5, log });
  return { open, marks, pass: (ms: number) => (now += ms), now: () => now };
}

describe('the pace of all hosts', () => {
  test('lanes with the same servers are one group from the first answer on', () => {
    const pace = started().open();
    expect(pace.group('out:a.example')).toBe('out:a.example');
    pace.admit('out:a.example', 'mx.shared.example');
    pace.admit('out:b.example', 'mx.shared.example');
    expect([pace.group('out:a.example'), pace.group('out:b.example')]).toEqual([
      'mx.shared.example',
      'mx.shared.example',
    ]);
  });

  test('a group that is away is asked by one job at a time, and the others get its last words', () => {
    const { open, pass } = started();
    const pace = open();
    expect(pace.admit('a', 'g')).toEqual({ kind: 'go' });
    pace.began('a', 'g')({ kind: 'away', text: 'connection timed out' });
    const away = { kind: 'away', text: 'connection timed out' };
    expect(pace.admit('a', 'g')).toEqual(away);
    pass(11_000);
    expect([pace.admit('a', 'g'), pace.admit('b', 'g')]).toEqual([{ kind: 'go' }, away]);
    pace.began('a', 'g')({ kind: 'fine', tookMs: 5 });
    expect(pace.admit('b', 'g')).toEqual({ kind: 'go' });
  });

  test('a probe that comes to nothing lets the next one try', () => {
    const { open, pass } = started();
    const pace = open();
    pace.began('a', 'g')({ kind: 'away', text: 'x' });
    pass(11_000);
    pace.admit('a', 'g');
    pace.began('a', 'g')(undefined);
    expect(pace.admit('a', 'g')).toEqual({ kind: 'go' });
  });

  test('slow ones leave half of all places to those who are quick', () => {
    const { open, pass, now } = started(4);
    const pace = open();
    pace.began('quick', 'quick')({ kind: 'fine', tookMs: 10 });
    const ends = ['s1', 's2'].map((group) => pace.began(group, group));
    expect(pace.notBefore('new', now())).toBe(0);
    pass(6_000);
    expect(pace.notBefore('new', now())).toBeGreaterThan(now());
    expect(pace.notBefore('quick', now())).toBe(0);
    for (const end of ends) end({ kind: 'away', text: 'x' });
    expect(pace.notBefore('new', now())).toBe(0);
  });

  test('what was learned is shown, and taken up by the next process', async () => {
    const { open, marks, now } = started();
    const first = open();
    first.admit('out:a.example', 'mx.a.example');
    first.began('out:a.example', 'mx.a.example')({ kind: 'busy', text: '421 slow down' });
    expect(await readLaneNote(marks, 'out:a.example')).toMatchObject({ places: 1, said: { text: '421 slow down' } });
    const next = open();
    await next.recall('out:a.example');
    expect(next.group('out:a.example')).toBe('mx.a.example');
    expect(next.notBefore('mx.a.example', now())).toBe(now() + 2_000);
  });

  test('a note that cannot be read is no note', async () => {
    const { open, marks } = started();
    await marks.setMark('pace x', Buffer.from('{"places":-4}'));
    const pace = open();
    await pace.recall('x');
    expect(pace.places('x')).toBe(1);
  });

  test('what is kept of lanes and groups is bounded', () => {
    const { open, now } = started();
    const pace = open();
    for (let i = 0; i < 25_000; i += 1) pace.began(`l${i}`, `g${i}`)({ kind: 'busy', text: 'x' });
    const rests = ['g0', 'g24999'].map((group) => pace.notBefore(group, now()) > now());
    expect(rests).toEqual([false, true]);
  });
});
