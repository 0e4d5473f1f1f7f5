import { setTimeout as sleep } from 'node:timers/promises';
import { encodeRequest } from '../../node/mail/list/list-request.ts';
import type { ListChange } from '../../node/mail/list/list-state.ts';
import type { MailUser } from '../../node/mail/mail-post.ts';
import type { Receipt } from '../../node/notify/receipt.ts';
import { compose } from '../../node/notify/sealed.ts';
import type { Post } from '../../node/post/post.ts';
import type { Address } from '../../policy/address.ts';

export type Asked =
  | { readonly kind: 'done' }
  /** Its node is off, or slow: it does it when it sees the request, within two weeks. */
  | { readonly kind: 'waits' }
  | { readonly kind: 'refused'; readonly reason: string };

// As long as somebody waits for a command.
const patienceMs = 20_000;

/** Asks a list that lives on another node for changes, in the name of an owner who is at home here. */
export async function askList(
  post: Pick<Post, 'lookup' | 'notify'>,
  { owner, list, changes, now }: { owner: MailUser; list: Address; changes: readonly ListChange[]; now: number },
): Promise<Asked> {
  const found = await post.lookup(list);
  if (found.kind !== 'found') return { kind: 'refused', reason: 'the ring does not know it now' };
  const body = encodeRequest(changes, now);
  const sealed = compose({
    from: { certificate: owner.certificate, signing: owner.keys.signing },
    to: found.certificate,
    id: Buffer.from(`list-change ${now}`),
    body,
    now,
  });
  const { promise: answered, resolve } = Promise.withResolvers<Receipt>();
  const forget = post.notify.onReceipt((receipt) => {
    if (Buffer.compare(receipt.id, sealed.id) === 0) resolve(receipt);
  });
  try {
    const sent = await post.notify.send(sealed);
    if (sent.kind === 'unknown') return { kind: 'refused', reason: sent.reason };
    const receipt = await Promise.race([answered, sleep(patienceMs, undefined, { ref: false })]);
    if (receipt === undefined) return { kind: 'waits' };
    return receipt.verdict === 'accepted'
      ? { kind: 'done' }
      : { kind: 'refused', reason: `it was refused (${receipt.rule ?? 'no rule named'})` };
  } finally {
    forget();
  }
}
