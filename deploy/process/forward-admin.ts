import { z } from 'zod';
import { type Instruction, maxTargets, targetProblem } from '../../node/mail/forward/instruction.ts';
import { parseAddress } from '../../policy/address.ts';
import type { LocalUsers } from './local-users.ts';

const asked = z.strictObject({
  user: z.string().max(320),
  set: z.strictObject({ to: z.array(z.string().max(320)).max(maxTargets), keep: z.boolean() }).optional(),
});

/** `isStranger`: the trouble is that this node has no such user. */
export type ForwardAnswer = { readonly trouble: string; readonly isStranger?: true } | Instruction;

/** Where a user of this node has his mail forwarded to; with `set`, from now on. */
export async function forwardOf(users: LocalUsers, args: unknown): Promise<ForwardAnswer> {
  const { user, set } = asked.parse(args);
  const parsed = parseAddress(user);
  if (parsed.kind === 'invalid') return { trouble: parsed.reason };
  const book = users.forwardOf(parsed.address);
  if ('trouble' in book) return book;
  if (set === undefined) {
    await book.refresh();
    return book.current;
  }
  for (const target of set.to) {
    const problem = targetProblem(target, parsed.address);
    if (problem !== undefined) return { trouble: `cannot be forwarded to ${target}: ${problem}` };
  }
  await book.set(set);
  return set;
}
