import { scramMechanisms } from '../../scram-exchange.ts';
import type { Session } from './session.ts';

const always = ['IMAP4rev1', 'IMAP4rev2', 'SASL-IR', 'LITERAL+', 'ID', 'ENABLE'];
// In lines, as the line of a whole would be no help to read.
const loggedIn = [
  'NAMESPACE IDLE UNSELECT UIDPLUS MOVE CHILDREN SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE',
  'CONDSTORE QRESYNC ESEARCH SEARCHRES BINARY OBJECTID PREVIEW UTF8=ACCEPT',
];

/** RFC 3501 §6.1.1: what this session may use now. Passwords go over TLS only (RFC 3501 §6.2.3, RFC 8314 §3). */
export function capabilities(session: Session): string {
  if (session.state.at === 'authenticated' || session.state.at === 'selected') {
    const { maxMessageBytes } = session.shared.limits;
    return [
      ...always,
      ...loggedIn,
      ...(session.state.account.quota === undefined ? [] : ['QUOTA QUOTA=RES-STORAGE']),
      `APPENDLIMIT=${maxMessageBytes}`,
    ].join(' ');
  }
  if (!session.secure) return [...always, 'STARTTLS', 'LOGINDISABLED'].join(' ');
  const mechanisms = ['PLAIN', ...scramMechanisms(session.shared.gate.scram, session.connection.channelBinding())];
  return [...always, ...mechanisms.map((name) => `AUTH=${name}`)].join(' ');
}
