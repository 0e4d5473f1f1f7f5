import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { generateIdentityKeys, signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { nodePeerId } from '../../../node/identity/peer-id.ts';
import { localRecipient } from '../../../node/notify/local-recipient.ts';
import { compose } from '../../../node/notify/sealed.ts';
import { openSeenIds } from '../../../node/notify/seen.ts';
import { type Post, startPost } from '../../../node/post/post.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { quiet } from '../notify/network.ts';
import { until } from '../notify/ring.ts';

const authority = CertificateAuthority.create('example.org' as Domain, [], Date.now);
const revocations = authority.revocations();
const owner = 'alice@example.org' as Address;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-post-'));
});
afterEach(async () => rm(root, { recursive: true, force: true }));

const seed = randomBytes(32);
const certificate = authority.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 30 });

async function start(listen = '/ip4/127.0.0.1/tcp/0', bootstrap: string[] = []): Promise<Post> {
  return startPost({
    ring: authority.ring,
    peerSeed: seed,
    certificate,
    listen: [listen],
    bootstrap,
    revocations,
    dir: root,
    now: Date.now,
    log: quiet,
  });
}

describe('a node alone', () => {
  it('stores, logs, looks up and notifies, and has it all after a restart', async () => {
    let post = await start();
    const keys = generateIdentityKeys();
    const identity = authority.issueIdentity({
      kind: 'user',
      address: owner,
      signingKey: keys.signing.public,
      sealingKey: keys.sealing.public,
      days: 30,
    });
    expect(await post.store.publishIdentity({ certificate: identity.bytes })).toEqual({ copies: 1 });
    expect(await post.lookup(owner)).toMatchObject({ kind: 'found', certificate: { address: owner } });
    const how = { signing: keys.signing, secret: randomBytes(32), name: 'diary', owner };
    const log = await post.openLog({ ...how, create: true });
    await log.append([Buffer.from('first')]);
    await log.close();
    const letter = (name: string) =>
      compose({
        from: { certificate: identity, signing: keys.signing },
        to: identity,
        id: Buffer.from(name),
        body: Buffer.from(name),
        now: Date.now(),
      });
    expect(await post.notify.send(letter('1'))).toEqual({ kind: 'pending', copies: 1 });
    await post.stop();

    post = await start();
    const again = await post.openLog({ ...how, create: false });
    expect(again.length).toBe(1);
    await again.close();
    const seen = openSeenIds({ dir: `${root}/seen`, now: Date.now });
    const got: string[] = [];
    const trust = () => ({ ring: post.overlay.ring, revocations: post.overlay.revocations(), now: Date.now() });
    const accept = localRecipient({
      keys,
      certificate: identity,
      trust,
      seen,
      now: Date.now,
      handle: async (opened) => {
        got.push(Buffer.from(opened.body).toString());
        return { verdict: 'accepted' };
      },
    });
    post.notify.attach({ certificate: identity, accept });
    await until(() => got.length === 1 && post.notify.stats().outstanding === 0);
    await post.stop();
    await seen.stop();
  });

  it('knows that it is alone: nobody is there', async () => {
    const post = await start();
    expect(await post.lookup('carol@example.org' as Address)).toEqual({ kind: 'none' });
    await post.stop();
  });

  it('that was told of others and has met none does not say that somebody is not in the ring', async () => {
    const nobody = signingKeyFromSeed(randomBytes(32)).public;
    const post = await start(undefined, [`/ip4/127.0.0.1/tcp/1/p2p/${nodePeerId(nobody)}`]);
    expect(await post.lookup('carol@example.org' as Address)).toMatchObject({ kind: 'unknown' });
    await post.stop();
  });

  it('that was told of others and has met none does not begin a log that the ring may have', async () => {
    const nobody = signingKeyFromSeed(randomBytes(32)).public;
    const post = await start(undefined, [`/ip4/127.0.0.1/tcp/1/p2p/${nodePeerId(nobody)}`]);
    // Written while alone: that does not make what lies here the whole ring.
    await post.store.insert([], { identity: owner, until: 1 });
    const { signing } = generateIdentityKeys();
    const opened = post.openLog({ signing, secret: randomBytes(32), name: 'diary', owner, create: true });
    await expect(opened).rejects.toMatchObject({ code: 'unavailable' });
    await post.stop();
  });

  it('that cannot open its store leaves nothing running: the next try has the port and the folder to itself', async () => {
    await mkdir(root, { recursive: true });
    await writeFile(path.join(root, 'store'), 'a file where a folder should be');
    await expect(start('/ip4/127.0.0.1/tcp/0')).rejects.toThrow();
    await rm(path.join(root, 'store'));
    const post = await start();
    expect(post.overlay.isUp(post.overlay.self.peerId)).toBe(true);
    await post.stop();
  });
});
