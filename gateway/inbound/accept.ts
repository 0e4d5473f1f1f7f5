import { type Address, parseAddress } from '../../policy/address.ts';
import type { Decision } from '../../policy/decide.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { Reply } from '../../policy/policy.ts';
import type { Mark, NewJob, Queue } from '../../queue/queue.ts';
import type { Authentication } from '../evidence/authenticate.ts';
import { gatherAtData, type SessionEvidence } from '../evidence/gather.ts';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import { signProvenance } from '../provenance.ts';
import { joined, sha256InSlices, sha256OfParts } from '../slices.ts';
import { isDiskFault } from '../storage/gate.ts';
import { decideAndTrace, refusal } from './deciding.ts';
import { withTraceFields } from './headers.ts';
import { encodeInboundJob, type InboundJob, inboundLaneFor } from './job.ts';
import type { InboundParts, TraceEvent } from './parts.ts';
import { replies, withTrace } from './replies.ts';
import { type Retransmissions, retransmissionKey } from './retransmission.ts';
import { refusalOf, type WireCheck } from './wire-check.ts';
import type { Wishes } from './wishes.ts';

/** What to answer to the final dot, and what to do once that answer is written. */
export interface DataAnswer {
  readonly reply: Reply;
  readonly acknowledged?: () => Promise<void>;
}

/** A message that was read to its end. */
export interface ReadMessage {
  readonly bytes: Uint8Array;
  readonly wire: WireCheck;
  readonly trace: string;
  readonly from: string;
  readonly recipients: readonly Address[];
  /** Those of them that a return path of ours named. */
  readonly returned: ReadonlySet<Address>;
  /** The only recipient, where that is a list that takes posts of its members only. */
  readonly forMembers?: Address | undefined;
  readonly protocol: string;
  readonly dsn: Wishes | undefined;
  readonly session: Promise<SessionEvidence & { ring: Evidence['ring'] }>;
  /** Aborted when the client is gone. */
  readonly ended: AbortSignal;
}

interface Judged {
  readonly header: HeaderBlock;
  readonly evidence: Evidence;
  readonly authentication: Authentication;
  readonly decision: Decision;
}

/**
 * Judges a message and, if it is taken, hands it over durably. `250` is the answer only when the queue has it on disk.
 * Answers within `decisionMs`; what is not in the queue by then does not get there later. Never throws.
 */
export async function accept(
  parts: InboundParts,
  retransmissions: Retransmissions,
  message: ReadMessage,
): Promise<DataAnswer> {
  const { trace, log, limits } = parts;
  trace(message.trace, { what: 'data', bytes: message.bytes.length });
  const late = Promise.withResolvers<DataAnswer>();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    late.resolve({ reply: withTrace(replies.tooSlow, message.trace) });
  }, limits.decisionMs);
  const isOver = (): boolean => isLate || message.ended.aborted;
  const answer = judgeAndQueue(parts, retransmissions, message, isOver).catch((error: unknown): DataAnswer => {
    log.error({ trace: message.trace, err: error }, 'a message could not be taken in');
    trace(message.trace, { what: 'fault', where: 'data', reason: String(error) });
    return { reply: withTrace(isDiskFault(error) ? replies.noStorage : replies.internal, message.trace) };
  });
  return await Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}

async function judgeAndQueue(
  parts: InboundParts,
  retransmissions: Retransmissions,
  message: ReadMessage,
  isOver: () => boolean,
): Promise<DataAnswer> {
  const header = readHeaderBlock(message.bytes);
  const unfit = refusalOf(message.bytes, message.wire, parts.limits, header);
  if (unfit !== undefined) {
    parts.trace(message.trace, { what: 'refused', reply: `${unfit.code} ${unfit.enhanced}`, reason: unfit.text });
    return { reply: withTrace(unfit, message.trace) };
  }
  const judged = await judge(parts, message, header);
  const refused = refusal(judged.decision, () => message.trace);
  if (refused !== undefined) return { reply: refused };
  if (await isNoMember(parts, message, judged.evidence)) {
    const { code, enhanced, text } = replies.notOfMembers;
    parts.trace(message.trace, { what: 'refused', reply: `${code} ${enhanced}`, reason: text });
    return { reply: withTrace(replies.notOfMembers, message.trace) };
  }
  const received = await sha256InSlices(message.bytes);
  const key = retransmissionKey(message.from, message.recipients, received, message.bytes.length);
  return await retransmissions.alone(key, async () => {
    const earlier = await retransmissions.earlier(key);
    // What comes again is added again as the same job: it is there already, or a crash came between its mark and it.
    const own = earlier === undefined ? message : { ...message, trace: earlier.trace };
    const { job, provenance } = await newJob(parts, own, judged, received);
    // The client has given up or is about to be told to come again: then the message must not be here as well.
    if (isOver()) return { reply: withTrace(replies.tooSlow, message.trace) };
    // It may have filled up, or failed, since MAIL.
    if (parts.storage.shut() !== undefined) return { reply: withTrace(replies.noStorage, message.trace) };
    const mark = retransmissions.mark(key, own.trace);
    const added = await parts.storage.watched(addMarked(parts.queue, job, mark, acquaintance(parts, message, judged)));
    if (earlier !== undefined) tellAgain(parts, message.trace, earlier.trace);
    if (added) parts.trace(own.trace, queuedEvent(own, provenance));
    return queued(retransmissions, key, own.trace);
  });
}

/** Whom the node of a private list would refuse is not known here; that one says so. */
async function isNoMember(
  { mayPost }: InboundParts,
  { forMembers }: ReadMessage,
  evidence: Evidence,
): Promise<boolean> {
  if (forMembers === undefined || mayPost === undefined) return false;
  const { author, dmarc } = evidence;
  const parsed = parseAddress(author.address);
  const isProven = author.kind === 'single' && dmarc.result === 'pass' && parsed.kind === 'address';
  return (await mayPost(forMembers, isProven ? parsed.address : undefined)) === false;
}

async function judge(parts: InboundParts, message: ReadMessage, header: HeaderBlock): Promise<Judged> {
  const { limits, config } = parts;
  const session = await message.session;
  const { evidence, authentication } = await gatherAtData(message.bytes, session, message.recipients, {
    ...parts,
    header,
    // RFC 6531 §4.3: such a protocol is named where SMTPUTF8 was.
    asciiOnly: !message.protocol.startsWith('UTF8'),
    returned: message.returned,
    ...limits,
    hostname: config.hostname,
    ring: session.ring,
  });
  if (authentication.fault !== undefined) {
    parts.log.error({ trace: message.trace, err: authentication.fault }, 'the authentication checks failed');
  }
  parts.trace(message.trace, {
    what: 'evidence',
    author: authentication.author.kind === 'single' ? authentication.author.address : authentication.author.reason,
    spf: evidence.spf.result,
    dkim: evidence.dkim.result,
    dmarc: evidence.dmarc.result,
    arc: evidence.arc.result,
    iprev: evidence.client.iprev,
    bounce: evidence.bounce.result,
  });
  return { header, evidence, authentication, decision: decideAndTrace(parts, evidence, () => message.trace) };
}

// Only authors who proved to be themselves are remembered, or a forger would make himself known under their names.
function acquaintance({ history }: InboundParts, { recipients }: ReadMessage, judged: Judged): Mark[] {
  const proven = judged.decision.verdict === 'accept' && judged.evidence.dmarc.result === 'pass';
  return proven ? history.marks(judged.authentication.author, recipients) : [];
}

function queued(retransmissions: Retransmissions, key: string, trace: string): DataAnswer {
  return {
    reply: { code: 250, enhanced: '2.0.0', text: `Ok: queued as ${trace}` },
    acknowledged: () => retransmissions.acknowledged(key, trace),
  };
}

function tellAgain({ trace }: InboundParts, own: string, earlier: string): void {
  trace(own, { what: 'retransmission', of: earlier });
  trace(earlier, { what: 'retransmitted', as: own });
}

/**
 * Adds the job with the mark by which its retransmission is known. A job without its mark would be doubled by the client that sends it again; so
 * where the two are not one commit the mark is written first. Whether the job is new.
 */
async function addMarked(queue: Queue, job: NewJob, mark: Mark, others: readonly Mark[]): Promise<boolean> {
  if (!queue.addsMarksAtomically) await queue.setMark(mark.key, mark.value, mark.expiresAt);
  const [result] = await queue.add([job], { marks: [mark, ...others] });
  return result?.added === true;
}

async function newJob(
  parts: InboundParts,
  message: ReadMessage,
  judged: Judged,
  received: Uint8Array,
): Promise<{ readonly job: NewJob; readonly provenance: Uint8Array }> {
  const { config, now, queue } = parts;
  const { evidence, decision } = judged;
  const { trace } = message;
  const at = now();
  const facts = { ...config, trace, at, evidence, protocol: message.protocol };
  const { parts: handedOn, removed } = withTraceFields(message.bytes, judged.header, facts);
  const provenance = await provenanceOf(parts, message, judged, { handedOn, removed, received, at });
  const { ip, name, iprev } = evidence.client;
  const returned = message.from === '' ? [...message.returned] : [];
  const inbound: Omit<InboundJob, 'message'> = {
    version: 1,
    trace,
    envelopeFrom: message.from,
    recipients: [...message.recipients],
    returned,
    ...(returned.length === 0 ? {} : { reporter: { ip, name: iprev === 'pass' ? name : '' } }),
    folder: decision.verdict === 'junk' ? 'junk' : 'inbox',
    provenance,
    receivedAt: at,
    senderProven: provesSender(evidence),
    ...(message.dsn === undefined ? {} : { dsn: message.dsn }),
  };
  const body = await encodeInboundJob(inbound, handedOn);
  const fits = body.length <= queue.maxBodyBytes;
  const job: NewJob = {
    id: `in:${trace}`,
    lane: inboundLaneFor(body.length),
    // Where the queue cannot hold the message, it goes into the ring first, and the job keeps the key.
    body: fits ? body : await encodeInboundJob(inbound, await parts.store(await joined(handedOn), trace)),
    about: {
      trace,
      sender: message.from,
      recipients: message.recipients.slice(0, 20),
      bytes: handedOn.reduce((sum, { length }) => sum + length, 0),
      verdict: decision.verdict,
      rule: decision.rule,
    },
    ...(decision.verdict === 'hold' || decision.verdict === 'quarantine'
      ? { hold: { reason: `${decision.verdict} by rule ${decision.rule}` } }
      : {}),
  };
  return { job, provenance };
}

/** Whether a notice to the envelope sender would reach the one who sent this (never backscatter). */
function provesSender({ envelope, spf, dmarc, author }: Evidence): boolean {
  if (envelope.fromDomain === '') return false;
  const bySpf = spf.result === 'pass' && spf.domain === envelope.fromDomain;
  return bySpf || (dmarc.result === 'pass' && author.domain === envelope.fromDomain);
}

// The record is kept with the timeline, too, for `epost trace --verify`.
function queuedEvent({ recipients }: ReadMessage, provenance: Uint8Array): TraceEvent {
  return { what: 'queued', recipients, provenance: Buffer.from(provenance).toString('base64') };
}

async function provenanceOf(
  { config, signer }: InboundParts,
  { trace }: ReadMessage,
  { evidence, authentication, decision }: Judged,
  {
    handedOn,
    removed,
    received,
    at,
  }: {
    readonly handedOn: readonly Uint8Array[];
    readonly removed: readonly string[];
    readonly received: Uint8Array;
    readonly at: number;
  },
): Promise<Uint8Array> {
  const { client, tls, envelope, author, spf, dmarc, arc } = evidence;
  const record = {
    version: 1 as const,
    trace,
    at,
    gateway: config.gateway,
    client: { ip: client.ip, name: client.name, iprev: client.iprev, helo: client.helo },
    tls: { ...tls },
    envelope: { from: envelope.from, recipientCount: envelope.recipientCount },
    author: { kind: author.kind, address: author.address },
    spf: { result: spf.result, domain: spf.domain },
    dmarc: { result: dmarc.result, domain: dmarc.domain, policy: dmarc.policy },
    arc: { result: arc.result, sealer: arc.sealer },
    dkim: [...authentication.signatures],
    decision: { verdict: decision.verdict, rule: decision.rule, policyHash: decision.policyHash },
    received,
    handedOn: await sha256OfParts(handedOn),
    ...(removed.length === 0 ? {} : { removed: [...removed] }),
  };
  return signProvenance(record, signer);
}
