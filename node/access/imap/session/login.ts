import type { Login } from '../../account.ts';
import { ScramExchange, scramMechanisms, scramPlusMechanism } from '../../scram-exchange.ts';
import type { Command } from '../command/command.ts';
import { capabilities } from './capabilities.ts';
import { bad, type Completion, no, ok, type Session } from './session.ts';

/** STARTTLS, LOGIN and AUTHENTICATE (RFC 3501 §6.2). */
export async function login(session: Session, username: string, password: string): Promise<Completion> {
  if (!session.secure) return no('use STARTTLS first', 'PRIVACYREQUIRED');
  const { address, signal } = session.connection;
  return admitted(session, await session.shared.gate.login(username, password, { ip: address, signal }));
}

/** What a decision about a log-in means for the session. */
function admitted(session: Session, answer: Login): Completion {
  const { enter, log } = session.shared;
  const { address } = session.connection;
  switch (answer.kind) {
    case 'refused':
      session.logins += 1;
      // RFC 5530 §3. The same words for a wrong name and a wrong password.
      return no('user name or password is wrong', 'AUTHENTICATIONFAILED');
    case 'barred':
      log.warn({ ip: address, reason: answer.reason }, 'log-in with the right password of a user who may not come in');
      // RFC 5530 §3.
      return no(answer.reason.replace(/[^\x20-\x7e]/g, '?'), 'CONTACTADMIN');
    case 'unavailable':
      log.warn({ ip: address, reason: answer.reason }, 'log-in could not be decided');
      return no('logging in is not possible at the moment; try again', 'UNAVAILABLE');
    default: {
      const leave = enter(answer.account);
      if (leave === undefined) return no('too many connections of this user', 'LIMIT');
      session.leave = leave;
      session.state = { at: 'authenticated', account: answer.account };
      log.info({ ip: address, user: answer.account.address }, 'logged in');
      return ok('logged in', `CAPABILITY ${capabilities(session)}`);
    }
  }
}

const longestResponse = 8_192;

/** SASL PLAIN (RFC 4616), with an initial response (RFC 4959) or without. */
export async function authenticate(
  session: Session,
  { mechanism, initial }: Extract<Command, { name: 'authenticate' }>,
): Promise<Completion> {
  if (!session.secure) return no('use STARTTLS first', 'PRIVACYREQUIRED');
  const scrams = scramMechanisms(session.shared.gate.scram, session.connection.channelBinding());
  if (scrams.includes(mechanism)) return await scram(session, mechanism, initial);
  if (mechanism !== 'PLAIN') return no(`the mechanisms known here are ${['PLAIN', ...scrams].join(', ')}`, 'CANNOT');
  const response = initial ?? (await continuation(session, ''));
  if (response === undefined) return bad('the response did not come');
  if (response === '*') return bad('cancelled');
  const credentials = plainCredentials(response);
  if (credentials === undefined) return bad('the response is not base64 of a PLAIN message');
  const { authorization, username, password } = credentials;
  // RFC 4616 §2: acting for another user is something nobody may do here.
  if (authorization !== '' && authorization !== username)
    return no('nobody may act for another', 'AUTHORIZATIONFAILED');
  return await login(session, username, password);
}

/** SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677, RFC 9266). The password is not sent. */
async function scram(session: Session, mechanism: string, initial: string | undefined): Promise<Completion> {
  const { gate } = session.shared;
  if (gate.scram === undefined) return no('SCRAM is not offered here', 'CANNOT');
  const { address, signal } = session.connection;
  const channel = { plus: mechanism === scramPlusMechanism, exporter: session.connection.channelBinding() };
  const exchange = new ScramExchange(gate, gate.scram, channel);
  const first = decoded(initial ?? (await continuation(session, '')));
  if (first === undefined) return bad('the response did not come, or is not base64');
  const challenge = await exchange.first(first);
  if (challenge.kind !== 'challenge') return bad(challenge.kind === 'malformed' ? challenge.why : 'decided too early');
  const final = decoded(await continuation(session, challenge.text));
  if (final === undefined) return bad('the response did not come, or is not base64');
  const step = await exchange.final(final, { ip: address, signal });
  if (step.kind !== 'decided') return bad(step.kind === 'malformed' ? step.why : 'not decided');
  // RFC 3501 §6.2.2 has no place for it in the OK: the server's own proof is one more challenge, answered with nothing.
  if (step.login.kind === 'account' && (await continuation(session, step.serverFinal)) !== '')
    return bad('the answer to the last challenge is empty');
  return admitted(session, step.login);
}

function decoded(response: string | undefined): string | undefined {
  if (response === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(response)) return undefined;
  return Buffer.from(response, 'base64').toString('utf8');
}

async function continuation(session: Session, challenge: string): Promise<string | undefined> {
  const { connection, shared } = session;
  await connection.writer.line(`+ ${Buffer.from(challenge).toString('base64')}`);
  await connection.writer.flush();
  for (;;) {
    const line = connection.framer.nextLine();
    if (line === 'too-long') return undefined;
    if (line !== undefined) return line.length > longestResponse ? undefined : line.toString('latin1');
    if ((await connection.more(shared.limits.unauthenticatedMs)) !== 'data') return undefined;
  }
}

function plainCredentials(response: string): { authorization: string; username: string; password: string } | undefined {
  if (response === '=' || !/^[A-Za-z0-9+/]+={0,2}$/.test(response)) return undefined;
  const parts = Buffer.from(response, 'base64').toString('utf8').split('\0');
  const [authorization, username, password] = parts;
  if (parts.length !== 3 || authorization === undefined || !username || !password) return undefined;
  return { authorization, username, password };
}

/** RFC 3501 §6.2.1. The tagged OK goes out in the clear, so it is written here; undefined when the handshake failed. */
export async function startTls(session: Session, tag: string): Promise<Completion | undefined> {
  if (session.secure) return bad('TLS is on already');
  const { connection, shared } = session;
  await connection.writer.line(`${tag} OK begin TLS`);
  await connection.writer.flush();
  session.secure = await connection.secure(shared.context(), shared.limits.unauthenticatedMs);
  if (!session.secure) connection.destroy();
  return undefined;
}
