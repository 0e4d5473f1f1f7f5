import { describe, expect, it } from 'vitest';
import type { Accounts } from '../../../node/access/account.ts';
import { LoginGate } from '../../../node/access/login-gate.ts';
import { Throttle, throttleLimits } from '../../../node/access/throttle.ts';
import { silent } from './access-fixture.ts';

describe('the throttle', () => {
  it('ten wrong passwords lock out that account from that address, and nobody else', () => {
    let now = 0;
    const throttle = new Throttle(() => now);
    for (let count = 0; count < throttleLimits.maxFailures; count += 1) {
      expect(throttle.permission('192.0.2.1', 'Alice@example.org').kind).toBe('try');
      throttle.failed('192.0.2.1', 'alice@example.org');
    }
    expect(throttle.permission('192.0.2.1', 'alice@example.org').kind).toBe('locked');
    expect(throttle.permission('::ffff:192.0.2.1', 'alice@example.org').kind).toBe('locked');
    expect(throttle.permission('192.0.2.2', 'alice@example.org').kind).toBe('try');
    expect(throttle.permission('192.0.2.1', 'bob@example.org').kind).toBe('try');
    now = throttleLimits.windowMs;
    expect(throttle.permission('192.0.2.1', 'alice@example.org').kind).toBe('try');
  });

  it('an IPv6 network is one guesser', () => {
    const throttle = new Throttle(() => 0);
    for (let count = 0; count < 10; count += 1) throttle.failed(`2001:db8::${count}`, 'alice');
    expect(throttle.permission('2001:db8:0:0:1:2:3:4', 'alice').kind).toBe('locked');
    expect(throttle.permission('2001:db8:0:1::4', 'alice').kind).toBe('try');
  });

  it('answers come later and later, up to a limit, and at once again after success', () => {
    const throttle = new Throttle(() => 0);
    const delays = Array.from({ length: 6 }, () => {
      throttle.failed('192.0.2.1', 'alice');
      return throttle.refusalDelayMs('192.0.2.1', 'alice');
    });
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    throttle.succeeded('192.0.2.1', 'alice');
    expect(throttle.refusalDelayMs('192.0.2.1', 'alice')).toBe(1_000);
  });

  it('guesses from many addresses slow the account down without locking it', () => {
    const throttle = new Throttle(() => 0);
    for (let count = 0; count < 100; count += 1) throttle.failed(`198.51.100.${count}`, 'alice');
    expect(throttle.refusalDelayMs('192.0.2.1', 'alice')).toBe(8_000);
    expect(throttle.permission('192.0.2.1', 'alice').kind).toBe('try');
  });

  it('forgets the oldest when there are too many to remember', () => {
    const throttle = new Throttle(() => 0, { ...throttleLimits, maxKeys: 30 });
    for (let count = 0; count < 10; count += 1) throttle.failed('192.0.2.1', 'alice');
    for (let count = 0; count < 30; count += 1) throttle.failed('192.0.2.9', `user${count}`);
    expect(throttle.permission('192.0.2.1', 'alice').kind).toBe('try');
  });
});

describe('the way to a password check', () => {
  function gate(answer: Awaited<ReturnType<Accounts['login']>>, tookMs = 0) {
    let now = 0;
    const tried: string[] = [];
    const slept: number[] = [];
    const accounts: Accounts = {
      login: async (username) => {
        tried.push(username);
        now += tookMs;
        return answer;
      },
    };
    const login = new LoginGate({ accounts, now: () => now, sleep: async (ms) => void slept.push(ms), log: silent });
    return { login, tried, slept };
  }
  const from = { ip: '192.0.2.1', signal: new AbortController().signal };

  it('the time that the check took is part of the wait, so that it does not show', async () => {
    const { login, slept } = gate({ kind: 'refused' }, 300);
    expect((await login.login('alice', 'x', from)).kind).toBe('refused');
    expect(slept).toEqual([700]);
  });

  it('who is locked out gets the same answer, and no password is tried', async () => {
    const { login, tried, slept } = gate({ kind: 'refused' });
    for (let count = 0; count < 12; count += 1) await login.login('alice', 'x', from);
    expect(tried).toHaveLength(10);
    expect(await login.login('alice', 'x', from)).toEqual({ kind: 'refused' });
    expect(slept.at(-1)).toBe(slept.at(-4));
  });

  it('a password of megabytes is not hashed', async () => {
    const { login, tried } = gate({ kind: 'refused' });
    expect((await login.login('alice', 'x'.repeat(5_000), from)).kind).toBe('refused');
    expect(tried).toEqual([]);
  });

  it('trouble finding out is no wrong password', async () => {
    const { login, slept } = gate({ kind: 'unavailable', reason: 'the mailbox is being opened' });
    expect((await login.login('alice', 'x', from)).kind).toBe('unavailable');
    expect(slept).toEqual([]);
  });

  it('a program that opens many connections at once gets in with all of them, a few at a time', async () => {
    let running = 0;
    let most = 0;
    const accounts: Accounts = {
      login: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        return { kind: 'account', account: {} as never };
      },
    };
    const limits = { ...throttleLimits, maxAtOnce: 3, maxWaiting: 20 };
    const login = new LoginGate({ accounts, now: () => 0, sleep: async () => undefined, log: silent, limits });
    const given = new AbortController();
    const others = { ip: '192.0.2.9', signal: from.signal };
    const all = Array.from({ length: 23 }, async () => login.login('alice', 'x', from));
    const oneMore = login.login('alice', 'x', from);
    const elsewhere = login.login('alice', 'x', others);
    expect((await oneMore).kind).toBe('unavailable');
    expect((await elsewhere).kind).toBe('account');
    const answers = (await Promise.all(all)).map(({ kind }) => kind);
    expect(answers).toEqual(Array.from({ length: 23 }, () => 'account'));
    // Three of this address and one of the other.
    expect(most).toBe(4);
    // Who hangs up while waiting takes no place.
    const held = Array.from({ length: 3 }, async () => login.login('alice', 'x', from));
    const leaving = login.login('alice', 'x', { ip: from.ip, signal: given.signal });
    given.abort();
    expect((await leaving).kind).toBe('unavailable');
    await Promise.all(held);
    expect((await login.login('alice', 'x', from)).kind).toBe('account');
  });

  it('guesses that wait their turn are not tried any more once the pair is locked out', async () => {
    const { login, tried } = gate({ kind: 'refused' });
    const answers = await Promise.all(Array.from({ length: 60 }, async () => login.login('alice', 'x', from)));
    expect(answers.every(({ kind }) => kind === 'refused')).toBe(true);
    expect(tried.length).toBeLessThan(throttleLimits.maxFailures + throttleLimits.maxAtOnce);
  });
});
