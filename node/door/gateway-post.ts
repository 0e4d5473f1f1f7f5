import { createHash } from 'node:crypto';
import type { Address } from '../../policy/address.ts';
import type { IdentityCertificate, Trust } from '../identity/certificate.ts';
import { fingerprint } from '../identity/fingerprint.ts';
import type { IdentityKeys } from '../identity/keys.ts';
import { MailFault } from '../mail/fault.ts';
import { decodeLetter, encodeLetter, type Letter, type MailLetter, type RelayLetter } from '../mail/letter.ts';
import { fetchMessage, type MessageRef, storeMessage } from '../mail/message.ts';
import { buildNotice, type NoticeFacts } from '../mail/notice.ts';
import { custodyOf, isUnchanged, postId } from '../mail/onward/custody.ts';
import { type Handled, localRecipient } from '../notify/local-recipient.ts';
import type { Awaited } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import { compose, type Opened } from '../notify/sealed.ts';
import type { SeenIds } from '../notify/seen.ts';
import type { Lease } from '../store/content.ts';
import type { Lookup } from '../store/directory.ts';
import type { Door } from './door.ts';
import { KnownIdentities } from './known-identities.ts';

export interface GatewayIdentity {
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
}

/** `id`: under which the receipt will come. `no-such-user` covers a revoked one. `never`: it does not fit into the ring, and never will. */
export type Delivered =
  | { readonly kind: 'sent'; readonly copies: number; readonly id: Uint8Array }
  | { readonly kind: 'no-such-user' }
  | { readonly kind: 'later'; readonly reason: string }
  | { readonly kind: 'never'; readonly reason: string };

/** Whether what `store` or `deliver` met would be the same at each further try. */
export function isFinalFault(fault: unknown): boolean {
  return fault instanceof MailFault && fault.code === 'too-large';
}

/** What a user asks the gateway to send to the Internet, proven to be from that user. */
export interface RelayRequest {
  /** Hex; the same request again has the same id. */
  readonly id: string;
  readonly from: IdentityCertificate;
  /** Fingerprints of the key that signed and of the authority that vouches for it, and what that authority says of it now. */
  readonly proof: { readonly key: string; readonly issuer: string; readonly standing: 'good' | 'slowed' | 'blocked' };
  readonly envelope: RelayLetter['envelope'];
  readonly message: MessageRef;
  readonly trace: string;
  readonly at: number;
  /** Fetches and verifies the message. Throws a fault of the store or the door where it cannot be had now. */
  bytes(): Promise<Uint8Array>;
  /** Whether the sender wrote it, or carries it on: then how it came to him, followed back to who brought it into the ring. Throws as `bytes` does. */
  carried(): Promise<CarriedAnswer>;
}

export type CarriedAnswer =
  | { readonly kind: 'own' }
  | { readonly kind: 'proven'; readonly carried: CarriedOn }
  | { readonly kind: 'refused'; readonly rule: string }
  | { readonly kind: 'later'; readonly reason: string };

/** A message of others that a user forwards or a list sends out. */
export interface CarriedOn {
  /** Who brought it into the ring, and the envelope sender and record that he gave. */
  readonly root: IdentityCertificate;
  readonly rootFrom: string;
  readonly provenance: Uint8Array | undefined;
  /** SHA-256 of the message as it was then. */
  readonly hash: Uint8Array;
  /** Octets of fields on top of it now. */
  readonly added: number;
  /** The envelope sender with which it came to who carries it on. */
  readonly cameFrom: string;
  /** Under what it is known for the same, by whatever way it goes. */
  readonly post: string;
  /** Whether these octets are that message, below nothing but fields of lists and forwardings. */
  isUnchanged(bytes: Uint8Array): Promise<boolean>;
}

/** `later`: nothing was decided, the same request comes again. */
export type RelayAnswer = Handled;

export interface DeliverOptions {
  /** The caller's name for this message; with the recipient it makes the notification's id. */
  readonly id: string;
  readonly message: MessageRef | Uint8Array;
  readonly recipient: Address;
  readonly envelopeFrom: string;
  readonly folder: 'inbox' | 'junk';
  readonly trace: string;
  readonly provenance?: Uint8Array | undefined;
  /** It came with REQUIRETLS (RFC 8689). */
  readonly requireTls?: true | undefined;
}

export interface GatewayPostOptions {
  readonly door: Door;
  readonly identity: GatewayIdentity;
  readonly mailerDaemon: GatewayIdentity;
  readonly hostname: string;
  /** Memory of the relay requests already answered; the gateway's own, on its own disk. */
  readonly seen: SeenIds;
  readonly now: () => number;
}

// DESIGN §6: a lease; the recipient refreshes what it keeps.
const leaseMs = 28 * 86_400_000;
// How long a revocation may stay unseen here: far below the minute it takes to reach every node anyway.
const trustForMs = 5_000;

/** The ring as a gateway sees it: its own identity's mail, over any door. */
export class GatewayPost {
  readonly door: Door;
  readonly hostname: string;
  readonly #identity: GatewayIdentity;
  readonly #mailerDaemon: GatewayIdentity;
  readonly #seen: SeenIds;
  readonly #now: () => number;
  readonly #known: KnownIdentities;
  #trust: Trust | undefined;

  constructor(options: GatewayPostOptions) {
    this.door = options.door;
    this.hostname = options.hostname;
    this.#identity = options.identity;
    this.#mailerDaemon = options.mailerDaemon;
    this.#seen = options.seen;
    this.#now = options.now;
    this.#known = new KnownIdentities((address) => options.door.lookup(address), options.now);
  }

  get address(): Address {
    return this.#identity.certificate.address;
  }

  /** Who that is in the ring, as it was within the last seconds. */
  lookup(address: Address): Promise<Lookup> {
    return this.#known.lookup(address);
  }

  /** Resolves when the message is in the ring at the write quorum. The same salt and bytes are stored once. */
  async store(bytes: Uint8Array, how: { readonly salt: Uint8Array; readonly lease: Lease }): Promise<MessageRef> {
    return storeMessage(this.door, bytes, how);
  }

  async fetch(ref: MessageRef): Promise<Uint8Array> {
    return fetchMessage(this.door, ref);
  }

  /** Stores the message if need be and notifies the recipient. Safe to repeat: the same id and recipient are one notification. */
  async deliver(options: DeliverOptions): Promise<Delivered> {
    return this.#deliverAs(this.#identity, options);
  }

  async #deliverAs(author: GatewayIdentity, options: DeliverOptions): Promise<Delivered> {
    const found = await this.lookup(options.recipient);
    if (found.kind === 'none' || found.kind === 'revoked') return { kind: 'no-such-user' };
    if (found.kind === 'unknown') return { kind: 'later', reason: found.reason };
    try {
      return await this.#send(author, found.certificate, options);
    } catch (error) {
      // Faults of the door, the store or the mail floor: not done, and safe to do again.
      const reason = error instanceof Error ? error.message : 'the ring did not take it';
      return { kind: isFinalFault(error) ? 'never' : 'later', reason };
    }
  }

  async #send(author: GatewayIdentity, to: IdentityCertificate, options: DeliverOptions): Promise<Delivered> {
    const { id, recipient, envelopeFrom, folder, trace, provenance, requireTls } = options;
    const message = await this.#stored(author, options);
    const letter: MailLetter = {
      kind: 'mail',
      message,
      envelope: { from: envelopeFrom, to: recipient, requireTls },
      folder,
      trace,
      ...(provenance === undefined ? {} : { provenance }),
    };
    const { certificate, keys } = author;
    const sealed = compose({
      from: { certificate, signing: keys.signing },
      to,
      id: digest('delivery', id, recipient),
      body: encodeLetter(letter),
      now: this.#now(),
    });
    const sent = await this.door.notify(sealed);
    if (sent.kind === 'unknown') return { kind: 'later', reason: sent.reason };
    return { kind: 'sent', copies: sent.copies, id: sealed.id };
  }

  async #stored(author: GatewayIdentity, { message, id, recipient }: DeliverOptions): Promise<MessageRef> {
    if (!(message instanceof Uint8Array)) return message;
    const lease = { identity: recipient, until: this.#now() + leaseMs };
    return this.store(message, { salt: this.#salt(author, id), lease });
  }

  /** Only who has the key can compute it, so that nobody can test for a guessed message; the same each time. */
  #salt(author: GatewayIdentity, id: string): Uint8Array {
    return createHash('sha256').update('epost/gateway salt\0').update(author.keys.export()).update(id).digest();
  }

  /** Takes in what users ask the gateway to relay. One handler at a time; it must be idempotent by the request's id. */
  onRelayRequest(handler: (request: RelayRequest) => Promise<RelayAnswer>): () => void {
    const { certificate, keys } = this.#identity;
    const accept = localRecipient({
      keys,
      certificate,
      trust: async () => this.#recentTrust(),
      seen: this.#seen,
      now: this.#now,
      handle: async (opened) => this.#relay(opened, handler),
    });
    return this.door.attach({ certificate, accept });
  }

  async #recentTrust(): Promise<Trust> {
    const now = this.#now();
    const age = now - (this.#trust?.now ?? 0);
    if (this.#trust === undefined || age < 0 || age > trustForMs) this.#trust = await this.door.trust();
    return { ...this.#trust, now };
  }

  async #relay(opened: Opened, handler: (request: RelayRequest) => Promise<RelayAnswer>): Promise<Handled> {
    if (opened.from.kind !== 'user' && opened.from.kind !== 'list')
      return { verdict: 'refused', rule: 'only-users-relay' };
    const { revocations } = await this.#recentTrust();
    const letter = letterOf(opened.body);
    if (letter?.kind !== 'relay') return { verdict: 'refused', rule: 'not-a-relay-request' };
    const { message, envelope, trace, onward } = letter;
    return handler({
      id: Buffer.from(opened.id).toString('hex'),
      from: opened.from,
      proof: {
        key: fingerprint(opened.from.signingKey),
        issuer: fingerprint(opened.from.issuer),
        standing: revocations.standingOf(opened.from.address, opened.from.ring),
      },
      envelope,
      message,
      trace,
      at: opened.at,
      bytes: async () => this.fetch(message),
      carried: async () => this.#carried(opened.from.address, onward),
    });
  }

  async #carried(by: Address, onward: RelayLetter['onward']): Promise<CarriedAnswer> {
    if (onward?.origin === undefined) return { kind: 'own' };
    const parts = { store: this.door, trust: async () => this.#recentTrust(), now: this.#now };
    const found = await custodyOf(by, onward, parts);
    if (found.kind !== 'proven') return found;
    const { custody } = found;
    const { opened, letter } = custody.root;
    const { hash } = letter.message;
    return {
      kind: 'proven',
      carried: {
        root: opened.from,
        rootFrom: letter.envelope.from,
        provenance: letter.provenance,
        hash,
        added: onward.added,
        cameFrom: custody.last.letter.envelope.from,
        post: Buffer.from(postId(opened.from.address, hash)).toString('hex'),
        isUnchanged: async (bytes) => isUnchanged(bytes, onward, custody),
      },
    };
  }

  /** Puts an RFC 3464 notice into the inbox of `to`, from the mailer-daemon. Safe to repeat with the same facts. */
  async sendNotice(facts: NoticeFacts, to: Address): Promise<Delivered> {
    const notice = buildNotice(facts);
    const said = facts.recipients.map(({ address, action, status }) => `${address} ${action} ${status}`).join('\n');
    return this.#deliverAs(this.#mailerDaemon, {
      id: `notice ${facts.traceId} ${said}`,
      message: notice,
      recipient: to,
      // RFC 3464 §2: the null reverse-path, so that a notice is never answered by a notice.
      envelopeFrom: '',
      folder: 'inbox',
      trace: facts.traceId,
    });
  }

  /** Has the receipts for these come to the listeners, those that came while nobody listened included; while the node is away, when it is back. */
  async watch(awaited: readonly Awaited[]): Promise<void> {
    return this.door.watch(awaited);
  }

  /** What became of what this gateway delivered. The same receipt may come again. */
  onReceipt(listener: (receipt: Receipt) => void): () => void {
    return this.door.onReceipt(listener);
  }
}

function letterOf(body: Uint8Array): Letter | undefined {
  try {
    return decodeLetter(body);
  } catch (error) {
    if (error instanceof MailFault) return undefined;
    throw error;
  }
}

function digest(...parts: readonly string[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part}`);
  return hash.digest();
}
