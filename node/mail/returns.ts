import type { Address } from '../../policy/address.ts';
import type { Notify, TraceEvent } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import { MailFault } from './fault.ts';
import type { Folder } from './folder.ts';
import type { Clock, Log } from './mail-post.ts';
import type { Mailbox } from './mailbox.ts';
import { sha256 } from './manifest.ts';
import { decodeMessageRef } from './message-ref.ts';
import { buildNotice, type NoticeRecipient } from './notice.ts';
import { type SubmitOptions, submit } from './send.ts';
import type { SentBook, SentNote } from './sent-book.ts';

export interface ReturnsOptions {
  readonly notify: Pick<Notify, 'onReceipt' | 'watch'>;
  readonly book: Pick<SentBook, 'find' | 'settle' | 'outstanding'>;
  /** Puts a notice before whoever is to be told: into the user's own inbox, as a rule. The same id again is the same notice. */
  readonly deliver: (notice: Uint8Array, id: Uint8Array, note: SentNote) => Promise<void>;
  /** Puts a message into the inbox whose forwarding failed, where no copy is there. */
  readonly giveBack?: ((note: SentNote) => Promise<void>) | undefined;
  /** Whose mail it is: whom notices for the owners of a list are from. */
  readonly author: Address;
  readonly reportingMta: string;
  /** Takes how each notification was answered, under the trace id of its message. */
  readonly trace?: ((id: string, event: TraceEvent) => void) | undefined;
  readonly now: Clock;
  readonly log: Log;
}

/**
 * Tells a user how his messages ended: a refusal and an expiry become notices in his own inbox (DESIGN §8.5), made on his own node, so that nobody else has
 * to be believed. A notice that cannot be kept now is made again at the next start. Returns how to stop it.
 */
export async function followReturns(options: ReturnsOptions): Promise<() => Promise<void>> {
  const { notify, book, log } = options;
  let last: Promise<void> = Promise.resolve();
  const take = (receipt: Receipt): void => {
    last = last
      .then(async () => settle(options, receipt))
      .catch((error: unknown) => log.warn({ err: error }, 'how a message ended could not be told yet'));
  };
  const forget = notify.onReceipt(take);
  const awaited = book.outstanding().map(({ id, note }) => ({ id, recipient: note.to }));
  for (const receipt of await notify.watch(awaited)) take(receipt);
  return async () => {
    forget();
    await last;
  };
}

async function settle(options: ReturnsOptions, receipt: Receipt): Promise<void> {
  const { book, deliver, giveBack, reportingMta, author, trace, now } = options;
  const note = book.find(receipt.id);
  // Another user's, or told already.
  if (note === undefined) return;
  if (note.forwarded !== undefined && receipt.verdict !== 'accepted') await giveBack?.(note);
  // RFC 3464 §2: never a notice about a message with the null reverse-path.
  const told = note.sender === '' || note.forwarded !== undefined ? [] : endsToTell(receipt, note);
  if (told.length > 0) {
    const { sender, envid, header, at, traceId } = note;
    const facts = {
      reportingMta,
      ...(note.list === undefined ? {} : { author }),
      sender: note.list ?? sender,
      recipients: told,
      originalHeader: header,
      envid,
      arrivedAt: at,
      traceId,
    };
    // By the receipt's time, so that a notice made twice is the same octets.
    const notice = buildNotice({ ...facts, now: receipt.at || now() });
    await deliver(notice, sha256(Buffer.concat([noticeTag, receipt.id])), note);
  }
  await book.settle(receipt.id);
  const { verdict, rule } = receipt;
  trace?.(note.traceId, { what: 'receipt', recipient: note.to, verdict, ...(rule === undefined ? {} : { rule }) });
}

/** What the sender wants to know of it (RFC 3461 §4.1): failures, where he asked nothing; success only where he asked for that. */
function endsToTell(receipt: Receipt, note: SentNote): readonly NoticeRecipient[] {
  return note.recipients.flatMap((address, place) => {
    const { notify = [], orcpt } = note.dsn?.[place] ?? {};
    if (receipt.verdict !== 'accepted') {
      const wanted = notify.length === 0 || notify.includes('FAILURE');
      return wanted ? [{ ...failed(address, receipt, note), orcpt }] : [];
    }
    // What the gateway takes onward ends there, and is told from there.
    if (note.via === 'gateway' || !notify.includes('SUCCESS')) return [];
    return [
      {
        address,
        orcpt,
        action: 'delivered' as const,
        status: '2.0.0',
        text: 'It is in the mailbox; the receipt is signed.',
      },
    ];
  });
}

const noticeTag = Buffer.from('epost/notice\0');

function failed(address: string, { verdict, rule }: Receipt, note: SentNote): NoticeRecipient {
  const who = note.via === 'ring' ? 'The recipient' : `${note.to}, which takes your mail onward,`;
  if (verdict === 'refused')
    return {
      address,
      action: 'failed',
      // RFC 3463 §3.8: delivery not authorized.
      status: '5.7.1',
      diagnostic: `x-epost; refused by rule ${rule ?? 'unnamed'}`,
      text: `${who} refused it (rule: ${rule ?? 'not named'}). If you think that is wrong, ask your postmaster.`,
    };
  return {
    address,
    action: 'failed',
    // RFC 3463 §3.5: delivery time expired.
    status: '5.4.7',
    text: `${who} could not be reached for two weeks. The message is given up; send it again if it still matters.`,
  };
}

/** How a mailbox takes a notice: stored, then inserted once under that id. */
export function intoInbox(mailbox: Mailbox, now: Clock): (notice: Uint8Array, id: Uint8Array) => Promise<void> {
  return async (notice, id) => {
    await (await inboxOf(mailbox)).appendOnce(notice, { id, internalDate: now() });
  };
}

/** Where notices of a user's mail go: into his inbox; of what he sent to the members of a list, to its owners. */
export function noticesOf(
  mailbox: Mailbox,
  sending: Omit<SubmitOptions, 'envelope' | 'bytes' | 'traceId'>,
): ReturnsOptions['deliver'] {
  const toHimself = intoInbox(mailbox, sending.now);
  return async (notice, id, note) => {
    if (note.list === undefined) return toHimself(notice, id);
    // The null reverse-path: the list gives it to its owners.
    const envelope = { from: '', to: [note.list] };
    const { recipients } = await submit({ ...sending, envelope, bytes: notice, traceId: note.traceId });
    if (recipients.some(({ outcome }) => outcome.kind === 'try-later'))
      throw new MailFault('unavailable', `the owners of ${note.list} could not be told`);
  };
}

/** Into the inbox, where the forwarding of a message has failed that was not kept. */
export async function giveBack(mailbox: Mailbox, { forwarded, sender, at, traceId }: SentNote): Promise<void> {
  if (forwarded === undefined || forwarded.kept) return;
  const { id } = forwarded;
  const ref = decodeMessageRef(forwarded.message);
  await mailbox.keep(ref);
  await (await inboxOf(mailbox)).insertRef({ id, ref, internalDate: at, envelopeFrom: sender, trace: traceId });
}

async function inboxOf(mailbox: Mailbox): Promise<Folder> {
  const inbox = await mailbox.folder('INBOX');
  if (inbox === undefined) throw new MailFault('folder-gone', 'there is no INBOX');
  return inbox;
}
