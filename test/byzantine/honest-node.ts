// An honest node with one user, in a process of its own: does what it is asked, one thing after the other.
import { checkIdentityCertificate, checkNodeCertificate } from '../../node/identity/certificate.ts';
import { importIdentityKeys } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { decodeRing } from '../../node/identity/ring.ts';
import type { Log as PostLog } from '../../node/log/log.ts';
import { startPost } from '../../node/post/post.ts';
import type { ContentRef } from '../../node/store/content.ts';
import type { Address } from '../../policy/address.ts';
import { silentLog } from '../node/overlay/fake-overlay.ts';

export interface HonestNode {
  readonly ring: string;
  readonly revocations: string;
  readonly seed: string;
  readonly node: string;
  readonly certificate: string;
  readonly keys: string;
  readonly bootstrap: readonly string[];
  readonly dir: string;
}

export type Asked =
  | { readonly ask: 'put'; readonly text: string }
  | { readonly ask: 'get'; readonly ref: HexRef }
  | { readonly ask: 'append'; readonly log: string; readonly text: string; readonly create: boolean }
  | { readonly ask: 'records'; readonly log: string }
  | { readonly ask: 'heads'; readonly key: string }
  | { readonly ask: 'send'; readonly to: Address; readonly name: string; readonly text: string }
  | { readonly ask: 'got' | 'stats' | 'members' | 'evidence' | 'memory' | 'stop' };

/** A reference as it goes between processes. */
export interface HexRef {
  readonly key: string;
  readonly secret: string;
  readonly size: number;
  readonly kind: ContentRef['kind'];
}

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');
const said = async (): Promise<unknown> => new Promise((resolve) => process.once('message', resolve));
const say = (answer: object): void => void process.send?.(answer);

const given = (await said()) as HonestNode;
const ring = decodeRing(bytes(given.ring));
if (ring.kind === 'invalid') throw new Error(ring.reason);
const revocations = bytes(given.revocations);
const trust = { ring: ring.ring, revocations: new RevocationState(ring.ring, revocations), now: Date.now() };
const node = checkNodeCertificate(bytes(given.node), trust);
const certificate = checkIdentityCertificate(bytes(given.certificate), trust);
if (node.kind !== 'valid' || certificate.kind !== 'valid') throw new Error('a certificate is no good');
const post = await startPost({
  ring: ring.ring,
  peerSeed: bytes(given.seed),
  certificate: node.certificate,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: given.bootstrap,
  revocations,
  dir: given.dir,
  now: Date.now,
  log: silentLog,
});
const got: string[] = [];
const presence = await patiently(async () =>
  post.present({
    certificate: certificate.certificate,
    keys: importIdentityKeys(bytes(given.keys)),
    handle: async (opened) => {
      got.push(`${opened.from.address}: ${Buffer.from(opened.body).toString()}`);
      return { verdict: 'accepted' };
    },
    take: async () => undefined,
  }),
);
const logs = new Map<string, PostLog>();
say({ answer: `${post.overlay.self.addresses[0]}/p2p/${post.overlay.self.peerId}` });

/** The ring may still be coming together. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!process.connected) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function logNamed(name: string, create: boolean): Promise<PostLog> {
  const log = logs.get(name) ?? (await presence.openLog(name, create));
  logs.set(name, log);
  return log;
}

async function answer(asked: Asked): Promise<unknown> {
  switch (asked.ask) {
    case 'put': {
      const { key, secret, size, kind } = await presence.put(Buffer.from(asked.text));
      return { key: hex(key), secret: hex(secret), size, kind } satisfies HexRef;
    }
    case 'get': {
      const { key, secret, size, kind } = asked.ref;
      return Buffer.from(await presence.get({ key: bytes(key), secret: bytes(secret), size, kind })).toString();
    }
    case 'append':
      await (await logNamed(asked.log, asked.create)).append([Buffer.from(asked.text)]);
      return null;
    case 'records': {
      const records: string[] = [];
      for await (const item of (await logNamed(asked.log, false)).read(0))
        records.push(item.kind === 'record' ? Buffer.from(item.record).toString() : item.kind);
      return records;
    }
    case 'heads': {
      const { heads, sure } = await post.store.getHeads(bytes(asked.key));
      return { heads: heads.map(hex), sure };
    }
    case 'send':
      return presence.send(asked.to, Buffer.from(asked.name), Buffer.from(asked.text));
    case 'got':
      return got;
    case 'stats':
      return { store: await post.store.stats(), notify: post.notify.stats() };
    case 'members':
      return post.overlay.members().map(({ peerId }) => ({ peerId, up: post.overlay.isUp(peerId) }));
    case 'evidence':
      return post.conduct.list().map(({ subject, offence, count }) => ({ ...subject, offence, count }));
    case 'memory':
      return process.memoryUsage().rss;
    default:
      await presence.stop();
      await post.stop();
      return null;
  }
}

for (;;) {
  const asked = (await said()) as Asked;
  try {
    say({ answer: (await answer(asked)) ?? null });
  } catch (error) {
    say({ fault: String(error) });
  }
  if (asked.ask === 'stop') break;
}
process.disconnect();
