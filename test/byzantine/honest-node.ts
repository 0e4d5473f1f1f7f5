// An honest node with one user, in a process of its own.
import type { Log as PostLog } from '../../node/log/log.ts';
import type { Post } from '../../node/post/post.ts';
import type { Presence } from '../../node/post/presence.ts';
import type { ContentRef } from '../../node/store/content.ts';
import type { Address } from '../../policy/address.ts';
import { bytes, runProgram, type Who } from '../machines/post-program.ts';

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

interface State {
  readonly presence: Presence;
  /** What came, as sender and text. */
  readonly got: string[];
  readonly logs: Map<string, PostLog>;
}

const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');

async function begin(post: Post, who: Who): Promise<State> {
  const got: string[] = [];
  const presence = await post.present({
    ...who,
    handle: async (opened) => {
      got.push(`${opened.from.address}: ${Buffer.from(opened.body).toString()}`);
      return { verdict: 'accepted' };
    },
    take: async () => undefined,
  });
  return { presence, got, logs: new Map() };
}

async function logNamed(
  { presence, logs }: Pick<State, 'presence' | 'logs'>,
  name: string,
  create: boolean,
): Promise<PostLog> {
  const log = logs.get(name) ?? (await presence.openLog(name, create));
  logs.set(name, log);
  return log;
}

async function answer(asked: Asked, { presence, got, logs }: State, post: Post): Promise<unknown> {
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
      await (await logNamed({ presence, logs }, asked.log, asked.create)).append([Buffer.from(asked.text)]);
      return null;
    case 'records': {
      const records: string[] = [];
      for await (const item of (await logNamed({ presence, logs }, asked.log, false)).read(0))
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

await runProgram(begin, answer);
