import type { IdentityCertificate, Trust } from '../identity/certificate.ts';
import type { IdentityKeys } from '../identity/keys.ts';
import { sameBytes } from './field.ts';
import { itemOf, makeReceipt, readReceipt } from './receipt.ts';
import { decodeOuter, type Opened, type OpenResult, openSealed } from './sealed.ts';
import type { SeenIds } from './seen.ts';

type Answer = { readonly verdict: 'accepted' | 'refused'; readonly rule?: string };

/** `later`: nothing was decided; the holder keeps the notification and it comes again. */
export type Handled =
  | { readonly verdict: 'accepted' }
  | { readonly verdict: 'refused'; readonly rule: string }
  | { readonly later: string };

/** Keys of one address, and the certificate that bound them to it. */
export interface HeldKeys {
  readonly keys: IdentityKeys;
  readonly certificate: IdentityCertificate;
}

export interface LocalRecipientOptions extends HeldKeys {
  /**
   * Keys that this address had before: what was sealed to them while they were in force, and still waits, is opened with them and answered under them, which
   * is what its holders and its sender know. To be kept for `memoryMs` after they were replaced; node/notify attaches for each signing key.
   */
  readonly retired?: readonly HeldKeys[] | undefined;
  readonly trust: () => Trust | Promise<Trust>;
  readonly seen: SeenIds;
  readonly now: () => number;
  /**
   * Must be idempotent by `opened.id`: a crash after it succeeded and before its receipt is on disk brings the same
   * notification again. Once the receipt is on disk it is not called again for that id.
   */
  readonly handle: (opened: Opened) => Promise<Handled>;
  readonly onRefused?: (result: OpenResult & { readonly kind: 'refused' }) => void;
}

/**
 * What a recipient does with whatever arrives: prove it, recognise it, have it handled, answer with a signed receipt.
 * Resolves to undefined where no answer can be given now. What handle throws counts as `later`, and is thrown on.
 */
export function localRecipient(
  options: LocalRecipientOptions,
): (sealed: Uint8Array) => Promise<Uint8Array | undefined> {
  const { keys, certificate, retired = [], trust, seen, now, handle } = options;
  const all: readonly HeldKeys[] = [{ keys, certificate }, ...retired];
  const handling = new Map<string, Promise<Uint8Array | undefined>>();

  const answer = async (id: Uint8Array, facts: Answer, me: HeldKeys): Promise<Uint8Array> => {
    const at = now();
    const receipt = makeReceipt({ ...facts, id, by: me.certificate, signing: me.keys.signing, now: at });
    await seen.keep(me.certificate.signingKey, id, receipt.bytes, at);
    return receipt.bytes;
  };

  const decide = async (opened: Opened, me: HeldKeys): Promise<Uint8Array | undefined> => {
    const handled = await handle(opened);
    return 'later' in handled ? undefined : answer(opened.id, handled, me);
  };

  // Two copies at once (pushed and pulled) are handled once.
  const once = async (opened: Opened, me: HeldKeys): Promise<Uint8Array | undefined> => {
    const name = Buffer.from(opened.id).toString('hex');
    const running = handling.get(name) ?? decide(opened, me);
    handling.set(name, running);
    try {
      return await running;
    } finally {
      handling.delete(name);
    }
  };

  const findSeen = (id: Uint8Array): Uint8Array | undefined => {
    for (const one of all) {
      const found = seen.find(one.certificate.signingKey, id);
      if (found !== undefined) return found;
    }
    return undefined;
  };

  /** The same answer under the key that this copy was sealed to: sent again to the renewed key, it is still one notification. */
  const under = async (me: HeldKeys, known: Uint8Array): Promise<Uint8Array | undefined> => {
    const read = readReceipt(known);
    if (read === undefined || sameBytes(read.signer, me.certificate.signingKey)) return known;
    const { id, verdict, rule } = read.receipt;
    if (verdict === 'undeliverable') return undefined;
    return (
      seen.find(me.certificate.signingKey, id) ?? answer(id, { verdict, ...(rule === undefined ? {} : { rule }) }, me)
    );
  };

  return async (sealed) => {
    const facts = { sealed, trust: await trust(), now: now() };
    const { result, me } = openWith(all, facts);
    if (result.kind === 'opened') {
      const known = findSeen(result.id) ?? (await once(result, me));
      return known === undefined ? undefined : under(me, known);
    }
    options.onRefused?.(result);
    // Time or a newer revocation list may still settle these; the holder's lifetime ends the waiting.
    if (result.code === 'early' || result.code === 'sender-unproven') return undefined;
    return refuseItem(sealed, result.code, me);
  };

  // Its id is not proven, so the answer covers these bytes alone.
  function refuseItem(sealed: Uint8Array, rule: string, me: HeldKeys): Uint8Array {
    const item = itemOf(sealed);
    const id = visibleId(sealed) ?? item;
    const by = { by: me.certificate, signing: me.keys.signing };
    return makeReceipt({ id, item, verdict: 'refused', rule, ...by, now: now() }).bytes;
  }
}

/** Opens it with the first keys that can; with none, what those say whose signing key it names, the newest first. */
function openWith(
  all: readonly HeldKeys[],
  facts: { readonly sealed: Uint8Array; readonly trust: Trust; readonly now: number },
): { readonly result: OpenResult; readonly me: HeldKeys } {
  const tries = all.map((me) => ({ me, result: openSealed({ ...facts, me }) }));
  const isMine = ({ result }: { result: OpenResult }): boolean =>
    result.kind === 'opened' || (result.code !== 'wrong-addressee' && result.code !== 'not-sealed-to-me');
  const named = tries.find(({ me }) => isNamed(facts.sealed, me));
  const best = tries.find(isMine) ?? named ?? tries[0];
  if (best === undefined) throw new Error('a recipient without keys');
  return best;
}

function isNamed(sealed: Uint8Array, { certificate }: HeldKeys): boolean {
  try {
    return sameBytes(decodeOuter(sealed).to, certificate.signingKey);
  } catch {
    return false;
  }
}

function visibleId(sealed: Uint8Array): Uint8Array | undefined {
  try {
    return decodeOuter(sealed).id;
  } catch {
    return undefined;
  }
}
