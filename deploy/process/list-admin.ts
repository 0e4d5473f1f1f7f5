import { z } from 'zod';
import { readPublicList } from '../../node/mail/list/list-log.ts';
import { isMember, type ListChange, type ListState, maxChanged, mayPost } from '../../node/mail/list/list-state.ts';
import type { Post } from '../../node/post/post.ts';
import { type ListRecord, maxOwners, postings } from '../../node/store/directory.ts';
import { type Address, parseAddress, withoutTag } from '../../policy/address.ts';
import { askList } from './ask-list.ts';
import type { LocalLists } from './local-lists.ts';
import type { LocalUsers } from './local-users.ts';
import { ringNamesOf } from './users-parts.ts';

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

const mayPostAsked = z.strictObject({ list: address, author: address.optional() });

/** Whether somebody outside, whom his domain vouches for or nobody, may write to a list; null where only its own node knows. */
export async function mayPostTo(
  { lists, post }: { readonly lists: LocalLists; readonly post: Post },
  args: unknown,
): Promise<boolean | null> {
  const { list, author } = mayPostAsked.parse(args);
  const found = lists.find(list);
  const poster = { kind: 'outside', address: author } as const;
  if (found !== undefined) return 'trouble' in found ? null : mayPost(found.state, poster);
  const known = await post.lookup(list);
  if (known.kind !== 'found' || known.record?.list?.members !== 'public') return null;
  const state = await readPublicList(post.store, known.certificate.signingKey);
  return state === undefined ? null : mayPost(state, poster);
}

function shownHere(one: Address, made: ListRecord, { posting, owners, members }: ListState): ShownList {
  return { address: one, here: true, posting, owners, members: made.members, list: [...members.values()] };
}

/** `waits`: its own node, another one, will do it when it sees the request. `wereNone`: who was to be removed, and was no member. */
export type ChangeAnswer =
  | { readonly trouble: string }
  | { readonly members: number | 'unknown'; readonly wereNone?: readonly string[] }
  | { readonly waits: true };

export async function changeList(
  { lists, users, post }: { readonly lists: LocalLists; readonly users: LocalUsers; readonly post: Post },
  args: unknown,
): Promise<ChangeAnswer> {
  const { list, changes } = changeAsked.parse(args);
  const found = lists.find(list);
  if (found !== undefined && 'trouble' in found) return found;
  for (const change of changes) {
    const stranger = change.kind === 'add' ? await unknownIn(change.members, post) : undefined;
    if (stranger !== undefined) return { trouble: `cannot have ${stranger} as a member: the ring has no such address` };
  }
  if (found === undefined) return changeElsewhere({ users, post }, list, changes);
  const wereNone = changes
    .flatMap((change) => (change.kind === 'remove' ? change.members : []))
    .filter((one) => !isMember(found.state, one));
  await lists.change(list, changes satisfies readonly ListChange[]);
  const after = lists.find(list);
  const size = after === undefined || 'trouble' in after ? 0 : after.state.members.size;
  return { members: size, ...(wereNone.length === 0 ? {} : { wereNone }) };
}

/** Of a list on another node an owner may change what he likes: his signature is enough. */
async function changeElsewhere(
  { users, post }: { readonly users: LocalUsers; readonly post: Post },
  list: Address,
  changes: readonly ListChange[],
): Promise<ChangeAnswer> {
  const known = await post.lookup(list);
  if (known.kind === 'unknown') return { trouble: `cannot be changed now: ${known.reason}` };
  if (known.kind !== 'found' || known.certificate.kind !== 'list') return { trouble: 'is no list of this ring' };
  const owner = users.ownerAmong(known.record?.list?.owners ?? []);
  if (owner === undefined)
    return { trouble: 'is no list of this machine, and none of its owners has his mailbox here' };
  const asked = await askList(post, { owner, list, changes, now: Date.now() });
  if (asked.kind === 'refused') return { trouble: `cannot be changed: ${asked.reason}` };
  return asked.kind === 'waits' ? { waits: true } : { members: 'unknown' };
}

/** The first of these that is of the ring and surely nobody's. */
async function unknownIn(members: readonly string[], post: Post): Promise<string | undefined> {
  const names = ringNamesOf(post);
  for (const member of members) {
    const parsed = parseAddress(member);
    if (parsed.kind === 'invalid') return member;
    if (!post.overlay.ring.domains.includes(parsed.domain)) continue;
    const found = await names.resolve(withoutTag(parsed.address));
    if (found.kind === 'none' || found.kind === 'revoked') return member;
  }
  return undefined;
}
