import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImapFlow } from 'imapflow';
import { afterEach, expect, it } from 'vitest';
import type { Account } from '../../../node/access/account.ts';
import { imapLimits } from '../../../node/access/imap/limits.ts';
import { startImap } from '../../../node/access/imap/server.ts';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { generateIdentityKeys, signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { type Post, startPost } from '../../../node/post/post.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { octets } from '../mail/messages.ts';
import { until } from '../notify/ring.ts';
import { localTls, password, quickGate, silent } from './access-fixture.ts';

// A phone and a laptop of one user, each at a node of its own: real nodes over loopback, whose line can be cut, and a real IMAP client at each.
const authority = CertificateAuthority.create('example.org' as Domain, [], Date.now);
const address = 'alice@example.org' as Address;
const keys = generateIdentityKeys();
const { public: signingKey } = keys.signing;
const { public: sealingKey } = keys.sealing;
const certificate = authority.issueIdentity({ kind: 'user', address, signingKey, sealingKey, days: 30 });
const user = { address, keys, certificate };
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});

/** The only way to a node: what others know of it is this place, and it can be shut. */
class Line {
  readonly #sockets = new Set<net.Socket>();
  #open = true;
  target = 0;
  port = 0;

  static async lay(): Promise<Line> {
    const line = new Line();
    const server = net.createServer((from) => {
      if (!line.#open) return from.destroy();
      const to = net.connect(line.target, '127.0.0.1');
      for (const [socket, other] of [
        [from, to],
        [to, from],
      ] as const) {
        line.#sockets.add(socket);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          line.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
      return undefined;
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    line.port = (server.address() as net.AddressInfo).port;
    undo.push(() => {
      line.cut();
      server.close();
    });
    return line;
  }

  cut(): void {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#open = true;
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

interface Place {
  readonly post: Post;
  readonly line: Line;
  /** Its IMAP listener. */
  readonly port: number;
}

async function place(root: string, name: string, first?: Place): Promise<Place> {
  const seed = randomBytes(32);
  const line = await Line.lay();
  line.target = await freePort();
  const post = await startPost({
    ring: authority.ring,
    peerSeed: seed,
    certificate: authority.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner: address, days: 30 }),
    listen: [`/ip4/127.0.0.1/tcp/${line.target}`],
    announce: [`/ip4/127.0.0.1/tcp/${line.port}`],
    bootstrap:
      first === undefined ? [] : [`/ip4/127.0.0.1/tcp/${first.line.port}/p2p/${first.post.overlay.self.peerId}`],
    revocations: authority.revocations(),
    dir: path.join(root, name),
    now: Date.now,
    log: silent,
  });
  undo.push(async () => await post.stop());
  if (first !== undefined) await until(() => seesEachOther(first.post, post));
  const dir = path.join(root, `${name}-mail`);
  const mailbox = await openMailbox({ post, user, dir, create: first === undefined, now: Date.now, log: silent });
  undo.push(async () => await mailbox.close());
  const account: Account = {
    address,
    mailbox,
    ringDomains: [],
    ownership: async () => 'own',
    lookup: async () => ({ kind: 'none' }),
    submit: async () => ({ recipients: [] }),
  };
  const accounts = { login: async () => ({ kind: 'account' as const, account }) };
  const imap = await startImap({
    listen: [{ host: '127.0.0.1', port: 0, tls: 'implicit' }],
    tls: await localTls(),
    accounts,
    gate: quickGate(accounts),
    limits: imapLimits,
    now: Date.now,
    log: silent,
  });
  undo.push(async () => await imap.stop(100));
  return { post, line, port: imap.ports[0] ?? 0 };
}

function seesEachOther(one: Post, other: Post): boolean {
  return one.overlay.isUp(other.overlay.self.peerId) && other.overlay.isUp(one.overlay.self.peerId);
}

async function client({ port }: Place): Promise<ImapFlow> {
  const opened = new ImapFlow({
    host: '127.0.0.1',
    port,
    secure: true,
    tls: { rejectUnauthorized: false },
    auth: { user: address, pass: password },
    logger: false,
    qresync: true,
  });
  opened.on('error', () => undefined);
  await opened.connect();
  undo.push(() => opened.close());
  return opened;
}

/** A program that waits with IDLE, and what it was told. */
async function waiting(at: Place): Promise<string[]> {
  const told: string[] = [];
  const idle = await client(at);
  await idle.mailboxOpen('INBOX');
  idle.on('exists', ({ count }) => told.push(`exists ${count}`));
  idle.on('flags', ({ uid, flags }) => told.push(`flags ${uid} ${[...flags].join(' ')}`));
  idle.on('expunge', ({ uid }) => told.push(`expunged ${uid}`));
  void idle.idle().catch(() => undefined);
  return told;
}

/** All that a new session sees. */
async function seen(at: Place): Promise<unknown> {
  const session = await client(at);
  const folders = [];
  for (const { path: name } of await session.list()) {
    const opened = await session.mailboxOpen(name);
    const messages = [];
    if (opened.exists > 0) {
      for await (const { uid, flags, modseq, emailId, envelope, size, internalDate } of session.fetch('1:*', {
        flags: true,
        envelope: true,
        size: true,
        internalDate: true,
      }))
        messages.push({ uid, flags: [...(flags ?? [])].sort(), modseq, emailId, envelope, size, internalDate });
    }
    const { uidValidity, uidNext, highestModseq } = opened;
    folders.push({ name, uidValidity, uidNext, highestModseq, messages });
  }
  await session.logout();
  return folders;
}

/** Waits until both show the same; fails with the difference where they do not come to it. */
async function sameAtBoth(phone: Place, laptop: Place): Promise<void> {
  for (const giveUp = Date.now() + 30_000; ; await sleep(100)) {
    const both = [await seen(phone), await seen(laptop)];
    if (text(both[0]) === text(both[1])) return;
    if (Date.now() > giveUp) expect(both[0]).toEqual(both[1]);
  }
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one));

const mail = (subject: string): Buffer => Buffer.from(octets(`Subject: ${subject}`, '', 'text'));

it('a phone and a laptop at two nodes are told by IDLE what the other does, and after they were apart both show the same', async () => {
  const root = await mkdtemp(path.join(os.tmpdir(), 'epost-phone-'));
  undo.push(async () => await rm(root, { recursive: true, force: true }));
  const phone = await place(root, 'phone');
  const laptop = await place(root, 'laptop', phone);
  const toldPhone = await waiting(phone);
  const toldLaptop = await waiting(laptop);
  const [atPhone, atLaptop] = [await client(phone), await client(laptop)];

  await atPhone.append('INBOX', mail('one'), []);
  await atPhone.append('INBOX', mail('two'), []);
  await until(() => toldLaptop.includes('exists 2'));
  await atLaptop.mailboxOpen('INBOX');
  await atLaptop.messageFlagsAdd('1', ['\\Seen'], { uid: true });
  await until(() => toldPhone.includes('flags 1 \\Seen'));
  await atLaptop.messageDelete('2', { uid: true });
  await until(() => toldPhone.some((line) => line.startsWith('expunged')));
  await atLaptop.mailboxCreate('Plans');
  await sameAtBoth(phone, laptop);

  for (const { line } of [phone, laptop]) line.cut();
  await until(() => !phone.post.overlay.isUp(laptop.post.overlay.self.peerId));
  await until(() => !laptop.post.overlay.isUp(phone.post.overlay.self.peerId));
  await atPhone.append('INBOX', mail('apart, phone'), []);
  await atLaptop.append('INBOX', mail('apart, laptop'), ['\\Flagged']);
  await atPhone.mailboxOpen('INBOX');
  await atPhone.messageFlagsAdd('1', ['\\Answered'], { uid: true });
  await atLaptop.messageFlagsAdd('1', ['Work'], { uid: true });
  const known = { phone: toldPhone.length, laptop: toldLaptop.length };
  for (const { line } of [phone, laptop]) line.mend();
  const news = (told: string[], from: number): string => told.slice(from).join(', ');
  await until(() => /exists 3/.test(news(toldPhone, known.phone)) && /exists 3/.test(news(toldLaptop, known.laptop)));
  await sameAtBoth(phone, laptop);
  const merged = text(await seen(phone));
  for (const subject of ['one', 'apart, phone', 'apart, laptop']) expect(merged).toContain(`"subject":"${subject}"`);
  expect(merged).toContain('["Work","\\\\Answered","\\\\Seen"]');
}, 90_000);
