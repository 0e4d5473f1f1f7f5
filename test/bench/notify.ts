import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { generateIdentityKeys, signingKeyFromSeed } from '../../node/identity/keys.ts';
import { localRecipient } from '../../node/notify/local-recipient.ts';
import type { Notify } from '../../node/notify/notify.ts';
import { compose } from '../../node/notify/sealed.ts';
import { openSeenIds } from '../../node/notify/seen.ts';
import { startNotify } from '../../node/notify/start.ts';
import { type Post, startPost } from '../../node/post/post.ts';
import type { Presence } from '../../node/post/presence.ts';
import type { Lookup } from '../../node/store/directory.ts';
import { address, issueUser, silentLog, testDomain } from '../node/overlay/fake-overlay.ts';
import { makeRing } from '../node/overlay/ring-fixture.ts';

// Three real nodes in one process (TCP, Noise, Yamux on loopback), real disks, real signatures. The look-up is in memory, as the
// store's cache makes it for a busy recipient.
const burst = 5000;
const atOnce = 256;
const single = 500;
const delegatedSingle = 200;
const away = 10_000;
const groupSize = 10;
const sayings = 200;

/** The value below which `share` of the sorted values lie. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

async function bench(): Promise<void> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'epost-bench-notify-'));
  const ring = await makeRing(3);
  const overlays = ring.nodes.map(({ overlay }) => overlay);
  const directory = new Map<string, Lookup>();
  const person = (name: string, home: number) => {
    const keys = generateIdentityKeys();
    const signingKey = keys.signing.public;
    const sealingKey = keys.sealing.public;
    const who = address(`${name}@example.org`);
    const certificate = ring.ca.issueIdentity({ kind: 'user', address: who, signingKey, sealingKey, days: 1 });
    const contacts = [overlays[home]?.self.peerId ?? ''];
    directory.set(who, { kind: 'found', certificate, record: { address: who, version: 1, contacts, publishedAt: 0 } });
    return { keys, certificate };
  };
  const store = { lookupIdentity: async (who: string): Promise<Lookup> => directory.get(who) ?? { kind: 'none' } };
  const floors = await Promise.all(
    overlays.map(async (overlay, number) =>
      startNotify({ overlay, store, dir: path.join(root, `${number}`), now: Date.now, log: silentLog }),
    ),
  );
  const [sender, , home] = floors as [Notify, Notify, Notify];
  const alice = person('alice', 0);
  const bob = person('bob', 2);
  const seen = openSeenIds({ dir: path.join(root, 'seen'), now: Date.now });
  const arrived = new Map<string, number>();
  let receipts = 0;
  sender.onReceipt(() => receipts++);
  const trust = () => ({ ring: ring.ring, revocations: overlays[2]!.revocations(), now: Date.now() });
  const accept = localRecipient({
    ...bob,
    trust,
    seen,
    now: Date.now,
    handle: async (opened) => {
      arrived.set(Buffer.from(opened.body).toString(), performance.now());
      return { verdict: 'accepted' };
    },
  });
  const attach = (): (() => void) => home.attach({ certificate: bob.certificate, accept });
  let detach = attach();
  const from = { certificate: alice.certificate, signing: alice.keys.signing };
  const send = async (name: string): Promise<void> => {
    const id = Buffer.from(name);
    const sealed = compose({ from, to: bob.certificate, id, body: Buffer.from(`letter ${name}`), now: Date.now() });
    const sent = await sender.send(sealed);
    if (sent.kind !== 'pending') throw new Error(sent.reason);
  };

  await Promise.all(Array.from({ length: 200 }, async (_, number) => send(`warm ${number}`)));
  await until(() => receipts === 200);

  const latencies: number[] = [];
  for (let number = 0; number < single; number++) {
    const begun = performance.now();
    await send(`single ${number}`);
    await until(() => arrived.has(`letter single ${number}`));
    latencies.push((arrived.get(`letter single ${number}`) ?? Number.NaN) - begun);
  }
  latencies.sort((a, b) => a - b);

  const begun = performance.now();
  const numbers = Array.from({ length: burst }, (_, number) => number).values();
  const line = async (): Promise<void> => {
    for (const number of numbers) await send(`burst ${number}`);
  };
  await Promise.all(Array.from({ length: atOnce }, line));
  const pendingAfter = performance.now() - begun;
  await until(() => receipts === 200 + single + burst);
  const answeredAfter = performance.now() - begun;

  // Delegated: nobody takes it directly; from the moment the recipient comes back.
  const delegated: number[] = [];
  for (let number = 0; number < delegatedSingle; number++) {
    detach();
    await send(`delegated ${number}`);
    const back = performance.now();
    detach = attach();
    await until(() => arrived.has(`letter delegated ${number}`));
    delegated.push((arrived.get(`letter delegated ${number}`) ?? Number.NaN) - back);
  }
  delegated.sort((a, b) => a - b);
  detach();
  const missed = Array.from({ length: away }, (_, number) => number).values();
  const before = arrived.size;
  const sending = async (): Promise<void> => {
    for (const number of missed) await send(`away ${number}`);
  };
  await Promise.all(Array.from({ length: atOnce }, sending));
  const back = performance.now();
  detach = attach();
  await until(() => arrived.size === before + away);
  const caughtUp = performance.now() - back;

  const perSecond = (ms: number): string => ((burst / ms) * 1000).toFixed(0);
  console.log(`notify: three real nodes in one process, ${burst} notifications, ${atOnce} at once`);
  console.log(`  pending at the quorum   ${perSecond(pendingAfter)} /s`);
  console.log(`  answered by receipt     ${perSecond(answeredAfter)} /s`);
  console.log(
    `  direct latency          p50 ${quantile(latencies, 0.5).toFixed(1)} ms, p99 ${quantile(latencies, 0.99).toFixed(1)} ms (send to handler, one at a time)`,
  );
  console.log(
    `  delegated latency       p50 ${quantile(delegated, 0.5).toFixed(1)} ms, p99 ${quantile(delegated, 0.99).toFixed(1)} ms (from the recipient's return; a copy lies at his own node)`,
  );
  console.log(
    `  catch-up of ${away}       ${(caughtUp / 1000).toFixed(1)} s, ${((away / caughtUp) * 1000).toFixed(0)} /s`,
  );
  await Promise.all(floors.map(async (floor) => floor.stop()));
  await seen.stop();
  await ring.stop();
  await rm(root, { recursive: true, force: true });
}

/** Ten real nodes in one process, a member each; one of them speaks. Until the ninth of the others has handled it. */
async function groupBench(): Promise<void> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'epost-bench-group-'));
  const authority = CertificateAuthority.create(testDomain, [], Date.now);
  const posts: Post[] = [];
  const members: Presence[] = [];
  const heard = new Map<string, number>();
  const ready = new Set<Presence>();
  for (let number = 0; number < groupSize; number++) {
    const seed = randomBytes(32);
    const { keys, certificate } = issueUser(authority, `member${number}@example.org`);
    const first = posts[0]?.overlay.self;
    const post = await startPost({
      ring: authority.ring,
      peerSeed: seed,
      certificate: authority.issueNode({
        peerKey: signingKeyFromSeed(seed).public,
        owner: certificate.address,
        days: 1,
      }),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap: first === undefined ? [] : [`${first.addresses[0]}/p2p/${first.peerId}`],
      revocations: authority.revocations(),
      dir: path.join(root, `${number}`),
      now: Date.now,
      log: silentLog,
    });
    posts.push(post);
    for (const other of posts)
      while (!other.overlay.isUp(post.overlay.self.peerId)) await new Promise((next) => setTimeout(next, 5));
    const presence = await post.present({
      certificate,
      keys,
      handle: async () => ({ verdict: 'accepted' }),
      take: async ({ body }) => {
        const name = Buffer.from(body).toString();
        heard.set(name, (heard.get(name) ?? 0) + 1);
      },
    });
    members.push(presence);
  }
  const [speaker, ...others] = members as [Presence, ...Presence[]];
  const group = await speaker.groups.create(others.map((_, number) => address(`member${number + 1}@example.org`)));
  await until(() => {
    for (const other of others) if (other.groups.list().length === 1) ready.add(other);
    return ready.size === others.length;
  });
  const latencies: number[] = [];
  const atQuorum: number[] = [];
  for (let number = -20; number < sayings; number++) {
    const begun = performance.now();
    await speaker.groups.say(group, Buffer.from(`saying ${number}`));
    const said = performance.now() - begun;
    await until(() => heard.get(`saying ${number}`) === others.length);
    // The first ones find their way while the channel comes together.
    if (number < 0) continue;
    atQuorum.push(said);
    latencies.push(performance.now() - begun);
  }
  for (const one of [latencies, atQuorum]) one.sort((a, b) => a - b);
  const shown = (sorted: readonly number[]): string =>
    `p50 ${quantile(sorted, 0.5).toFixed(1)} ms, p99 ${quantile(sorted, 0.99).toFixed(1)} ms`;
  console.log(`  group of ${groupSize}, said          ${shown(atQuorum)} (in the speaker's log at the quorum)`);
  console.log(`  group of ${groupSize}, heard by all  ${shown(latencies)}`);
  for (const member of members) await member.stop();
  for (const post of posts) await post.stop();
  await rm(root, { recursive: true, force: true });
}

await bench();
await groupBench();
