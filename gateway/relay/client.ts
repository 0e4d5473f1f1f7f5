/** One delivery of one message to one mail server, for recipients of one domain: what became of each of them. */
import type { Mail, RecipientTrouble, Sent, SmtpClient, SmtpTrouble } from './connection.ts';
import { isPermanent, type Outcome, shortReply, statusOf } from './outcome.ts';
import type { SmtpPool } from './pool.ts';
import type { Hop } from './route.ts';
import type { TlsDemand } from './smtp/tls-demand.ts';
import type { TlsFailure } from './tls-report/session-result.ts';
import type { Level } from './transport/security.ts';

/** RFC 8689 §4.2.1: no TLS, or none that proves who is there; no promise to pass the demand on. */
export type Lacking = '5.7.10' | '5.7.30';

export type Delivery =
  /** The server answered for the recipients; each of them has an outcome. */
  | {
      readonly kind: 'answered';
      readonly outcomes: ReadonlyMap<string, Outcome>;
      readonly level: Level;
      /** Why its certificate would not do for a verified connection, if it would not. */
      readonly certificateTrouble: string;
      /** It asked us to do less. */
      readonly isBusy: boolean;
    }
  /** The server was of no use, and nothing of the message has reached it: the next one may be tried. */
  | {
      readonly kind: 'unusable';
      readonly reply: string;
      readonly status: string;
      readonly tls?: TlsFailure;
      /** What a message that requires TLS needs and this server has not, as the status to tell (RFC 8689 §4.2.1). */
      readonly lacking?: Lacking;
      /** It was there, and asked us to come later. */
      readonly isBusy: boolean;
    };

/** Never throws for what a server does. `onDelivered`: see SmtpClient.send. */
export async function deliverTo(
  pool: SmtpPool,
  hop: Hop,
  tls: TlsDemand,
  mail: Mail,
  now: () => number,
  onDelivered: (accepted: readonly string[]) => void,
): Promise<Delivery> {
  for (const fresh of [false, true]) {
    const lent = await pool.take(hop, tls, fresh);
    if ('trouble' in lent) return unusable(lent.trouble);
    if (mail.requireTls === true && !lent.client.takesRequireTls) {
      await pool.giveBack(lent.client, true);
      return withoutRequireTls;
    }
    const sent = await lent.client.send(mail, onDelivered);
    await pool.giveBack(lent.client, sent.kind === 'sent');
    // A kept connection that the host closes, with or without a 421, says nothing of the host.
    const closed = sent.kind === 'failed' && (isSilentEnd(sent) || (sent.trouble.code === 421 && !sent.began));
    if (closed && lent.reused && !fresh) continue;
    return judged(sent, hop, mail, now(), lent.client);
  }
  return { kind: 'unusable', reply: 'the connection was closed again and again', status: '4.4.2', isBusy: false };
}

/** The connection ended before the host answered anything of this transaction. */
function isSilentEnd(sent: Extract<Sent, { kind: 'failed' }>): boolean {
  const { trouble, refused, dead, began } = sent;
  return dead && trouble.code === undefined && refused.length === 0 && !began;
}

/** RFC 5321 §4.2.1: 4yz, said of the session or of the whole message. */
function asksForLess({ code }: SmtpTrouble): boolean {
  return code !== undefined && code >= 400 && code < 500;
}

const withoutRequireTls: Delivery = {
  kind: 'unusable',
  reply: 'the host does not offer REQUIRETLS, which this message asks for',
  status: '5.7.30',
  lacking: '5.7.30',
  isBusy: false,
};

function unusable(trouble: SmtpTrouble): Delivery {
  const reply = shortReply(trouble.reply);
  const isBusy = asksForLess(trouble);
  // RFC 3463: 4.7.5 cryptographic failure, 4.4.1 no answer from host.
  // A handshake that broke off has no type of its own.
  if (trouble.name === 'tls')
    return {
      kind: 'unusable',
      reply,
      status: '4.7.5',
      tls: trouble.tls ?? 'validation-failure',
      // A handshake that broke off may succeed at the next try.
      ...(trouble.tls === undefined ? {} : { lacking: '5.7.10' }),
      isBusy,
    };
  return { kind: 'unusable', reply, status: trouble.code === undefined ? '4.4.1' : statusOf(reply, false), isBusy };
}

function judged(
  sent: Sent,
  hop: Hop,
  mail: Mail,
  at: number,
  { level, certificateTrouble }: Pick<SmtpClient, 'level' | 'certificateTrouble'>,
): Delivery {
  const host = hop.name;
  const outcomes = new Map<string, Outcome>();
  for (const refusal of sent.refused) outcomes.set(refusal.recipient, refusedOutcome(refusal, host, at, 'RCPT'));
  if (sent.kind === 'sent') {
    const reply = shortReply(sent.reply);
    const { takesDsn } = sent;
    for (const recipient of sent.accepted) outcomes.set(recipient, { kind: 'delivered', at, host, reply, takesDsn });
    return { kind: 'answered', outcomes: complete(outcomes, mail, host, at), level, certificateTrouble, isBusy: false };
  }
  const { trouble } = sent;
  // RFC 5321 §3.8: 421 says that the host closes, whatever was asked.
  const ofHost = trouble.code === 421 || isSilentEnd(sent);
  if (ofHost && outcomes.size === 0 && !sent.began) return unusable(trouble);
  for (const recipient of mail.recipients) {
    if (!outcomes.has(recipient)) outcomes.set(recipient, wholeOutcome(trouble, host, at));
  }
  return { kind: 'answered', outcomes, level, certificateTrouble, isBusy: asksForLess(trouble) };
}

function refusedOutcome(refusal: RecipientTrouble, host: string, at: number, command: 'RCPT' | 'other'): Outcome {
  const permanent = isPermanent(refusal.code ?? 0, command);
  const reply = shortReply(refusal.reply);
  const facts = { at, host, status: statusOf(reply, permanent), reply };
  return permanent ? { ...facts, kind: 'never', ofAddress: true } : { ...facts, kind: 'later' };
}

/** What the failure of the transaction means for a recipient that was not refused by itself. */
function wholeOutcome(trouble: SmtpTrouble, host: string, at: number): Outcome {
  const reply = shortReply(trouble.reply);
  // The host cannot take this message, now or later; it was not even offered.
  if (trouble.status !== undefined) return { kind: 'never', at, host, status: trouble.status, reply };
  const permanent = isPermanent(trouble.code ?? 0, 'other');
  // 4.4.2: the connection was lost. If that was after the final dot, nobody can know whether the message arrived.
  const status = trouble.code === undefined ? '4.4.2' : statusOf(reply, permanent);
  return { kind: permanent ? 'never' : 'later', at, host, status, reply };
}

/** A recipient the library lost count of is tried again. */
function complete(outcomes: Map<string, Outcome>, mail: Mail, host: string, at: number): Map<string, Outcome> {
  for (const recipient of mail.recipients) {
    if (!outcomes.has(recipient)) {
      outcomes.set(recipient, { kind: 'later', at, host, status: '4.0.0', reply: 'the host gave no answer' });
    }
  }
  return outcomes;
}
