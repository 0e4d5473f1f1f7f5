import type { ReadyLine } from './ready-line.ts';

/** What `epost up` tells a person when it is ready; on the first start also the passwords and what to type next. */
export function firstSteps(line: ReadyLine, first: boolean): string {
  const listens = [
    ['mail from the Internet (MX)', line.mx],
    ['submission (STARTTLS)', line.submission],
    ['submission (TLS)', line.submissions],
    ['IMAP (STARTTLS)', line.imap],
    ['IMAP (TLS)', line.imaps],
    ['health and metrics', line.http === undefined ? undefined : `http://${line.http}/`],
    ['the ring', line.ring],
  ].filter(([, place]) => place !== undefined);
  const width = Math.max(...listens.map(([what = '']) => what.length)) + 2;
  const users = line.users.map(
    ({ address, password }) => `  ${address}${password === undefined ? '' : `   password: ${password}`}`,
  );
  return [
    `ePOST is ready: the ring ${line.domain}, home ${line.home}`,
    ...listens.map(([what = '', place = '']) => `  ${what.padEnd(width)}${place}`),
    'users with a mailbox here',
    ...users,
    ...(first ? firstHints(line) : []),
    '',
  ].join('\n');
}

function firstHints(line: ReadyLine): string[] {
  const [someone, other] = line.users;
  if (someone?.password === undefined || line.mx === undefined) return [];
  return [
    'The passwords are said once and kept nowhere; `epost user passwd ADDRESS` makes new ones.',
    '',
    'A first message, from outside, as another mail server would send it:',
    `  printf 'From: friend@sender.test\\r\\nTo: ${someone.address}\\r\\nSubject: Hello\\r\\n\\r\\nIt works.\\r\\n' |`,
    `    curl -s smtp://${line.mx} --mail-from friend@sender.test --mail-rcpt ${someone.address} -T -`,
    'read it (the certificate is self-signed, hence -k):',
    `  curl -sk 'imaps://${line.imaps ?? ''}/INBOX;MAILINDEX=1' -u '${someone.address}:${someone.password}'`,
    ...(other?.password === undefined
      ? []
      : [
          `and one from ${other.address} to ${someone.address}, which no SMTP server ever sees:`,
          `  printf 'From: ${other.address}\\r\\nTo: ${someone.address}\\r\\nSubject: Inside\\r\\n\\r\\nHello.\\r\\n' |`,
          `    curl -sk --ssl-reqd smtp://${line.submission ?? ''} -u '${other.address}:${other.password}' --mail-from ${other.address} --mail-rcpt ${someone.address} -T -`,
        ]),
    'what happened to the newest messages:',
    `  npx epost trace --home ${line.home}`,
  ];
}
