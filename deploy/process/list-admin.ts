import { z } from 'zod';
import { readPublicList } from '../../node/mail/list/list-log.ts';
import { type ListChange, type ListState, maxChanged } from '../../node/mail/list/list-state.ts';
import type { Post } from '../../node/post/post.ts';
import { type ListRecord, maxOwners, postings } from '../../node/store/directory.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import type { LocalLists } from './local-lists.ts';

const text = z.string().max(320);
const address = text.transform((given, context): Address => {
  const parsed = parseAddress(given);
  if (parsed.kind === 'address') return parsed.address;
  context.addIssue({ code: 'custom', message: parsed.reason });
  return z.NEVER;
});
const showAsked = z.strictObject({ list: address.optional() });
const changeAsked = z.strictObject({
  list: address,
  changes: z
    .array(
      z.discriminatedUnion('kind', [
        z.strictObject({ kind: z.enum(['add', 'remove']), members: z.array(text).max(maxChanged) }),
        z.strictObject({
          kind: z.literal('settings'),
          posting: z.enum(postings),
          owners: z.array(address).min(1).max(maxOwners),
        }),
      ]),
    )
    .max(100),
});

export interface ShownList extends ListRecord {
  readonly address: string;
  readonly here: boolean;
  /** Absent where they are private, and the list's node is another. */
  readonly list?: readonly string[];
}

export type ShowAnswer = { readonly trouble: string } | { readonly lists: readonly ShownList[] };

/** One list, or those of this node. */
export async function showList(
  { lists, post }: { readonly lists: LocalLists; readonly post: Post },
  args: unknown,
): Promise<ShowAnswer> {
  const { list } = showAsked.parse(args);
  if (list === undefined) {
    const shown = lists.list().map((one) => ({ one, found: lists.find(one) }));
    const open = shown.flatMap(({ one, found }) =>
      found === undefined || 'trouble' in found ? [] : [shownHere(one, found.made, found.state)],
    );
    return { lists: open };
  }
  const found = lists.find(list);
  if (found !== undefined) return 'trouble' in found ? found : { lists: [shownHere(list, found.made, found.state)] };
  const known = await post.lookup(list);
  if (known.kind === 'unknown') return { trouble: known.reason };
  if (known.kind !== 'found' || known.certificate.kind !== 'list') return { lists: [] };
  const record = known.record?.list;
  if (record === undefined) return { trouble: 'the ring does not know yet who may post to it' };
  const state =
    record.members === 'public' ? await readPublicList(post.store, known.certificate.signingKey) : undefined;
  const members = state === undefined ? {} : { list: [...state.members.values()] };
  return { lists: [{ address: list, here: false, ...record, ...members }] };
}

function shownHere(one: Address, made: ListRecord, { posting, owners, members }: ListState): ShownList {
  return { address: one, here: true, posting, owners, members: made.members, list: [...members.values()] };
}

export type ChangeAnswer = { readonly trouble: string } | { readonly members: number };

export async function changeList(lists: LocalLists, args: unknown): Promise<ChangeAnswer> {
  const { list, changes } = changeAsked.parse(args);
  const found = lists.find(list);
  if (found === undefined) return { trouble: 'is no list of this machine' };
  if ('trouble' in found) return found;
  await lists.change(list, changes satisfies readonly ListChange[]);
  const after = lists.find(list);
  return { members: after === undefined || 'trouble' in after ? 0 : after.state.members.size };
}
