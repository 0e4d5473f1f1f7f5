import {
  checkIdentityCertificate,
  checkNodeCertificate,
  type IdentityCertificate,
} from '../../node/identity/certificate.ts';
import { type IdentityKeys, importIdentityKeys } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { decodeRing } from '../../node/identity/ring.ts';
import { type Post, startPost } from '../../node/post/post.ts';
import { silentLog } from '../node/overlay/fake-overlay.ts';

/** What a machine's program is told first. Bytes in hex. */
export interface Given {
  readonly ring: string;
  readonly revocations: string;
  readonly seed: string;
  readonly node: string;
  readonly certificate: string;
  readonly keys: string;
  readonly bootstrap: readonly string[];
  readonly dir: string;
}

export interface Who {
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
}

export const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const said = async (): Promise<unknown> => new Promise((resolve) => process.once('message', resolve));
const say = (answer: object): void => void process.send?.(answer);

/**
 * The life of a {@link Machine}'s program: takes what it is as the first message, starts its node, then does what it is asked, one thing after the
 * other, until it is asked to `stop`. `begin` may be tried several times: the ring may still be coming together.
 */
export async function runProgram<State>(
  begin: (post: Post, who: Who) => Promise<State>,
  /** What it may be asked is the program's own matter. */
  answer: (asked: never, state: State, post: Post) => Promise<unknown>,
): Promise<void> {
  const given = (await said()) as Given;
  const { post, who } = await start(given);
  const state = await patiently(async () => begin(post, who));
  say({ answer: `${post.overlay.self.addresses[0]}/p2p/${post.overlay.self.peerId}` });
  for (;;) {
    const asked = (await said()) as { readonly ask: string };
    try {
      say({ answer: (await answer(asked as never, state, post)) ?? null });
    } catch (error) {
      say({ fault: String(error) });
    }
    if (asked.ask === 'stop') break;
  }
  process.disconnect();
}

async function start(given: Given): Promise<{ post: Post; who: Who }> {
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
  return { post, who: { certificate: certificate.certificate, keys: importIdentityKeys(bytes(given.keys)) } };
}

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
