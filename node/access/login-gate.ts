import type { Accounts, Login, ScramAccounts } from './account.ts';
import type { Clock, Log } from './log.ts';
import { Throttle, type ThrottleLimits, throttleLimits } from './throttle.ts';
import { Turns } from './turns.ts';

/** Waits; resolves early when the signal fires. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

export const sleep: Sleep = async (ms, signal) => {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener('abort', finish);
  });
};

// Longer ones are no passwords; hashing them is work for nothing.
const maxPasswordBytes = 1_024;
const maxUsernameBytes = 320;

/**
 * The one way to a password check, shared by IMAP and submission. A refusal is said after a delay that grows with
 * failures and is counted from the beginning of the check, so that a wrong password, an unknown user and a locked-out
 * pair look and take the same.
 */
export class LoginGate {
  readonly #accounts: Accounts;
  readonly #throttle: Throttle;
  readonly #limits: ThrottleLimits;
  readonly #turns: Turns;
  readonly #now: Clock;
  readonly #sleep: Sleep;
  readonly #log: Log;

  constructor(options: { accounts: Accounts; now: Clock; sleep: Sleep; log: Log; limits?: ThrottleLimits }) {
    this.#accounts = options.accounts;
    this.#now = options.now;
    this.#sleep = options.sleep;
    this.#log = options.log;
    this.#limits = options.limits ?? throttleLimits;
    this.#throttle = new Throttle(options.now, this.#limits);
    this.#turns = new Turns(this.#limits.maxAtOnce, this.#limits.maxWaiting);
  }

  async login(username: string, password: string, from: { ip: string; signal: AbortSignal }): Promise<Login> {
    return await this.attempt(username, from, async () =>
      Buffer.byteLength(password) > maxPasswordBytes
        ? { kind: 'refused' }
        : await this.#accounts.login(username, password, { ip: from.ip }),
    );
  }

  get scram(): ScramAccounts | undefined {
    return this.#accounts.scram;
  }

  /** The same for a log-in of another kind: `check` is only asked when the name and the address are not locked out. */
  async attempt(
    username: string,
    from: { ip: string; signal: AbortSignal },
    check: () => Promise<Login>,
  ): Promise<Login> {
    const started = this.#now();
    const answer = await this.#check(username, from, check);
    if (answer.kind !== 'refused') return answer;
    const waited = this.#now() - started;
    await this.#sleep(Math.max(0, this.#throttle.refusalDelayMs(from.ip, username) - waited), from.signal);
    return answer;
  }

  async #check(
    username: string,
    { ip, signal }: { ip: string; signal: AbortSignal },
    check: () => Promise<Login>,
  ): Promise<Login> {
    if (Buffer.byteLength(username) > maxUsernameBytes) {
      return this.#refused(ip, username.slice(0, maxUsernameBytes));
    }
    if (this.#isLocked(ip, username)) return { kind: 'refused' };
    if (!(await this.#turns.take(ip, signal))) return { kind: 'unavailable', reason: 'too many log-ins at once' };
    try {
      // Those before it may have been wrong.
      if (this.#isLocked(ip, username)) return { kind: 'refused' };
      const answer = await check();
      if (answer.kind === 'account') this.#throttle.succeeded(ip, username);
      return answer.kind === 'refused' ? this.#refused(ip, username) : answer;
    } finally {
      this.#turns.leave(ip);
    }
  }

  #isLocked(ip: string, username: string): boolean {
    const permission = this.#throttle.permission(ip, username);
    if (permission.kind !== 'locked') return false;
    this.#log.warn({ ip, username, untilMs: permission.untilMs }, 'log-in not tried: too many wrong passwords');
    return true;
  }

  #refused(ip: string, username: string): Login {
    this.#throttle.failed(ip, username);
    this.#log.info({ ip, username: username.slice(0, maxUsernameBytes) }, 'log-in refused');
    return { kind: 'refused' };
  }
}
