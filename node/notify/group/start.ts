import path from 'node:path';
import type { Address } from '../../../policy/address.ts';
import { NotifyFault } from '../fault.ts';
import type { Opened } from '../sealed.ts';
import { openSeenIds } from '../seen.ts';
import { decodeEpoch, type Epoch, firstEpoch, nextEpoch } from './epoch.ts';
import { GroupMember, type MemberParts } from './group-member.ts';
import { GroupTable } from './group-table.ts';
import type { Groups, GroupsOptions, GroupView } from './groups.ts';
import { Telling } from './telling.ts';

// A channel and some lanes each: what one person takes part in. Also near the number of channels a node is listened to for (overlay).
const maxGroups = 200;
// When the channel lost something and nothing after it shows that: half a minute late.
const lookEveryMs = 30_000;
// Members come up in bursts.
const settleMs = 1_000;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Opens the groups of one identity on this node, and goes on with what it kept. One node at a time speaks for an identity. */
export function openGroups(options: GroupsOptions): Groups {
  const table = new GroupTable(options.dir);
  const seen = openSeenIds({ dir: path.join(options.dir, 'seen'), now: options.now });
  return new OwnGroups({ ...options, table, seen });
}

class OwnGroups implements Groups {
  readonly #parts: MemberParts;
  readonly #telling: Telling;
  readonly #groups = new Map<string, GroupMember>();
  readonly #timer: NodeJS.Timeout;
  readonly #unlisten: () => void;
  #soon: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  /** Epochs are made and learned one at a time. */
  #changing: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(parts: MemberParts) {
    this.#parts = parts;
    this.#telling = new Telling(parts, parts.table);
    for (const epoch of parts.table.epochs()) this.#enter(epoch);
    this.#timer = setInterval(() => this.#look(), lookEveryMs);
    this.#unlisten = parts.onMembership(({ kind }) => {
      if (kind === 'up') this.#soon ??= setTimeout(() => this.#look(), settleMs);
    });
    this.#look();
  }

  #look(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.catchUp().catch((error: unknown) => this.#parts.log.error({ err: error }, 'groups could not be looked after'));
  }

  list(): readonly GroupView[] {
    return [...this.#groups.values()].map(({ id, current: { owner, members } }) => ({ id, owner, members }));
  }

  async create(others: readonly Address[]): Promise<string> {
    const { certificate, now } = this.#parts;
    return this.#inTurn(async () => {
      this.#mayEnter();
      const epoch = firstEpoch(certificate.address, others, now());
      await this.#begin(epoch);
      return hex(epoch.group);
    });
  }

  async change(group: string, others: readonly Address[]): Promise<void> {
    const { certificate, now } = this.#parts;
    await this.#inTurn(async () => {
      const { current } = this.#group(group);
      if (current.owner !== certificate.address)
        throw new NotifyFault('not-a-member', 'only its owner changes who is in a group');
      await this.#begin(nextEpoch(current, others, now()));
    });
  }

  /** What is owed first: once the epoch is on disk it can be said under, and all its members must get it. */
  async #begin(epoch: Epoch): Promise<void> {
    await this.#telling.owe(epoch);
    await this.#keep(epoch);
  }

  async learn({ from, body }: Pick<Opened, 'from' | 'body'>): Promise<boolean> {
    const epoch = decodeEpoch(body, from.address);
    if (epoch === undefined) return false;
    if (!epoch.members.includes(this.#parts.certificate.address))
      throw new NotifyFault('damaged', 'a group that this identity is not in');
    await this.#inTurn(async () => {
      const group = this.#groups.get(hex(epoch.group));
      if (group === undefined) this.#mayEnter();
      if (group?.has(epoch.number) !== true) await this.#keep(epoch);
    });
    return true;
  }

  #mayEnter(): void {
    if (this.#groups.size >= maxGroups)
      throw new NotifyFault('too-many', `an identity is in at most ${maxGroups} groups`);
  }

  async #keep(epoch: Epoch): Promise<void> {
    await this.#parts.table.keepEpoch(epoch);
    this.#enter(epoch);
    this.#look();
  }

  #enter(epoch: Epoch): GroupMember {
    const known = this.#groups.get(hex(epoch.group));
    const group = known ?? new GroupMember(this.#parts, epoch);
    this.#groups.set(group.id, group);
    group.note(epoch);
    return group;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#stopped) throw new NotifyFault('stopped', 'the groups were closed');
    const turn = this.#changing.then(work);
    this.#changing = turn.catch(() => undefined);
    return turn;
  }

  #group(id: string): GroupMember {
    const group = this.#groups.get(id);
    if (group === undefined) throw new NotifyFault('not-a-member', 'this identity is not in that group');
    return group;
  }

  async say(group: string, body: Uint8Array): Promise<void> {
    if (this.#stopped) throw new NotifyFault('stopped', 'the groups were closed');
    await this.#group(group).say(body);
  }

  /** What came to be known during a look is looked at once more. */
  async catchUp(): Promise<void> {
    this.#again = true;
    this.#looking ??= this.#lookAround();
    return this.#looking;
  }

  async #lookAround(): Promise<void> {
    // So that `#looking` is set before it is cleared.
    await Promise.resolve();
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        await this.#telling.tellAll((group) => this.#groups.get(hex(group))?.current);
        for (const group of this.#groups.values()) if (!this.#stopped) await group.catchUp();
      }
    } finally {
      this.#looking = undefined;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#unlisten();
    await this.#changing;
    await Promise.all([...this.#groups.values()].map(async (group) => group.stop()));
    await this.#looking;
    await this.#parts.seen.stop();
    await this.#parts.table.close();
  }
}
