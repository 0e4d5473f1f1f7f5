import { afterEach, describe, expect, it } from 'vitest';
import { UserQuota } from '../../deploy/process/user-quota.ts';
import { type MailboxFixture, makeMailbox } from '../node/mail/mailbox-fixture.ts';

let fixture: MailboxFixture | undefined;
afterEach(async () => {
  await fixture?.stop();
  fixture = undefined;
});

const message = (length: number): Buffer => Buffer.from('Subject: x\r\n\r\n'.padEnd(length, 'y'));

async function quotaOf(account: () => { bytes: number; allowance: number }, now = () => 0): Promise<UserQuota> {
  fixture = await makeMailbox();
  return new UserQuota({ mailbox: fixture.mailbox, store: { account: async () => account() }, limitBytes: 1000, now });
}

async function append(folder: string, bytes: Buffer): Promise<void> {
  await (await fixture!.mailbox.folder(folder))!.append(bytes, { flags: [], internalDate: 0 });
}

describe('what a user is told that he uses', () => {
  it('is what his folders show, a message in two of them once', async () => {
    const quota = await quotaOf(() => ({ bytes: 0, allowance: 1000 }));
    await append('INBOX', message(100));
    await append('Sent', message(100));
    await append('Sent', message(50));
    expect(await quota.figure()).toEqual({ usedBytes: 150, limitBytes: 1000 });
  });

  it('is more, where the ring lets him have less than that: deleted mail that is still leased, and logs', async () => {
    const quota = await quotaOf(() => ({ bytes: 250, allowance: 500 }));
    await append('INBOX', message(100));
    expect(await quota.figure()).toEqual({ usedBytes: 500, limitBytes: 1000 });
  });

  it('is counted anew after some seconds, or when the clock was set back, and once for all who ask at a time', async () => {
    let [now, asked] = [100_000, 0];
    const quota = await quotaOf(
      () => {
        asked += 1;
        return { bytes: asked, allowance: 1000 };
      },
      () => now,
    );
    const figures = await Promise.all([quota.figure(), quota.figure()]);
    expect(figures.map(({ usedBytes }) => usedBytes)).toEqual([1, 1]);
    now += 10_000;
    expect((await quota.figure()).usedBytes).toBe(2);
    now -= 60_000;
    expect((await quota.figure()).usedBytes).toBe(3);
  });

  it('is asked for again after it could not be found out', async () => {
    let fails = true;
    const quota = await quotaOf(() => {
      if (fails) throw new Error('stopped');
      return { bytes: 1, allowance: 1000 };
    });
    await expect(quota.figure()).rejects.toThrow('stopped');
    fails = false;
    expect((await quota.figure()).usedBytes).toBe(1);
  });
});
