import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deriveKey } from '../../../node/identity/derive.ts';
import { newestHeadsOf } from '../../../node/log/following.ts';
import { LogKeys } from '../../../node/log/head-seal.ts';
import { openLog } from '../../../node/log/log.ts';
import { logReferences } from '../../../node/log/references.ts';
import type { Folder } from '../../../node/mail/folder.ts';
import { gapNotice } from '../../../node/mail/gap-notice.ts';
import { LogFolder } from '../../../node/mail/log-folder.ts';
import type { MailPost } from '../../../node/mail/mail-post.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { checkHead } from '../../../node/store/head.ts';
import type { Store } from '../../../node/store/store.ts';
import { MemoryShelf } from '../log/memory-ring.ts';
import { silentLog } from '../overlay/fake-overlay.ts';
import { DiskPost } from './disk-post.ts';
import { makeUser, silent } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const user = makeUser('alice');
const messages = 120;
// The log begins with a record that tells the folder's birth, so the message n is its record n; groups have 50.
const [firstLost, lastLost] = [50, 99];
const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');

let disk: DiskPost;
let mailbox: Mailbox;
let opened = 0;
/** Blocks that no holder has, for now. */
const lost = new Set<string>();

/** The real store, but for what is lost; logs have no disk of their own. */
function lossyPost(): MailPost {
  const real = disk.post.store as Store;
  const fetch = async (key: Uint8Array): Promise<Uint8Array> => {
    if (lost.has(hex(key))) throw new StoreFault('missing', 'no holder has it');
    return real.fetch(key);
  };
  const store = new Proxy(real, {
    get(target, name) {
      if (name === 'fetch') return fetch;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const shelf = new MemoryShelf();
  return {
    store,
    openLog: async (options) => openLog({ ...options, store, disk: shelf, now: Date.now, log: silentLog }),
    logHeads: async ({ signing, secret, name }) => newestHeadsOf({ store, writer: signing.public, secret, name }),
    logReferences: async ({ signing, secret, name }) => logReferences({ store, writer: signing.public, secret, name }),
  };
}

/** A machine that has nothing of its own. */
async function openAnew(create = false): Promise<Folder> {
  const dir = path.join(disk.dir, `mail ${opened++}`);
  mailbox = await openMailbox({ post: lossyPost(), user, dir, create, now: Date.now, log: silent });
  return inbox();
}

async function inbox(): Promise<Folder> {
  const folder = await mailbox.folder('INBOX');
  if (folder === undefined) throw new Error('no INBOX');
  return folder;
}

/** Loses the block with the second fifty records of the folder's log. */
async function lose(folder: Folder): Promise<void> {
  if (!(folder instanceof LogFolder)) throw new Error('a folder of another kind');
  const secret = deriveKey(deriveKey(user.keys.export(), 'mail/mailbox'), 'mail/log', Buffer.from(folder.logName));
  const heads = await newestHeadsOf({
    store: disk.post.store as Store,
    writer: user.keys.signing.public,
    secret,
    name: folder.logName,
  });
  const head = checkHead(heads[0] ?? new Uint8Array());
  if (head === undefined) throw new Error('no head');
  const group = new LogKeys(secret, folder.logName).open(head).levels[0]?.[1];
  if (group?.first !== firstLost) throw new Error('the groups are others');
  lost.add(hex(group.ref.key));
}

const uids = (folder: Folder): number[] => folder.entries().map(({ uid }) => uid);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);

beforeEach(async () => {
  lost.clear();
  disk = await DiskPost.open();
  const folder = await openAnew(true);
  for (let n = 1; n <= messages; n += 1)
    await folder.append(octets(`Subject: number ${n}`, '', 'text'), { flags: [], internalDate: n });
  await lose(folder);
  await mailbox.close();
});
afterEach(async () => {
  await mailbox.close();
  await disk.stop();
});

describe('a folder of which a part of the log is lost', () => {
  it('shows one message in its place that says so, under the last of the lost uids, and all others', async () => {
    const folder = await openAnew();
    expect(uids(folder)).toEqual([...range(1, firstLost - 1), lastLost, ...range(lastLost + 1, messages)]);
    const notice = await folder.bytes(lastLost);
    expect(Buffer.from(notice).toString()).toMatch(
      /^From: ePOST .*\r\nSubject: A part of this folder cannot be read\r\n/,
    );
    expect(folder.entry(lastLost)?.size).toBe(notice.length);
    for (const uid of [1, firstLost - 1, lastLost + 1, messages])
      expect(Buffer.from(await folder.bytes(uid)).toString()).toContain(`number ${uid}\r\n`);
  });

  it('goes on: new mail gets new uids, the stand-in can be flagged and is not copied', async () => {
    const folder = await openAnew();
    await folder.append(octets('Subject: new', '', 'text'), { flags: [], internalDate: 5 });
    expect(uids(folder).at(-1)).toBe(messages + 1);
    await folder.setFlags([lastLost], 'add', ['\\Seen']);
    expect(folder.entry(lastLost)?.flags).toEqual(['\\Seen']);
    await mailbox.create('copies');
    const copies = await mailbox.folder('copies');
    expect(await folder.copyTo(copies!, [1, lastLost, messages])).toMatchObject({ from: [1, messages] });
  });

  it('shows the messages again when a machine that had them is back', async () => {
    expect(uids(await openAnew())).toHaveLength(messages - (lastLost - firstLost));
    await mailbox.close();
    lost.clear();
    const folder = await openAnew();
    expect(uids(folder)).toEqual(range(1, messages));
    expect(await folder.bytes(lastLost)).not.toEqual(gapNotice);
  });
});
