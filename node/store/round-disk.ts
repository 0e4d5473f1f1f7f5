import { decode, encode } from '@ipld/dag-cbor';
import type { Database, RootDatabase } from 'lmdb';
import type { Address } from '../../policy/address.ts';
import type { Trust } from '../identity/certificate.ts';
import { checkRound, type Round, roundKey, type StatedRound } from './round.ts';

/** The newest refresh round of each identity, and since when others are gone (lmdb). Rounds are checked again whenever they are read. */
export class RoundDisk {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #rounds: Database<Buffer, Uint8Array>;
  readonly #gone: Database<Buffer, string>;

  constructor(root: RootDatabase<Buffer, string>) {
    this.#root = root;
    this.#rounds = root.openDB<Buffer, Uint8Array>('rounds', { encoding: 'binary', keyEncoding: 'binary' });
    this.#gone = root.openDB<Buffer, string>('gone', { encoding: 'binary' });
  }

  /** Keeps a round unless a newer one is here; false for one that does not hold. Durable when it resolves. */
  async put(stated: StatedRound, trust: Trust): Promise<boolean> {
    const round = checkRound(stated, trust);
    if (round === undefined) return false;
    const key = roundKey(round.address);
    await this.#root.transaction(() => {
      const here = this.get(key, trust);
      if (here !== undefined && here.round.completed >= round.completed) return;
      this.#rounds.putSync(key, Buffer.from(encode([stated.certificate, stated.statement])));
    });
    return true;
  }

  get(key: Uint8Array, trust: Trust): { stated: StatedRound; round: Round } | undefined {
    const bytes = this.#rounds.get(key);
    const stated = bytes === undefined ? undefined : read(bytes);
    const round = stated === undefined ? undefined : checkRound(stated, trust);
    return stated === undefined || round === undefined ? undefined : { stated, round };
  }

  goneSince(address: Address): number | undefined {
    const value = this.#gone.get(address);
    return value === undefined ? undefined : Number(value.readBigUInt64BE());
  }

  /** Writes down that the identity is gone, since the first time it was seen to be. */
  async gone(address: Address, now: number): Promise<void> {
    if (this.#gone.doesExist(address)) return;
    const value = Buffer.alloc(8);
    value.writeBigUInt64BE(BigInt(now));
    await this.#gone.put(address, value);
  }

  async back(address: Address): Promise<void> {
    if (this.#gone.doesExist(address)) await this.#gone.remove(address);
  }
}

function read(bytes: Uint8Array): StatedRound | undefined {
  try {
    const value: unknown = decode(bytes);
    if (!Array.isArray(value)) return undefined;
    const [certificate, statement] = value as readonly unknown[];
    return certificate instanceof Uint8Array && statement instanceof Uint8Array
      ? { certificate, statement }
      : undefined;
  } catch {
    return undefined;
  }
}
