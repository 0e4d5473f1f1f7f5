import type { IdentityCertificate, Trust } from '../identity/certificate.ts';
import type { IdentityKeys } from '../identity/keys.ts';
import { itemOf, makeReceipt } from './receipt.ts';
import { decodeOuter, type Opened, type OpenResult, openSealed } from './sealed.ts';
import type { SeenIds } from './seen.ts';

/** `later`: nothing was decided; the holder keeps the notification and it comes again. */
export type Handled =
  | { readonly verdict: 'accepted' }
  | { readonly verdict: 'refused'; readonly rule: string }
  | { readonly later: string };

export interface LocalRecipientOptions {
  readonly keys: IdentityKeys;
  readonly certificate: IdentityCertificate;
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
  const { keys, certificate, trust, seen, now, handle } = options;
  const me = { certificate, keys };
  const handling = new Map<string, Promise<Uint8Array | undefined>>();

  const decide = async (opened: Opened): Promise<Uint8Array | undefined> => {
    const handled = await handle(opened);
    if ('later' in handled) return undefined;
    const at = now();
    const facts = { id: opened.id, by: certificate, signing: keys.signing, now: at };
    const receipt = makeReceipt({ ...facts, ...handled });
    await seen.keep(certificate.signingKey, opened.id, receipt.bytes, at);
    return receipt.bytes;
  };

  // Two copies at once (pushed and pulled) are handled once.
  const once = async (opened: Opened): Promise<Uint8Array | undefined> => {
    const name = Buffer.from(opened.id).toString('hex');
    const running = handling.get(name) ?? decide(opened);
    handling.set(name, running);
    try {
      return await running;
    } finally {
      handling.delete(name);
    }
  };

  return async (sealed) => {
    const result = openSealed({ sealed, me, trust: await trust(), now: now() });
    if (result.kind === 'opened') return seen.find(certificate.signingKey, result.id) ?? (await once(result));
    options.onRefused?.(result);
    // Time or a newer revocation list may still settle these; the holder's lifetime ends the waiting.
    if (result.code === 'early' || result.code === 'sender-unproven') return undefined;
    return refuseItem(sealed, result.code);
  };

  // Its id is not proven, so the answer covers these bytes alone.
  function refuseItem(sealed: Uint8Array, rule: string): Uint8Array {
    const item = itemOf(sealed);
    const id = visibleId(sealed) ?? item;
    return makeReceipt({ id, item, verdict: 'refused', rule, by: certificate, signing: keys.signing, now: now() })
      .bytes;
  }
}

function visibleId(sealed: Uint8Array): Uint8Array | undefined {
  try {
    return decodeOuter(sealed).id;
  } catch {
    return undefined;
  }
}
