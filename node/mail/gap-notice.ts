/**
 * What a folder shows where a part of its log is lost for good (DESIGN §9): the same octets for every such part, because its size has to be known
 * before anybody reads it.
 */
export const gapNotice: Uint8Array = Buffer.from(
  [
    'From: ePOST <mailer-daemon@invalid>',
    'Subject: A part of this folder cannot be read',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    '',
    'Some entries of this folder are lost: none of the machines that kept them has them any more.',
    'Messages that stood here may be missing. All others are shown.',
    '',
    'Should the machines come back that had them, the messages appear again by themselves.',
    '"epost recover" can bring back the folder as it was at an earlier time.',
    '',
  ].join('\r\n'),
);
