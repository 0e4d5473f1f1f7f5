import type { Address } from '../../../policy/address.ts';
import type { Log as PostLog } from '../../log/log.ts';
import type { Channel, FrameVerdict } from '../../overlay/channel.ts';
import { NotifyFault } from '../fault.ts';
import { clockSkewMs } from '../lifetime.ts';
import { PeerRates, type Rate } from '../rate.ts';
import type { SeenIds } from '../seen.ts';
import type { Epoch } from './epoch.ts';
import type { GroupTable } from './group-table.ts';
import type { GroupSaying, GroupsOptions } from './groups.ts';
import { Lane } from './lane.ts';
import { openSaying, type Saying, say } from './saying.ts';

/** Of one speaker by way of the channel. Ten people talking at once stay below; what is above is read from the log, which is paced by the reader. */
export const speakingRate: Rate = { perSecond: 20, burst: 200 };
// Logs looked at together: each is a question to three holders.
const lanesAtOnce = 4;

export interface MemberParts extends GroupsOptions {
  readonly table: GroupTable;
  readonly seen: SeenIds;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** One group as one member has it: its epochs, its channel, the own log, and a lane for each other speaker. */
export class GroupMember {
  readonly id: string;
  readonly #parts: MemberParts;
  readonly #epochs = new Map<number, Epoch>();
  readonly #group: Uint8Array;
  readonly #channel: Channel;
  readonly #rates: PeerRates;
  /** By signing key (hex): of members, so bounded with them. */
  readonly #lanes = new Map<string, Lane>();
  #current: Epoch;
  #own: Promise<PostLog> | undefined;
  #saying: Promise<unknown> = Promise.resolve();

  constructor(parts: MemberParts, epoch: Epoch) {
    this.#parts = parts;
    this.#current = epoch;
    this.#group = epoch.group;
    this.id = hex(this.#group);
    this.note(epoch);
    this.#rates = new PeerRates(speakingRate, parts.now);
    this.#channel = parts.channels.join(this.id, (frame) => this.#judge(frame));
  }

  get current(): Epoch {
    return this.#current;
  }

  has(number: number): boolean {
    return this.#epochs.has(number);
  }

  /** From now on this epoch is known as well. */
  note(epoch: Epoch): void {
    this.#epochs.set(epoch.number, epoch);
    if (epoch.number >= this.#current.number) this.#current = epoch;
  }

  // What comes by the channel.

  #judge(frame: Uint8Array): FrameVerdict {
    const opened = openSaying(frame, this.#epochs, this.#parts.trust());
    if (opened.kind !== 'opened') return opened.kind === 'later' || opened.honest ? 'drop' : 'offence';
    const { from, at, seq } = opened;
    // Late is no offence: who passed it on may know less than we. Older ones are in the log, for those who need them.
    if (!this.#current.members.includes(from.address) || Math.abs(this.#parts.now() - at) > clockSkewMs) return 'drop';
    if (from.address === this.#parts.certificate.address) return 'drop';
    const lane = this.#laneOf(from.address, from.signingKey);
    // A replay goes no further.
    if (!lane.isNew(seq) || this.#rates.draw(from.address, 1) === 0) return 'drop';
    lane.offer(seq, Uint8Array.from(frame));
    return 'pass';
  }

  #laneOf(address: Address, writer: Uint8Array): Lane {
    const known = this.#lanes.get(hex(writer));
    if (known !== undefined) return known;
    const { table, followLog, trust, log } = this.#parts;
    const lane = new Lane({
      writer,
      address,
      mark: table.mark(this.#group, writer),
      open: (bytes) => openSaying(bytes, this.#epochs, trust()),
      follow: async () => followLog(writer, this.#logName, this.#current.logSecret),
      take: async (saying) => this.#take(saying),
      keepMark: async (mark) => table.keepMark(this.#group, writer, mark),
      log,
    });
    this.#lanes.set(hex(writer), lane);
    return lane;
  }

  async #take({ from, id, at, body }: Saying): Promise<void> {
    const { seen, take, now } = this.#parts;
    if (seen.find(this.#group, id) !== undefined) return;
    const saying: GroupSaying = { group: this.id, from: from.address, id, at, body };
    await take(saying);
    await seen.keep(this.#group, id, new Uint8Array(), now());
  }

  /** Looks into the logs of all members, and a last time into those of whoever is none any more. Never rejects. */
  async catchUp(): Promise<void> {
    const { members } = this.#current;
    const left = [...this.#lanes].filter(([, { address }]) => !members.includes(address));
    const others = members.filter((address) => address !== this.#parts.certificate.address).values();
    const line = async (): Promise<void> => {
      for (const address of others) await this.#catchUpWith(address);
    };
    await Promise.all([...Array.from({ length: lanesAtOnce }, line), ...left.map(async ([, lane]) => lane.catchUp())]);
    for (const [key, lane] of left) {
      this.#lanes.delete(key);
      await lane.stop();
    }
  }

  async #catchUpWith(address: Address): Promise<void> {
    const found = await this.#parts.lookup(address).catch(() => undefined);
    if (found?.kind === 'found') await this.#laneOf(address, found.certificate.signingKey).catchUp();
  }

  // What is said.

  get #logName(): string {
    return `group/${this.id}`;
  }

  /** One at a time, since what is said names its place in the log. */
  async say(body: Uint8Array): Promise<void> {
    const saying = this.#saying.then(async () => this.#say(body));
    this.#saying = saying.catch(() => undefined);
    return saying;
  }

  async #say(body: Uint8Array): Promise<void> {
    const { certificate, keys, now, log } = this.#parts;
    const epoch = this.#current;
    if (!epoch.members.includes(certificate.address))
      throw new NotifyFault('not-a-member', 'this identity was put out of the group');
    const own = await this.#ownLog(epoch);
    const from = { certificate, signing: keys.signing };
    const place = own.length;
    const frame = say({ epoch, from, seq: place, body, now: now() });
    const { first } = await own.append([frame]);
    // Another writer's records were merged in between: its readers find it by the log.
    if (first !== place) return;
    await this.#channel
      .publish(frame)
      .catch((error: unknown) =>
        log.debug({ err: error, group: this.id }, 'the channel did not take it; the log has it'),
      );
  }

  async #ownLog(epoch: Epoch): Promise<PostLog> {
    this.#own ??= this.#parts.openLog(this.#logName, epoch.logSecret);
    try {
      return await this.#own;
    } catch (error) {
      this.#own = undefined;
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#channel.close();
    await this.#saying;
    await Promise.all([...this.#lanes.values()].map(async (lane) => lane.stop()));
    await (await this.#own?.catch(() => undefined))?.close();
  }
}
