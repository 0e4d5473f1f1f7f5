/**
 * Sends a user's message, expanding lists whose members are public on his own node (DESIGN §9): to members in the ring without the list's node, which may be
 * off. Members on the Internet, lists in the list, and whoever cannot be found now, are left to that node; who is reached twice has it once (`postId`).
 */
import { type Address, parseAddress, withoutTag } from '../../../policy/address.ts';
import type { ListRecord, Lookup } from '../../store/directory.ts';
import { postId } from '../onward/custody.ts';
import { hasPassed, listFields } from '../onward/fields.ts';
import { type RecipientOutcome, type Submission, type SubmitOptions, submit } from '../send.ts';
import { joinedInSlices, sha256InSlices } from '../slices.ts';
import { type ListState, mayPost } from './list-state.ts';

export interface PublicLists {
  /** The members of a list that says they are public; undefined where they cannot be read now: its own node then does it. */
  read(address: Address, signingKey: Uint8Array): Promise<ListState | undefined>;
}

interface Expansion {
  readonly list: Address;
  readonly state: ListState;
  readonly users: readonly string[];
  /** Every member is among them, so that the list's node has nothing to do. */
  readonly isWhole: boolean;
}

// Lookups at once; most members are known to the node anyway.
const lookupsAtOnce = 20;

/** As {@link submit}. */
export async function submitSpread(options: SubmitOptions, lists: PublicLists): Promise<Submission> {
  const { envelope } = options;
  const expansions = await Promise.all(envelope.to.map(async (text) => expansionOf(options, text, lists)));
  if (expansions.every((one) => one === undefined)) return submit(options);
  const others = envelope.to.filter((_, place) => expansions[place]?.isWhole !== true);
  const plain = others.length === 0 ? undefined : await submit({ ...options, envelope: { ...envelope, to: others } });
  const recipients: Submission['recipients'][number][] = [];
  let next = 0;
  for (const [place, address] of envelope.to.entries()) {
    const expansion = expansions[place];
    const own = expansion?.isWhole === true ? undefined : plain?.recipients[next++]?.outcome;
    const spread = expansion === undefined ? undefined : await toMembers(options, expansion);
    recipients.push({ address, outcome: worse(own, spread) });
  }
  return { recipients };
}

async function expansionOf(options: SubmitOptions, text: string, lists: PublicLists): Promise<Expansion | undefined> {
  const { post, user, bytes } = options;
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid' || !post.overlay.ring.domains.includes(parsed.domain)) return undefined;
  const found = await post.lookup(withoutTag(parsed.address));
  const record = recordOf(found);
  if (found.kind !== 'found' || record?.members !== 'public') return undefined;
  const { address: list, signingKey } = found.certificate;
  const state = await lists.read(list, signingKey);
  // The list's node says why not, to him and in its trace.
  if (state === undefined || !mayPost(state, { kind: 'ring', address: user.address }) || hasPassed(bytes, list))
    return undefined;
  const members = [...state.members.values()];
  const users: string[] = [];
  for (let from = 0; from < members.length; from += lookupsAtOnce) {
    const some = members.slice(from, from + lookupsAtOnce);
    const kinds = await Promise.all(some.map(async (member) => isUser(options, member)));
    users.push(...some.filter((_, place) => kinds[place]));
  }
  return { list, state, users, isWhole: users.length === members.length };
}

function recordOf(found: Lookup): ListRecord | undefined {
  return found.kind === 'found' && found.certificate.kind === 'list' ? found.record?.list : undefined;
}

async function isUser({ post }: SubmitOptions, member: string): Promise<boolean> {
  const parsed = parseAddress(member);
  if (parsed.kind === 'invalid' || !post.overlay.ring.domains.includes(parsed.domain)) return false;
  const found = await post.lookup(withoutTag(parsed.address));
  return found.kind === 'found' && found.certificate.kind === 'user';
}

async function toMembers(
  options: SubmitOptions,
  { list, state, users }: Expansion,
): Promise<RecipientOutcome | undefined> {
  if (users.length === 0) return undefined;
  const { user, bytes, envelope } = options;
  const facts = { address: list, owners: state.owners, takesPosts: state.posting !== 'owners' };
  const fields = listFields(facts, new Uint8Array());
  const { recipients } = await submit({
    ...options,
    envelope: { from: envelope.from, to: users },
    bytes: await joinedInSlices([fields, bytes]),
    carried: {
      onward: { added: fields.length },
      post: postId(user.address, await sha256InSlices(bytes)),
      note: { list },
    },
  });
  return recipients.map(({ outcome }) => outcome).reduce<RecipientOutcome | undefined>(worse, undefined);
}

/** What is not yet safe decides: the same submission again doubles nothing. */
function worse(one: RecipientOutcome | undefined, other: RecipientOutcome | undefined): RecipientOutcome {
  const both = [one, other].filter((outcome) => outcome !== undefined);
  const nobody: RecipientOutcome = { kind: 'no-such-user' };
  return both.find(({ kind }) => kind === 'try-later') ?? both.find(({ kind }) => kind === 'sent') ?? both[0] ?? nobody;
}
