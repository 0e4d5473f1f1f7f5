import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { generateIdentityKeys } from '../../node/identity/keys.ts';
import { localRecipient } from '../../node/notify/local-recipient.ts';
import type { Notify } from '../../node/notify/notify.ts';
import { compose } from '../../node/notify/sealed.ts';
import { openSeenIds } from '../../node/notify/seen.ts';
import { startNotify } from '../../node/notify/start.ts';
import type { Lookup } from '../../node/store/directory.ts';
import { address, silentLog } from '../node/overlay/fake-overlay.ts';
import { makeRing } from '../node/overlay/ring-fixture.ts';

// Three real nodes in one process (TCP, Noise, Yamux on loopback), real disks, real signatures. The look-up is in memory, as the
// store's cache makes it for a busy recipient.
const burst = 5000;
const atOnce = 256;
const single = 500;

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
  home.attach({ certificate: bob.certificate, accept });
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

  const perSecond = (ms: number): string => ((burst / ms) * 1000).toFixed(0);
  console.log(`notify: three real nodes in one process, ${burst} notifications, ${atOnce} at once`);
  console.log(`  pending at the quorum   ${perSecond(pendingAfter)} /s`);
  console.log(`  answered by receipt     ${perSecond(answeredAfter)} /s`);
  console.log(
    `  direct latency          p50 ${quantile(latencies, 0.5).toFixed(1)} ms, p99 ${quantile(latencies, 0.99).toFixed(1)} ms (send to handler, one at a time)`,
  );
  await Promise.all(floors.map(async (floor) => floor.stop()));
  await seen.stop();
  await ring.stop();
  await rm(root, { recursive: true, force: true });
}

await bench();
