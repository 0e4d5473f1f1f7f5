/** Who may have what sent to the Internet: his own words, and what provably came to him and goes on unchanged (a list, a forwarding). */
import type { CarriedOn, RelayRequest } from '../../node/door/gateway-post.ts';
import { type Address, domainOf, parseAddress } from '../../policy/address.ts';
import { fieldText, readHeaderBlock } from '../header-fields.ts';
import { checkProvenance, type Provenance } from '../provenance.ts';
import { domainOfRecipient } from './relay-job.ts';

/** What this ring's gateway saw of a message from the Internet: for the seal (RFC 8617). */
export interface Seen {
  /** Of its Authentication-Results; empty where there is no such field any more. */
  readonly results: string;
  readonly chain: 'none' | 'pass' | 'fail' | 'unknown';
}

export interface Carried {
  readonly by: 'forward' | 'list';
  /** Under what the message is known for the same. */
  readonly post: string;
  /** Absent where it was written in the ring. */
  readonly seen?: Seen | undefined;
}

export type Sender =
  | { readonly kind: 'fine'; readonly envelopeFrom: string; readonly carried?: Carried | undefined }
  | { readonly kind: 'refused'; readonly rule: string };

export interface SenderFacts {
  readonly request: Pick<RelayRequest, 'from' | 'envelope'>;
  readonly bytes: Uint8Array;
  readonly author: Address;
  readonly now: number;
  readonly forwardPath: ((sender: string, at: number) => string | undefined) | undefined;
  /** Whether an address is an identity's, or that could not be found out (it throws). */
  readonly owns: (address: string, identity: Address) => Promise<boolean>;
}

const refused = (rule: string): Sender => ({ kind: 'refused', rule });

export async function ownSender({ request: { from, envelope }, author, owns }: SenderFacts): Promise<Sender> {
  // The null sender is for automatic answers (RFC 3834 §3.3); the author is still held to the identity.
  if (envelope.from !== '' && !(await owns(envelope.from, from.address))) return refused('sender-not-yours');
  if (!(await owns(author, from.address))) return refused('author-not-yours');
  return { kind: 'fine', envelopeFrom: envelope.from };
}

/**
 * A list speaks under its own envelope sender. A forwarding keeps the one that it had, under an address that SPF allows us and that leads back to it; of a
 * sender who was not proven to be one, nobody but the forwarder may ever be told of failures.
 */
export async function carriedSender(carried: CarriedOn, facts: SenderFacts): Promise<Sender> {
  const { request, bytes, owns, author } = facts;
  const { from, envelope } = request;
  if (!(await carried.isUnchanged(bytes))) return refused('handed-on-changed');
  const { root } = carried;
  const provenance = provenanceOf(carried);
  if (root.kind === 'gateway' && provenance === undefined) return refused('handed-on-without-proof');
  if (root.kind === 'user' || root.kind === 'list') {
    if (carried.rootFrom !== '' && !(await owns(carried.rootFrom, root.address))) return refused('sender-not-yours');
    if (!(await owns(author, root.address))) return refused('author-not-yours');
  }
  const seen = provenance === undefined ? undefined : { results: resultsIn(bytes), chain: chainOf(provenance) };
  const made = { by: from.kind === 'list' ? 'list' : 'forward', post: carried.post, seen } as const;
  if (envelope.from === '' || (await owns(envelope.from, from.address)))
    return { kind: 'fine', envelopeFrom: envelope.from, carried: made };
  if (envelope.from !== carried.cameFrom) return refused('sender-not-yours');
  return { kind: 'fine', envelopeFrom: forwardedFrom(carried, provenance, facts), carried: made };
}

function forwardedFrom(
  { root, cameFrom, rootFrom }: CarriedOn,
  provenance: Provenance | undefined,
  { request, now, forwardPath }: SenderFacts,
): string {
  // From inside the ring, or out of a list: it gets its own signed return path.
  if (root.kind !== 'gateway' || cameFrom !== rootFrom) return cameFrom;
  const isProven = provenance !== undefined && provesSender(provenance);
  return (isProven ? forwardPath?.(cameFrom, now) : undefined) ?? request.from.address;
}

/** As when it came in (inbound/accept.ts): a report to him would reach who sent this. */
function provesSender({ envelope, spf, dmarc, author }: Provenance): boolean {
  const domain = domainOfRecipient(envelope.from);
  if (domain === '') return false;
  if (spf.result === 'pass' && spf.domain === domain) return true;
  const parsed = parseAddress(author.address);
  return dmarc.result === 'pass' && parsed.kind === 'address' && domainOf(parsed.address) === domain;
}

/** The gateway's own record of the message, if it is about these octets. */
function provenanceOf({ root, provenance, hash }: CarriedOn): Provenance | undefined {
  if (root.kind !== 'gateway' || provenance === undefined) return undefined;
  const check = checkProvenance(provenance, root.signingKey);
  if (check.kind === 'invalid') return undefined;
  return Buffer.compare(check.provenance.handedOn, hash) === 0 ? check.provenance : undefined;
}

function chainOf({ arc }: Provenance): Seen['chain'] {
  return arc.result === 'none' || arc.result === 'pass' || arc.result === 'fail' ? arc.result : 'unknown';
}

// Our own field is some hundred characters, five signatures of long domains included.
const maxResultsChars = 3_000;

/** Our field stands below those that were added and above all others; a stranger's are further down. */
function resultsIn(bytes: Uint8Array): string {
  const { fields } = readHeaderBlock(bytes);
  const end = fields.findIndex(({ name }) => name === 'x-epost-trace');
  const field = fields.slice(0, Math.max(end, 0)).find(({ name }) => name === 'authentication-results');
  // Folded again as it was: a line has 998 octets at most (RFC 5322 §2.1.1).
  return field === undefined ? '' : fieldText(bytes, field, maxResultsChars).split(/;\s*/).join(';\r\n\t');
}
