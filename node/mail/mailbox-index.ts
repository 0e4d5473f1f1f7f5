import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { type LogItem, type Place, start } from '../log/place.ts';
import { MailFault } from './fault.ts';
import { isInferior } from './folder-name.ts';
import type { MailboxChange, SpecialUse } from './mailbox.ts';
import { placeFields, placeOf } from './place-fields.ts';

const specialUse = z.enum(['\\Sent', '\\Drafts', '\\Junk', '\\Trash', '\\Archive'] satisfies readonly SpecialUse[]);
const name = z.string().max(1_024);
const id = z.int().positive().max(0xffff_ffff);

const record = z.discriminatedUnion('kind', [
  /** `id` is the uidValidity and names the folder's log: never given twice in one mailbox, and growing. */
  z.strictObject({ kind: z.literal('create'), id, name, use: specialUse.nullable() }),
  /** With the id of the folder that was meant: by the time the record is applied another one may have the name. */
  z.strictObject({ kind: z.literal('remove'), id, name }),
  z.strictObject({ kind: z.literal('rename'), id, from: name, to: name }),
  z.strictObject({ kind: z.literal('subscribe'), name, on: z.boolean() }),
]);

/** One step in the history of the folder list. */
export type MailboxRecord = z.infer<typeof record>;

export function encodeMailboxRecord(value: MailboxRecord): Uint8Array {
  return encode(value);
}

const folder = z.strictObject({ id, name, use: specialUse.nullable() });
export type ListedFolder = z.infer<typeof folder>;

const snapshot = z.strictObject({
  v: z.literal(2),
  place: placeFields,
  lastId: z.int().nonnegative(),
  folders: z.array(folder),
  subscribed: z.array(name),
});

function read<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return schema.parse(decode(bytes));
  } catch (cause) {
    throw new MailFault('damaged', `${what} of another shape`, cause);
  }
}

/** The folder list: a pure function of the root log's items. */
export class MailboxIndex {
  place: Place = start;
  /** The highest id ever given. */
  lastId = 0;
  /** Items that are lost: the list may lack folders, or have some that were removed. */
  lost = 0;
  readonly folders = new Map<string, ListedFolder>();
  readonly subscribed = new Set<string>();

  /** Applies the next item; a record that no longer fits (a folder that is gone) changes nothing. */
  apply(item: LogItem): readonly MailboxChange[] {
    this.place = item.after;
    if (item.kind === 'missing') this.lost += item.count;
    return item.kind === 'record' ? this.#step(read(record, item.record, 'a mailbox record')) : [];
  }

  #step(step: MailboxRecord): readonly MailboxChange[] {
    switch (step.kind) {
      case 'create':
        return this.#create(step);
      case 'remove': {
        const listed = this.byId(step.id);
        if (listed === undefined) return [];
        this.folders.delete(listed.name);
        return [{ kind: 'removed', name: listed.name }];
      }
      case 'rename':
        return this.#rename(step.id, step.to);
      default:
        if (step.on) this.subscribed.add(step.name);
        else this.subscribed.delete(step.name);
        return [{ kind: step.on ? 'subscribed' : 'unsubscribed', name: step.name }];
    }
  }

  #create(step: ListedFolder): readonly MailboxChange[] {
    this.lastId = Math.max(this.lastId, step.id);
    if (this.byId(step.id) !== undefined) return [];
    const listed = { id: step.id, name: this.#free(step.name), use: step.use };
    this.folders.set(listed.name, listed);
    return [{ kind: 'created', name: listed.name }];
  }

  /** The name, or where another node gave it to another folder at the same time, that name with a number: no folder hides another. */
  #free(wanted: string): string {
    let free = wanted;
    for (let number = 2; this.folders.has(free); number++) free = `${wanted} (${number})`;
    return free;
  }

  /** RFC 3501 §6.3.5: inferior names go along, and (our choice) so do their subscriptions. */
  #rename(meant: number, to: string): readonly MailboxChange[] {
    const from = this.byId(meant)?.name;
    if (from === undefined || from === to) return [];
    const renamed = (old: string): string =>
      old === from || isInferior(old, from) ? to + old.slice(from.length) : old;
    const folders = [...this.folders.values()];
    const stay = folders.filter((listed) => renamed(listed.name) === listed.name);
    this.folders.clear();
    for (const listed of stay) this.folders.set(listed.name, listed);
    for (const listed of folders.filter((one) => !stay.includes(one))) {
      const name = this.#free(renamed(listed.name));
      this.folders.set(name, { ...listed, name });
    }
    const subscribed = [...this.subscribed].map(renamed);
    this.subscribed.clear();
    for (const listed of subscribed) this.subscribed.add(listed);
    return [{ kind: 'renamed', name: from, to }];
  }

  byId(wanted: number): ListedFolder | undefined {
    return [...this.folders.values()].find((listed) => listed.id === wanted);
  }

  byUse(use: SpecialUse): ListedFolder | undefined {
    return [...this.folders.values()].find((listed) => listed.use === use);
  }
}

export function encodeMailboxIndex(index: MailboxIndex): Uint8Array {
  const { place, lastId, folders, subscribed } = index;
  return encode({ v: 2, place, lastId, folders: [...folders.values()], subscribed: [...subscribed] });
}

export function decodeMailboxIndex(bytes: Uint8Array): MailboxIndex {
  const fields = read(snapshot, bytes, 'a mailbox snapshot');
  const index = new MailboxIndex();
  index.place = placeOf(fields.place);
  index.lastId = fields.lastId;
  for (const listed of fields.folders) index.folders.set(listed.name, listed);
  for (const listed of fields.subscribed) index.subscribed.add(listed);
  return index;
}
