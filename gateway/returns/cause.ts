/** What a delivery failure means for the person who wrote the message: what happened, and what to do. Pure. */

export type Cause =
  | 'no-such-address'
  | 'no-such-host'
  | 'mailbox-closed'
  | 'mailbox-full'
  | 'too-large'
  | 'not-reached'
  | 'loop'
  | 'content'
  | 'unauthenticated'
  | 'reputation'
  | 'not-allowed'
  | 'other';

/** In the order in which they are tried; RFC 3463 says what the codes mean, RFC 7372 the later ones. */
const byStatus: readonly (readonly [RegExp, Cause])[] = [
  [/^.\.1\.(?:1|3|6|10)$/, 'no-such-address'],
  [/^.\.(?:1\.2|4\.3)$/, 'no-such-host'],
  [/^.\.2\.1$/, 'mailbox-closed'],
  [/^.\.2\.2$/, 'mailbox-full'],
  [/^.\.(?:2\.3|3\.4)$/, 'too-large'],
  [/^.\.4\.6$/, 'loop'],
  [/^.\.4\./, 'not-reached'],
  [/^.\.7\.(?:2[0-9]|5)$/, 'unauthenticated'],
  [/^.\.6\./, 'content'],
  [/^.\.7\.1$/, 'not-allowed'],
];

/** Words that hosts use; many give 5.0.0 or 5.1.1 for everything, so clear words go first. */
const byWords: readonly (readonly [RegExp, Cause])[] = [
  [
    /mailbox (?:is )?full|over ?quota|quota (?:has been )?exceeded|exceeded.{0,20}quota|insufficient (?:disk|storage)|not enough (?:disk|storage) space/i,
    'mailbox-full',
  ],
  [
    /message (?:size )?(?:is )?(?:too (?:big|large|long)|exceeds)|size limit|exceed(?:s|ed).{0,20}(?:maximum|size)/i,
    'too-large',
  ],
  [/\bSPF\b|\bDKIM\b|\bDMARC\b|unauthenticated/i, 'unauthenticated'],
  [/block ?list|black ?list|\bRBL\b|DNSBL|spamhaus|reputation|\bPTR\b|reverse dns|rate limit/i, 'reputation'],
  [/\bspam\b|virus|malware|content (?:rejected|filter)/i, 'content'],
  [
    /user unknown|unknown (?:user|recipient|local)|no such (?:user|person|recipient|mailbox|address)|does(?:n't| not) exist|no mailbox here|invalid (?:recipient|mailbox|address)|recipient (?:name is )?(?:address )?(?:not (?:found|recognized)|rejected: (?:user )?unknown)|not a (?:valid|known) (?:user|mailbox|recipient)/i,
    'no-such-address',
  ],
  [
    /host (?:unknown|not found)|unknown host|name or service not known|domain (?:not found|does not exist)|no such domain|no route to host|unrouteable address|couldn't find any host/i,
    'no-such-host',
  ],
  [/(?:account|mailbox|user).{0,30}(?:disabled|suspended|deactivated|inactive|closed|expired)/i, 'mailbox-closed'],
  [/too many hops|mail loop|loops? back|routing loop/i, 'loop'],
  [
    /timed out|connection refused|retry time(?:out)? (?:not reached|exceeded)|no answer|undeliverable for/i,
    'not-reached',
  ],
  [/not permitted|denied|relay|prohibited|not authori[sz]ed/i, 'not-allowed'],
];

// Replies are a few lines; what is longer is not worth the time.
const maxText = 2_000;

/** `status` is an enhanced status code (RFC 3463) or empty; `text` what the host said. */
export function causeOf(status: string, text: string): Cause {
  const said = text.slice(0, maxText);
  return (
    byWords.find(([words]) => words.test(said))?.[1] ?? byStatus.find(([code]) => code.test(status))?.[1] ?? 'other'
  );
}

const advice: Readonly<Record<Cause, string>> = {
  'no-such-address': 'The address does not exist there. Check its spelling, or ask the person for the current one.',
  'no-such-host': 'The part after the @ leads to no mail server. Check its spelling.',
  'mailbox-closed': 'The mailbox exists and takes no mail any more. Reach the person another way.',
  'mailbox-full': 'The mailbox is full. Send it again in a few days, or tell the person another way.',
  'too-large': 'The message is larger than that host takes. Send less at a time, or a link.',
  'not-reached': 'The mail host could not be reached in time. Send it again later if it still matters.',
  loop: 'The mail went round in circles at the other side. Only its postmaster can mend that.',
  content: 'The host did not like what the message contains. Write it differently, or without attachment.',
  unauthenticated:
    'The host could not see that the message is ours. Tell your postmaster: SPF, DKIM or DMARC may be broken.',
  reputation: 'The host does not trust our mail server for now. Tell your postmaster.',
  'not-allowed': 'The recipient or the host does not take this from you. Reach the person another way.',
  other: 'The other side gives no reason that we know. What it said stands below.',
};

/** One or two sentences. */
export function adviceOn(cause: Cause): string {
  return advice[cause];
}

/** Whether the address itself is dead, whatever is sent to it. */
export function isDeadAddress(cause: Cause): boolean {
  return cause === 'no-such-address' || cause === 'mailbox-closed';
}
