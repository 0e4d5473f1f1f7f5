import { encode } from '@ipld/dag-cbor';
import type { RootDatabase } from 'lmdb';
import { type Address, parseAddress } from '../../../policy/address.ts';
import { NotifyFault } from '../fault.ts';
import { asBytes, asFields, asText, asTime } from '../field.ts';
import { type Bytes, openEnvironment, prefixRange } from '../table.ts';
import { decodeEpoch, type Epoch, encodeEpoch } from './epoch.ts';

// Of one group; what was said under an older key than the oldest kept cannot be read any more.
const maxEpochs = 100;

/** How far one speaker's log was taken in: the number that comes next, and the hash of the record before it (empty for none). */
export interface Mark {
  readonly next: number;
  readonly last: Uint8Array;
}

/** An epoch that a member has still to be told. */
export interface Owed {
  readonly group: Uint8Array;
  readonly number: number;
  readonly member: Address;
}

function bytesIn(root: RootDatabase, name: string): Bytes {
  return root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
}

function numbered(group: Uint8Array, number: number): Buffer {
  const at = Buffer.alloc(8);
  at.writeBigUInt64BE(BigInt(number));
  return Buffer.concat([group, at]);
}

function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid') throw new NotifyFault('damaged', 'a kept row without an address');
  return parsed.address;
}

/** What a row says; undefined where it is damaged: that is as if it were not there. */
function sound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof NotifyFault) return undefined;
    throw error;
  }
}

/**
 * What one identity's groups need over restarts, keys included: the folder is its owner's alone (0700). A resolved promise means synced to disk.
 */
export class GroupTable {
  readonly #root: RootDatabase;
  readonly #epochs: Bytes;
  readonly #marks: Bytes;
  readonly #owed: Bytes;

  constructor(dir: string) {
    this.#root = openEnvironment(dir);
    this.#epochs = bytesIn(this.#root, 'epochs');
    this.#marks = bytesIn(this.#root, 'marks');
    this.#owed = bytesIn(this.#root, 'owed');
  }

  /** All epochs that are kept, of all groups, older ones of a group first. */
  epochs(): Epoch[] {
    return [...this.#epochs.getRange()].flatMap(({ value }) => {
      const epoch = sound(() => {
        const fields = asFields(value, ['owner', 'body']);
        return decodeEpoch(asBytes(fields['body'], 1, value.length), addressOf(asText(fields['owner'], 320)));
      });
      return epoch ?? [];
    });
  }

  /** Keeps an epoch, and of the group's others the newest hundred. */
  async keepEpoch(epoch: Epoch): Promise<void> {
    const row = Buffer.from(encode({ owner: epoch.owner, body: encodeEpoch(epoch) }));
    const writes: Promise<unknown>[] = [this.#epochs.put(numbered(epoch.group, epoch.number), row)];
    const kept = [...this.#epochs.getKeys(prefixRange(epoch.group))];
    for (const key of kept.slice(0, Math.max(0, kept.length + 1 - maxEpochs))) writes.push(this.#epochs.remove(key));
    await Promise.all(writes);
  }

  mark(group: Uint8Array, writer: Uint8Array): Mark {
    const row = this.#marks.get(Buffer.concat([group, writer]));
    const none: Mark = { next: 0, last: new Uint8Array() };
    if (row === undefined) return none;
    const mark = sound(() => {
      const fields = asFields(row, ['next', 'last']);
      return { next: asTime(fields['next']), last: asBytes(fields['last'], 0, 32) };
    });
    return mark ?? none;
  }

  async keepMark(group: Uint8Array, writer: Uint8Array, { next, last }: Mark): Promise<void> {
    await this.#marks.put(Buffer.concat([group, writer]), Buffer.from(encode({ next, last })));
  }

  owed(): Owed[] {
    return [...this.#owed.getRange()].flatMap(({ key, value }) => {
      const member = sound(() => addressOf(value.toString()));
      if (member === undefined) return [];
      return { group: key.subarray(0, 32), number: Number(key.readBigUInt64BE(32)), member };
    });
  }

  async owe({ group, number, member }: Owed): Promise<void> {
    await this.#owed.put(owedKey(group, number, member), Buffer.from(member));
  }

  async settle({ group, number, member }: Owed): Promise<void> {
    await this.#owed.remove(owedKey(group, number, member));
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}

function owedKey(group: Uint8Array, number: number, member: Address): Buffer {
  return Buffer.concat([numbered(group, number), Buffer.from(member)]);
}
