const why: Readonly<Record<string, string>> = {
  missing: 'Every node of the ring that should hold its parts says that it has them no more.',
  damaged: 'What the ring holds under its name is not the message that was stored.',
  'too-large': 'Its reference claims more octets than a message can have.',
};

/** A message in place of one that is lost (DESIGN §9): says so in plain words, so that a mail program shows it instead of failing. */
export function placeholder(lost: { hash: Uint8Array; size: number; code: string; now: number }): Uint8Array {
  const id = Buffer.from(lost.hash).toString('hex');
  const lines = [
    'From: "ePOST" <>',
    'Subject: This message cannot be read any more',
    `Date: ${new Date(lost.now).toUTCString().replace('GMT', '+0000')}`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    'Auto-Submitted: auto-generated',
    '',
    `A message of ${lost.size} octets stood here. ${why[lost.code] ?? 'It could not be read.'}`,
    'If a backup or a node with the missing parts comes back, the message will be here again.',
    '',
    `SHA-256 of the message: ${id}`,
    '',
  ];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}
