// A node with one reader's board, in a process of its own. Takes what it is as the first message, then does what it is asked.
import { checkIdentityCertificate, checkNodeCertificate } from '../../node/identity/certificate.ts';
import { importIdentityKeys } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { decodeRing } from '../../node/identity/ring.ts';
import { startPost } from '../../node/post/post.ts';
import type { Address } from '../../policy/address.ts';
import { silentLog } from '../node/overlay/fake-overlay.ts';
import { Board } from './board.ts';

export interface BoardNode {
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
  | { readonly ask: 'begin'; readonly readers: readonly Address[] }
  | { readonly ask: 'change'; readonly board: string; readonly readers: readonly Address[] }
  | { readonly ask: 'publish'; readonly board: string; readonly title: string; readonly text: string }
  | { readonly ask: 'boards' | 'notes' | 'stop' };

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const said = async (): Promise<unknown> => new Promise((resolve) => process.once('message', resolve));
const say = (answer: object): void => void process.send?.(answer);

const given = (await said()) as BoardNode;
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
const who = { certificate: certificate.certificate, keys: importIdentityKeys(bytes(given.keys)) };
// The ring may still be coming together: a board begun before the others are there is begun when they are.
const board = await opened();
say({ answer: `${post.overlay.self.addresses[0]}/p2p/${post.overlay.self.peerId}` });

async function opened(): Promise<Board> {
  for (;;) {
    try {
      return await Board.open(post, who);
    } catch (error) {
      if (!process.connected) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function answer(asked: Asked): Promise<unknown> {
  switch (asked.ask) {
    case 'begin':
      return board.begin(asked.readers);
    case 'change':
      return board.change(asked.board, asked.readers);
    case 'publish':
      return board.publish(asked.board, asked.title, asked.text);
    case 'boards':
      return board.boards;
    case 'notes':
      return Promise.all(board.notes.map(async (note) => `${note.author}: ${note.title}: ${await board.read(note)}`));
    default:
      await board.close();
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
