import path from 'node:path';
import { fetchMessage, type MessageRef, storeMessage } from '../../node/mail/message.ts';
import { openMailbox } from '../../node/mail/open-mailbox.ts';
import { DiskPost } from '../node/mail/disk-post.ts';
import { makeUser, silent } from '../node/mail/mailbox-fixture.ts';
import { noise, withAttachment } from '../node/mail/messages.ts';

// One node, one process, the real store on a real disk: what the mail floor itself costs.
const KiB = 1024;

async function timed(count: number, atOnce: number, work: (number: number) => Promise<void>): Promise<number> {
  const numbers = Array.from({ length: count }, (_, number) => number).values();
  const begun = performance.now();
  const line = async (): Promise<void> => {
    for (const number of numbers) await work(number);
  };
  await Promise.all(Array.from({ length: atOnce }, line));
  return performance.now() - begun;
}

function say(what: string, count: number, ms: number, bytes = 0): void {
  const rate = (count / ms) * 1000;
  const volume = bytes === 0 ? '' : `  ${((rate * bytes) / 1e6).toFixed(0)} MB/s`;
  console.log(`  ${what.padEnd(44)} ${rate.toFixed(0).padStart(7)} /s${volume}`);
}

function message(size: number, number: number): Uint8Array {
  const filler = noise(Math.floor((size * 57) / 78), number + 1);
  return withAttachment(filler, { subject: `message ${number}` });
}

async function bench(): Promise<void> {
  const disk = await DiskPost.open();
  const { post, dir } = disk;
  const user = makeUser('alice');
  const lease = { identity: user.address, until: Date.now() + 1e9 };
  console.log('mail: ring of one, real store and logs');
  for (const [size, count] of [
    [4 * KiB, 2_000],
    [64 * KiB, 500],
    [5 * KiB * KiB, 20],
  ] as const) {
    const messages = Array.from({ length: count }, (_, number) => message(size, number));
    const refs: MessageRef[] = [];
    const put = await timed(count, 16, async (number) => {
      const bytes = messages[number] ?? new Uint8Array();
      refs[number] = await storeMessage(post.store, bytes, { salt: Buffer.alloc(32, number % 251), lease });
    });
    say(`store ${size / KiB} KiB with a base64 attachment`, count, put, size);
    const got = await timed(count, 16, async (number) => {
      const ref = refs[number];
      if (ref !== undefined) await fetchMessage(post.store, ref);
    });
    say(`fetch ${size / KiB} KiB, verified`, count, got, size);
  }

  const options = { post, user, dir: path.join(dir, 'mail'), now: Date.now, log: silent };
  let mailbox = await openMailbox({ ...options, create: true });
  const inbox = await mailbox.folder('INBOX');
  if (inbox === undefined) throw new Error('no INBOX');
  const small = Array.from({ length: 10_000 }, (_, number) => message(4 * KiB, number));
  const append = async (number: number): Promise<void> => {
    await inbox.append(small[number] ?? new Uint8Array(), { flags: [], internalDate: number });
  };
  say('append 4 KiB, one at a time', 500, await timed(500, 1, append));
  say('append 4 KiB, 32 at once', 9_500, await timed(9_500, 32, async (number) => append(number + 500)));
  const flag = async (number: number): Promise<void> => {
    await inbox.setFlags([number + 1], 'add', ['\\Seen']);
  };
  say('flag changes, one at a time', 1_000, await timed(1_000, 1, flag));
  say('flag changes, 64 at once', 9_000, await timed(9_000, 64, async (number) => flag(number + 1_000)));

  await mailbox.close();
  const begun = performance.now();
  mailbox = await openMailbox({ ...options, create: false });
  const again = await mailbox.folder('INBOX');
  const openMs = performance.now() - begun;
  console.log(`  open mailbox and INBOX of ${again?.entries().length} from its index  ${openMs.toFixed(0)} ms`);
  await mailbox.close();
  await disk.stop();
}

await bench();
