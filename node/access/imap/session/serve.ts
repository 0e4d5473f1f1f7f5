import { MailFault } from '../../../mail/fault.ts';
import type { Command } from '../command/command.ts';
import { parseCommand } from '../command/parse.ts';
import type { Framed, LiteralAnnouncement } from '../wire/framer.ts';
import { WriterFault } from '../wire/writer.ts';
import { capabilities } from './capabilities.ts';
import { utf8Names } from './enabled.ts';
import { leaveFolder } from './folders.ts';
import { idle } from './idle.ts';
import { startTls } from './login.ts';
import { misplaced, perform } from './perform.ts';
import { names } from './search.ts';
import { bad, type Completion, endOf, moreOrEnd, no, type Session } from './session.ts';
import { sendUpdates } from './updates.ts';

/** Leads one conversation from the greeting to its end. Never throws; the connection is over when it resolves. */
export async function serve(session: Session, deadline: number): Promise<void> {
  const { connection, shared } = session;
  try {
    session.state = { at: 'not-authenticated' };
    await connection.writer.line(`* OK [CAPABILITY ${capabilities(session)}] ePOST is ready`);
    await connection.writer.flush();
    const reason = await converse(session, deadline);
    if (reason !== undefined) await connection.writer.line(`* BYE ${reason}`);
    await connection.writer.flush();
    connection.end();
  } catch (fault) {
    if (fault instanceof WriterFault) shared.log.info({ ip: connection.address, code: fault.code }, fault.message);
    else shared.log.error({ ip: connection.address, fault }, 'an IMAP session broke');
    connection.destroy();
  } finally {
    leaveFolder(session);
    session.leave?.();
    shared.release(session.reserved);
    session.state = { at: 'logout' };
  }
}

/** Command after command, answered in order. Resolves with what BYE says, or undefined after LOGOUT or a lost client. */
async function converse(session: Session, deadline: number): Promise<string | undefined> {
  const { connection, shared } = session;
  const { limits } = shared;
  let badCommands = 0;
  for (;;) {
    if (connection.signal.aborted) return undefined;
    if (badCommands >= limits.maxBadCommands) return 'too many bad commands';
    if (session.logins >= limits.maxLogins) return 'too many wrong passwords';
    const framed = connection.framer.next();
    if (framed.kind === 'more') {
      await connection.writer.flush();
      const over = await moreOctets(session, deadline);
      if (over === undefined) continue;
      return over.bye;
    }
    const end = endOf(session);
    if (end !== undefined) return end;
    if (framed.kind === 'too-long') return 'the command is too long';
    if (framed.kind === 'literal') {
      const over = await literal(session, framed.announcement);
      if (over !== undefined) return over;
      continue;
    }
    const outcome = await answer(session, framed);
    shared.release(session.reserved);
    session.reserved = 0;
    if (outcome.kind === 'over') return outcome.bye;
    badCommands = outcome.kind === 'bad' ? badCommands + 1 : 0;
  }
}

async function moreOctets(session: Session, deadline: number): Promise<{ bye: string | undefined } | undefined> {
  const { shared } = session;
  const loggedIn = session.state.at === 'authenticated' || session.state.at === 'selected';
  const arrival = await moreOrEnd(session, loggedIn ? shared.limits.idleMs : deadline - shared.now());
  if (typeof arrival === 'object') return arrival;
  if (arrival === 'closed') return { bye: undefined };
  if (arrival === 'timed-out') return { bye: loggedIn ? 'idle for too long' : 'log in faster' };
  return undefined;
}

const appends = /^\S+ append /i;

/** Decides on a literal before it is read. Gives a reason to end the session when it cannot be stepped over. */
async function literal(session: Session, announced: LiteralAnnouncement): Promise<string | undefined> {
  const { connection, shared } = session;
  const loggedIn = session.state.at === 'authenticated' || session.state.at === 'selected';
  const message = loggedIn && appends.test(announced.text);
  const allowed = message ? shared.limits.maxMessageBytes : shared.limits.maxLiteralBytes;
  // Small ones are counted like lines; large ones share one budget, and what is not there is refused, not waited for.
  const reserves = announced.size > shared.limits.maxLiteralBytes;
  if (announced.size > allowed || (reserves && !shared.reserve(announced.size))) {
    const tag = announced.text.split(' ', 1)[0] ?? '*';
    const code = announced.size > allowed ? 'TOOBIG' : 'LIMIT';
    await connection.writer.line(
      `${/^[^\s"(){%*\\+]+$/.test(tag) ? tag : '*'} NO [${code}] at most ${allowed} octets are taken here`,
    );
    connection.framer.dropCommand();
    // RFC 7888 §4: who did not wait sends the octets anyway; ending the connection is the cheaper way out.
    return announced.waits ? undefined : 'the literal is too large';
  }
  if (reserves) session.reserved += announced.size;
  connection.framer.takeLiteral();
  if (!announced.waits) return undefined;
  await connection.writer.line('+ go ahead');
  await connection.writer.flush();
  return undefined;
}

type Outcome = { readonly kind: 'answered' | 'bad' } | { readonly kind: 'over'; readonly bye: string | undefined };

async function answer(session: Session, framed: Extract<Framed, { kind: 'command' }>): Promise<Outcome> {
  const parsed = parseCommand(framed.segments, utf8Names(session));
  const { writer } = session.connection;
  if (parsed.kind === 'bad') {
    await writer.line(`${parsed.tag ?? '*'} BAD ${parsed.reason.replace(/[^\x20-\x7e]/g, '?')}`);
    return { kind: 'bad' };
  }
  const { tag, command } = parsed;
  session.tag = tag;
  const reason = misplaced(session, command.name);
  if (reason !== undefined) return await complete(session, tag, command, bad(reason));
  await settle(session, command);
  if (command.name === 'logout') {
    await writer.line('* BYE see you');
    await writer.line(`${tag} OK logged out`);
    return { kind: 'over', bye: undefined };
  }
  if (command.name === 'starttls') {
    const refused = await startTls(session, tag);
    return refused === undefined ? { kind: 'answered' } : await complete(session, tag, command, refused);
  }
  if (command.name === 'idle') {
    const end = await idle(session);
    return 'over' in end ? { kind: 'over', bye: end.over } : await complete(session, tag, command, end);
  }
  return await complete(session, tag, command, await performed(session, command));
}

/** Nobody misses a change of flags that was answered and is not written yet; the session that made it sees it without waiting. */
async function settle({ state, enabled }: Session, command: Command): Promise<void> {
  if (state.at !== 'selected') return;
  const { view } = state;
  const own = !enabled.has('CONDSTORE') && seesOwnFlags(command) ? view.unwritten : 0;
  if (view.folder.unwritten > own) await view.folder.settled();
}

/** Commands that look at flags as the session knows them, and at no mod-sequence. */
function seesOwnFlags(command: Command): boolean {
  switch (command.name) {
    case 'store':
      return command.unchangedSince === undefined;
    case 'fetch':
      return command.changedSince === undefined && command.items.every(({ kind }) => kind !== 'modseq');
    case 'search':
      return !names(command.program.key, 'modseq');
    default:
      return false;
  }
}

async function performed(session: Session, command: Parameters<typeof perform>[1]): Promise<Completion> {
  try {
    return await perform(session, command);
  } catch (fault) {
    if (fault instanceof WriterFault) throw fault;
    const { log } = session.shared;
    if (fault instanceof MailFault) {
      const { code, message } = fault;
      log.warn(
        { ip: session.connection.address, command: command.name, code, why: message },
        'an IMAP command could not be done',
      );
      return ofFault(fault);
    }
    log.error({ ip: session.connection.address, command: command.name, fault }, 'an IMAP command broke');
    return no('something is wrong here, not with you; it is in the log', 'SERVERBUG');
  }
}

/** RFC 5530 §3: what a program can do about it. */
function ofFault(fault: MailFault): Completion {
  const text = fault.message.replace(/[^\x20-\x7e]/g, '?');
  switch (fault.code) {
    case 'unavailable':
      return no(text, 'UNAVAILABLE');
    case 'folder-gone':
      return no(text, 'NONEXISTENT');
    case 'no-such-message':
      return no(text, 'EXPUNGEISSUED');
    case 'bad-flag':
      return no(text, 'CANNOT');
    case 'too-large':
      return no(text, 'TOOBIG');
    // RFC 9208 §4.3.2: also for APPEND and COPY of a server that does not speak QUOTA.
    case 'quota':
      return no(text, 'OVERQUOTA');
    default:
      return no(text, 'CONTACTADMIN');
  }
}

/** RFC 3501 §7.4.1: numbers must not change under FETCH, STORE and SEARCH by number, also when pipelined. */
function mayExpunge(command: Command): boolean {
  switch (command.name) {
    case 'fetch':
    case 'store':
      return command.messages.by === 'uid';
    case 'search':
      return command.by === 'uid';
    default:
      return true;
  }
}

async function complete(session: Session, tag: string, command: Command, completion: Completion): Promise<Outcome> {
  await sendUpdates(session, { expunges: mayExpunge(command) });
  const code = completion.code === undefined ? '' : `[${completion.code}] `;
  await session.connection.writer.line(`${tag} ${completion.status} ${code}${completion.text}`);
  return { kind: completion.status === 'BAD' ? 'bad' : 'answered' };
}
