/**
 * A user's relay request, once its signature was verified: may this identity send this? Then the bytes are made ready and queued, and only when the jobs are
 * durable is the request accepted. The same request again gets the same answer.
 */
import { hash } from 'node:crypto';
import type { CarriedAnswer, RelayAnswer, RelayRequest } from '../../node/door/gateway-post.ts';
import { type Address, parseAddress, parseLiteralAddress, withoutTag } from '../../policy/address.ts';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import type { Decision } from '../../policy/decide.ts';
import { decisionEvent } from '../../policy/decision-event.ts';
import type { Evidence } from '../../policy/evidence.ts';
import { hintedText } from '../../policy/retry-hint.ts';
import type { Mark, NewJob, Queue } from '../../queue/queue.ts';
import { rememberDoneMs } from '../../queue/queue.ts';
import { arcSeal } from '../dkim/arc-seal.ts';
import type { DkimKey } from '../dkim/keys.ts';
import { dkimSignatures } from '../dkim/sign.ts';
import { type Author, authorOf } from '../evidence/author.ts';
import { messageFacts } from '../evidence/message-facts.ts';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import { joined } from '../slices.ts';
import type { StorageGate } from '../storage/gate.ts';
import { type Carried, carriedSender, ownSender, type Seen } from './carried.ts';
import type { RelayLog, Trace } from './deliver-parts.ts';
import { inOrder, isLooping, waivesTls, wireFault } from './relay-headers.ts';
import { domainOfRecipient, encodeRelayBody, lanePrefix, type RelayBody, type TlsWish } from './relay-job.ts';
import type { SendingHistory } from './sending-history.ts';

export interface IntakeParts {
  readonly queue: Queue;
  readonly storage: Pick<StorageGate, 'shut'>;
  readonly hostname: string;
  readonly ring: { readonly name: string; readonly domains: readonly string[] };
  /** The identity that an address is another name for. Throws when that could not be found out. Without it there are no aliases. */
  readonly aliasOf?: ((address: Address) => Promise<Address | undefined>) | undefined;
  /** The owners of a list, who may write in its name; none for what is no list. Throws as `aliasOf` does. */
  readonly ownersOf?: ((address: Address) => Promise<readonly Address[]>) | undefined;
  /** The reverse-path under which mail of others is carried on; undefined where there is none for that sender. */
  readonly forwardPath?: ((sender: string, at: number) => string | undefined) | undefined;
  /** The policy's answer, limits included. */
  readonly decide: (evidence: Evidence) => Decision;
  /** What is remembered of senders and their recipients. */
  readonly history: SendingHistory;
  /** The keys that sign for a domain of the ring. */
  readonly dkim: (domain: string) => readonly DkimKey[];
  /** Keeps a message in the ring that is too large for the queue; a reference that DAG-CBOR can hold. */
  readonly store: (bytes: Uint8Array, salt: Uint8Array) => Promise<unknown>;
  readonly maxMessageBytes: number;
  /** Whether mail goes to addresses such as user@[192.0.2.1]. */
  readonly takesLiterals?: boolean | undefined;
  readonly now: () => number;
  readonly log: RelayLog;
  readonly trace: Trace;
}

/** As many as one transaction may have (RFC 5321 §4.5.3.1.8); a letter carries 20. */
const maxRecipients = 100;
/** The queue takes 16 KiB of facts for a job; recipients beyond these are in the body. */
const maxShownRecipients = 20;

/** Letters and digits, as our own are, and no more of them than a letter may have. */
const traceId = /^[A-Za-z0-9-]{1,64}$/;

type Checked =
  | {
      readonly kind: 'fine';
      /** What others wrote and the sender carries on. */
      readonly carried?: Carried | undefined;
      readonly envelopeFrom: string;
      readonly author: Extract<Author, { kind: 'single' }>;
      readonly recipients: string[];
      readonly block: HeaderBlock;
      readonly waivesTls: boolean;
    }
  | { readonly kind: 'refused'; readonly rule: string };

type Fine = Extract<Checked, { kind: 'fine' }>;

const refused = (rule: string) => ({ kind: 'refused', rule }) as const;

export class Intake {
  readonly #parts: IntakeParts;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Never throws: what could not be found out is `later`. */
  async take(request: RelayRequest): Promise<RelayAnswer> {
    try {
      return await this.#take(request);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#parts.log.warn({ trace: request.trace, error: reason }, 'a relay request could not be worked on');
      return { later: reason };
    }
  }

  async #take(request: RelayRequest): Promise<RelayAnswer> {
    const { queue, storage, now, trace, log } = this.#parts;
    const shut = storage.shut();
    if (shut !== undefined) return { later: `the gateway cannot store mail: ${shut.why}` };
    const known = await queue.getMark(markOf(request));
    if (known !== undefined) return answerOf(Buffer.from(known).toString());
    // The user's node chose it, and whoever has a key can be his own node: in a Received field a line end would begin another field.
    if (!traceId.test(request.trace)) return this.#refuse({ ...request, trace: request.id }, 'malformed-trace');
    const bytes = await request.bytes();
    const found = await request.carried();
    if (found.kind === 'later') return { later: found.reason };
    if (found.kind === 'refused') return this.#refuse(request, found.rule);
    const whole = await checkRequest(request, bytes, found, this.#parts);
    if (whole.kind === 'refused') return this.#refuse(request, whole.rule);
    const checked = { ...whole, recipients: await this.#withoutKnown(whole) };
    if (checked.recipients.length === 0) {
      trace(request.trace, { what: 'sent-before', recipients: whole.recipients });
      return { verdict: 'accepted' };
    }
    const evidence = await this.#evidence(request, bytes, checked);
    const decision = this.#parts.decide(evidence);
    const { verdict, rule } = decision;
    trace(request.trace, decisionEvent(decision, evidence));
    if (verdict === 'defer') this.#parts.history.uncount(request.from.address, checked.recipients);
    if (verdict === 'defer') return { later: hintedText(decision) ?? `rule ${rule} asks to wait` };
    if (verdict !== 'accept' && verdict !== 'hold') return this.#refuse(request, rule);
    const hold = verdict === 'hold' ? { hold: { reason: `policy rule ${rule}` } } : {};
    // RFC 3834 §3.3, §5: no person's mail.
    const isAutomatic = checked.envelopeFrom === '' || evidence.message.autoSubmitted;
    const jobs = await this.#jobs(request, bytes, checked, isAutomatic);
    const mark = { key: markOf(request), value: Buffer.from('accepted'), expiresAt: now() + rememberDoneMs };
    await queue.add(
      jobs.map((job) => ({ ...job, ...hold })),
      {
        marks: [
          mark,
          ...this.#sentMarks(checked),
          ...this.#parts.history.marks(request.from.address, checked.recipients),
        ],
      },
    );
    trace(request.trace, {
      what: 'queued',
      from: checked.envelopeFrom,
      to: checked.recipients,
      jobs: jobs.map(({ id }) => id),
      held: verdict === 'hold',
    });
    // The sender was told 250: that it waits for the postmaster, only the postmaster can see.
    if (verdict === 'hold')
      log.warn({ trace: request.trace, identity: request.from.address, rule }, 'a message is held');
    return { verdict: 'accepted' };
  }

  /** Without those to whom the same post went already by another way: over a list in a list, say. */
  async #withoutKnown({ carried, recipients }: Fine): Promise<string[]> {
    if (carried === undefined) return [...recipients];
    const known = await Promise.all(recipients.map((one) => this.#parts.queue.getMark(sentMarkOf(carried, one))));
    return recipients.filter((_, place) => known[place] === undefined);
  }

  #sentMarks({ carried, recipients }: Fine): Mark[] {
    if (carried === undefined) return [];
    const expiresAt = this.#parts.now() + rememberDoneMs;
    return recipients.map((one) => ({ key: sentMarkOf(carried, one), value: Buffer.from('1'), expiresAt }));
  }

  async #refuse(request: RelayRequest, rule: string): Promise<RelayAnswer> {
    const { queue, now, trace, log } = this.#parts;
    trace(request.trace, { what: 'refused', stage: 'relay', rule });
    log.info({ trace: request.trace, identity: request.from.address, rule }, 'a relay request was refused');
    await queue.setMark(markOf(request), Buffer.from(`refused ${rule}`), now() + rememberDoneMs);
    return { verdict: 'refused', rule };
  }

  async #evidence(request: RelayRequest, bytes: Uint8Array, checked: Fine): Promise<Evidence> {
    const { ring, history, now } = this.#parts;
    const { from, proof } = request;
    const { author, recipients, block, carried } = checked;
    const { kind, address, domain, name } = author;
    const { volume, firstTimeRecipients } = await history.count(from.address, recipients);
    return completeEvidence('relay', {
      envelope: {
        from: checked.envelopeFrom,
        fromDomain: domainOfRecipient(checked.envelopeFrom),
        recipients,
        recipientCount: recipients.length,
      },
      author: { kind, address, domain, name },
      identity: {
        verified: true,
        address: from.address,
        ring: from.ring,
        kind: from.kind,
        certificateAgeDays: Math.max(0, Math.floor((now() - from.notBefore) / 86_400_000)),
        ...proof,
      },
      carried: { on: carried?.by ?? 'no' },
      message: messageFacts(bytes, block),
      history: { firstTimeRecipients },
      volume,
      ring: { name: ring.name, domains: ring.domains },
    });
  }

  async #jobs(request: RelayRequest, bytes: Uint8Array, checked: Fine, isAutomatic: boolean): Promise<NewJob[]> {
    const ready = await this.#ready(request, bytes, checked);
    const body = await this.#body(request, ready, checked);
    const domains = [...new Set(checked.recipients.map(domainOfRecipient))];
    return domains.map((domain) => {
      const recipients = checked.recipients.filter((recipient) => domainOfRecipient(recipient) === domain);
      return {
        id: `relay ${request.id} ${domain}`,
        lane: `${lanePrefix}${domain}`,
        body,
        about: {
          kind: 'relay',
          trace: request.trace,
          sender: request.from.address,
          recipients: recipients.slice(0, maxShownRecipients),
          recipientCount: recipients.length,
          domain,
          bytes: ready.length,
          ...(isAutomatic ? { automatic: `${request.from.address} to ${domain}` } : {}),
        },
      };
    });
  }

  /** In order, signed for the author's domain, with our trace line on top. */
  async #ready(request: RelayRequest, bytes: Uint8Array, checked: Fine): Promise<Uint8Array> {
    const { domain } = checked.author;
    const { hostname, ring, now, dkim, log } = this.#parts;
    const uniquePart = hash('sha256', `message-id ${request.id}`, 'hex').slice(0, 32);
    // The request's own time, so that the same request gives the same header each time.
    const facts = { hostname, ring: ring.name, trace: request.trace, now: request.at, uniquePart };
    const { message, block, received } = await inOrder(bytes, facts, checked.block);
    const { carried } = checked;
    // Others' words are sealed as what was seen of them, not signed as ours.
    if (carried?.seen !== undefined)
      return await joined([received, await this.#seal(carried.seen, message, block), message]);
    const keys = dkim(domain);
    if (keys.length === 0) log.warn({ trace: request.trace, domain }, 'no DKIM key: the message goes out unsigned');
    const signatures =
      keys.length === 0 ? new Uint8Array() : await dkimSignatures(message, { domain, keys, now: now(), block });
    return await joined([received, signatures, message]);
  }

  /** RFC 8617; nothing where no seal may be made. */
  async #seal({ results, chain }: Seen, message: Uint8Array, block: HeaderBlock): Promise<Uint8Array> {
    const { dkim, ring, now } = this.#parts;
    const keys = dkim(ring.name);
    // Few verifiers of ARC know Ed25519.
    const key = keys.find(({ algorithm }) => algorithm === 'rsa-sha256') ?? keys[0];
    if (key === undefined || results === '') return new Uint8Array();
    const seal = await arcSeal(message, { domain: ring.name, key, now: now(), results, chain, block });
    return seal ?? new Uint8Array();
  }

  async #body(request: RelayRequest, bytes: Uint8Array, checked: Fine): Promise<Uint8Array> {
    const { recipients } = checked;
    const { envid, requireTls = false } = request.envelope;
    // RFC 8689 §5: of a message that requires TLS no report returns more than the header. §3: such a message's TLS-Required field counts for nothing.
    const ret = requireTls ? 'HDRS' : request.envelope.ret;
    const tls: TlsWish = requireTls ? 'required' : checked.waivesTls ? 'optional' : undefined;
    const body: Omit<RelayBody, 'message'> = {
      version: 1,
      trace: request.trace,
      identity: request.from.address,
      envelopeFrom: checked.envelopeFrom,
      recipients: [...recipients],
      ...(ret === undefined ? {} : { ret }),
      ...(envid === undefined ? {} : { envid }),
      ...(tls === undefined ? {} : { tls }),
      ...askedReports(request.envelope),
      arrivedAt: this.#parts.now(),
    };
    const inline = encodeRelayBody({ ...body, message: { kind: 'inline', bytes } });
    if (inline.length <= this.#parts.queue.maxBodyBytes) return inline;
    const salt = hash('sha256', `relay ${request.id}`, 'buffer');
    return encodeRelayBody({ ...body, message: { kind: 'ring', ref: await this.#parts.store(bytes, salt) } });
  }
}

/** Where an address was named twice, the first counts. */
function askedReports({ to, dsn }: RelayRequest['envelope']): Pick<RelayBody, 'dsn'> {
  const asked = new Map<string, { notify: string[]; orcpt?: string }>();
  for (const [place, options] of (dsn ?? []).entries()) {
    const recipient = canonicalRecipient(to[place] ?? '');
    if (options === null || recipient === undefined || asked.has(recipient)) continue;
    const { notify, orcpt } = options;
    asked.set(recipient, { notify: [...notify], ...(orcpt === undefined ? {} : { orcpt }) });
  }
  return asked.size === 0 ? {} : { dsn: [...asked] };
}

function markOf(request: RelayRequest): string {
  return `relay-request ${request.id}`;
}

function answerOf(known: string): RelayAnswer {
  const [verdict, rule = ''] = known.split(' ', 2);
  return verdict === 'accepted' ? { verdict: 'accepted' } : { verdict: 'refused', rule };
}

/** What no policy may allow: sending as someone else, relaying into our own ring, bytes that cannot go over the wire. */
async function checkRequest(
  request: RelayRequest,
  bytes: Uint8Array,
  found: Extract<CarriedAnswer, { kind: 'own' | 'proven' }>,
  parts: IntakeParts,
): Promise<Checked> {
  const { envelope } = request;
  const owns = (address: string, identity: Address): Promise<boolean> => belongsTo(address, identity, parts);
  if (bytes.length > parts.maxMessageBytes) return refused('message-too-large');
  const block = readHeaderBlock(bytes);
  const fault = await wireFault(bytes, block);
  if (fault !== undefined) return refused(fault);
  if (isLooping(bytes, parts.hostname, block)) return refused('mail-loop');
  const author = authorOf(bytes, block);
  if (author.kind !== 'single') return refused('one-author');
  const facts = { request, bytes, author: author.address, now: parts.now(), forwardPath: parts.forwardPath, owns };
  const sender = found.kind === 'own' ? await ownSender(facts) : await carriedSender(found.carried, facts);
  if (sender.kind === 'refused') return sender;
  if (parts.takesLiterals !== true && envelope.to.some((to) => parseLiteralAddress(to) !== undefined))
    return refused('address-literal');
  const recipients = [...new Set(envelope.to.map(canonicalRecipient))];
  if (recipients.length === 0 || recipients.length > maxRecipients) return refused('recipient-count');
  if (recipients.includes(undefined)) return refused('bad-recipient');
  const fine = recipients.filter((recipient) => recipient !== undefined);
  // Mail within the ring is a notification; by SMTP it would come back to us.
  if (fine.some((recipient) => parts.ring.domains.includes(domainOfRecipient(recipient))))
    return refused('not-for-relay');
  const { envelopeFrom, carried } = sender;
  return { kind: 'fine', author, recipients: fine, block, waivesTls: waivesTls(bytes, block), envelopeFrom, carried };
}

function sentMarkOf({ post }: Carried, recipient: string): string {
  return `carried ${post} ${recipient}`;
}

/** The identity's own address, an alias for it, or a list that it owns, with or without a tag. */
async function belongsTo(address: string, identity: Address, { aliasOf, ownersOf }: IntakeParts): Promise<boolean> {
  const parsed = parseAddress(address);
  if (parsed.kind === 'invalid') return false;
  const plain = withoutTag(parsed.address);
  if (plain === withoutTag(identity) || (await aliasOf?.(plain)) === identity) return true;
  return (await ownersOf?.(plain))?.includes(identity) === true;
}

/** The local part as it was written (RFC 5321 §2.4: only the host may interpret it), the domain in canonical form. */
function canonicalRecipient(text: string): string | undefined {
  const literal = parseLiteralAddress(text);
  if (literal !== undefined) return literal;
  const parsed = parseAddress(text);
  return parsed.kind === 'address' ? `${text.slice(0, text.lastIndexOf('@'))}@${parsed.domain}` : undefined;
}
