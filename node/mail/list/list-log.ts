/** A list's log: written by its identity alone, read by that or, where its members are public, by anyone in the ring. */
import { deriveKey } from '../../identity/derive.ts';
import { LogFault } from '../../log/fault.ts';
import { type FollowOptions, followLog } from '../../log/following.ts';
import type { Log } from '../../log/log.ts';
import type { LogItem } from '../../log/place.ts';
import type { LogReferences } from '../../log/references.ts';
import type { LogName, Post } from '../../post/post.ts';
import type { ListRecord } from '../../store/directory.ts';
import { MailFault } from '../fault.ts';
import type { MailUser } from '../mail-post.ts';
import {
  changed,
  decodeChange,
  encodeChange,
  isMember,
  type ListChange,
  type ListState,
  maxMembers,
  noList,
} from './list-state.ts';

export type Visibility = ListRecord['members'];

const logName = 'list';

/** A secret that everyone in the ring can make: the members are signed by the list, and hidden from nobody there. */
function publicSecret(signingKey: Uint8Array): Uint8Array {
  return deriveKey(signingKey, 'mail/public-list');
}

function nameOf({ keys }: Pick<MailUser, 'keys'>, visibility: Visibility): LogName {
  const secret =
    visibility === 'public' ? publicSecret(keys.signing.public) : deriveKey(keys.export(), 'mail/private-list');
  return { signing: keys.signing, secret, name: logName };
}

async function stateOf(items: AsyncIterable<LogItem>): Promise<ListState> {
  let state = noList;
  for await (const item of items) {
    // Who left and who came in what is lost cannot be told: better no post than one to those who left.
    if (item.kind === 'missing') throw new MailFault('missing', 'a part of the list’s log is lost');
    const change = item.kind === 'record' ? decodeChange(item.record) : undefined;
    if (change !== undefined) state = changed(state, change);
  }
  return state;
}

export interface ListLogOptions {
  readonly post: Pick<Post, 'openLog' | 'logReferences'>;
  readonly list: MailUser;
  readonly visibility: Visibility;
  /** Only for a list that has just been made. */
  readonly create: boolean;
}

/** The list as its own node has it. */
export class ListLog {
  readonly #log: Log;
  readonly #references: () => Promise<LogReferences | undefined>;
  #state: ListState;

  private constructor(log: Log, references: () => Promise<LogReferences | undefined>, state: ListState) {
    this.#log = log;
    this.#references = references;
    this.#state = state;
  }

  /** Throws LogFault `missing`, `unavailable`, `damaged`, `fork`, or MailFault `missing`. */
  static async open({ post, list, visibility, create }: ListLogOptions): Promise<ListLog> {
    const name = nameOf(list, visibility);
    const log = await post.openLog({ ...name, owner: list.address, create });
    try {
      return new ListLog(log, async () => post.logReferences(name), await stateOf(log.read(0)));
    } catch (fault) {
      await log.close();
      throw fault;
    }
  }

  get state(): ListState {
    return this.#state;
  }

  /** At the write quorum when it resolves. Throws MailFault `too-large` for more members than a list has, LogFault `unavailable`. */
  async change(changes: readonly ListChange[]): Promise<void> {
    const next = changes.reduce(changed, this.#state);
    const added = changes.flatMap((change) => (change.kind === 'add' ? change.members : []));
    if (next.members.size === maxMembers && added.some((text) => !isMember(next, text)))
      throw new MailFault('too-large', `a list has ${maxMembers} members at most`);
    await this.#log.append(changes.map(encodeChange));
    // Another change may have come in between, and been written first.
    this.#state = changes.reduce(changed, this.#state);
  }

  /** The blocks that have to be kept leased. */
  async *blocks(): AsyncIterable<Uint8Array> {
    yield* (await this.#references())?.blocks ?? [];
  }

  async close(): Promise<void> {
    await this.#log.close();
  }
}

/** A list with public members, as the ring has it now; undefined where it surely has none. Throws LogFault, MailFault `missing`. */
export async function readPublicList(
  store: FollowOptions['store'],
  signingKey: Uint8Array,
): Promise<ListState | undefined> {
  const log = await followLog({ store, writer: signingKey, secret: publicSecret(signingKey), name: logName });
  return log === undefined ? undefined : stateOf(log.read(0));
}

export function isLogMissing(fault: unknown): boolean {
  return fault instanceof LogFault && fault.code === 'missing';
}
