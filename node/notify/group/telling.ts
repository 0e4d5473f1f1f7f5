import { createHash } from 'node:crypto';
import { compose } from '../sealed.ts';
import { type Epoch, encodeEpoch } from './epoch.ts';
import type { GroupTable, Owed } from './group-table.ts';
import type { GroupsOptions } from './groups.ts';

/** The notification that tells a member an epoch has the same name each time it is sent: sent twice, it is one. */
function nameOf({ group, number, member }: Owed): Uint8Array {
  return createHash('sha256').update('epost/epoch\0').update(group).update(`${number}\0${member}`).digest();
}

/** Has each member told the epoch that he is in. What cannot be sent now is on disk, and is tried again. */
export class Telling {
  readonly #options: Pick<GroupsOptions, 'certificate' | 'keys' | 'notify' | 'lookup' | 'now' | 'log'>;
  readonly #table: GroupTable;

  constructor(options: GroupsOptions, table: GroupTable) {
    this.#options = options;
    this.#table = table;
  }

  /** Resolves when it is certain, even over a crash, that all will be told. */
  async owe({ group, number, members }: Epoch): Promise<void> {
    const others = members.filter((member) => member !== this.#options.certificate.address);
    await Promise.all(others.map(async (member) => this.#table.owe({ group, number, member })));
  }

  /** Tells what is still owed. `epochOf` gives the newest epoch of a group: an older one is not worth telling any more. Never rejects. */
  async tellAll(epochOf: (group: Uint8Array) => Epoch | undefined): Promise<void> {
    for (const owed of this.#table.owed()) {
      const epoch = epochOf(owed.group);
      try {
        if (epoch?.number !== owed.number || (await this.#tell(owed, epoch))) await this.#table.settle(owed);
      } catch (error) {
        this.#options.log.warn(
          { err: error, member: owed.member },
          'a member could not be told of a group; tried again',
        );
      }
    }
  }

  /** True when it is told, or never can be. */
  async #tell(owed: Owed, epoch: Epoch): Promise<boolean> {
    const { certificate, keys, notify, lookup, now, log } = this.#options;
    const found = await lookup(owed.member);
    if (found.kind === 'unknown') return false;
    if (found.kind !== 'found') {
      log.warn({ member: owed.member }, 'a member of a group is not in the ring');
      return true;
    }
    const from = { certificate, signing: keys.signing };
    const sealed = compose({ from, to: found.certificate, id: nameOf(owed), body: encodeEpoch(epoch), now: now() });
    return (await notify.send(sealed)).kind === 'pending';
  }
}
