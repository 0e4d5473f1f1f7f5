import type { Command, CommandName } from '../command/command.ts';
import { nstring } from '../wire/output.ts';
import { capabilities } from './capabilities.ts';
import { append, copy, expunge, expungeQuietly, store } from './change-messages.ts';
import { enable } from './enabled.ts';
import { fetch } from './fetch.ts';
import { list, lsub } from './folder-list.ts';
import { changeFolders, leaveFolder, select, status } from './folders.ts';
import { authenticate, login } from './login.ts';
import { quota } from './quota.ts';
import { search } from './search.ts';
import { bad, type Completion, type LoggedIn, ok, type Selected, type Session } from './session.ts';

/** The commands whose part in the conversation is more than one answer; the loop in serve.ts does them. */
export type Conversational = 'starttls' | 'idle' | 'logout';
export type Performable = Exclude<Command, { name: Conversational }>;

/** RFC 3501 §3: where a command may stand. Those not named may stand anywhere. */
const places: Partial<Record<CommandName, 'not-authenticated' | 'selected' | 'unselected'>> = {
  starttls: 'not-authenticated',
  login: 'not-authenticated',
  authenticate: 'not-authenticated',
  check: 'selected',
  close: 'selected',
  unselect: 'selected',
  expunge: 'selected',
  fetch: 'selected',
  store: 'selected',
  copy: 'selected',
  move: 'selected',
  search: 'selected',
  // RFC 5161 §3.1, RFC 9051 §6.3.1: what is switched on changes what a selected folder says.
  enable: 'unselected',
};
const anywhere: readonly CommandName[] = ['capability', 'noop', 'logout', 'id'];

/** Whether the session is in a state that takes the command; the reason when it is not. */
export function misplaced({ state }: Session, name: CommandName): string | undefined {
  if (anywhere.includes(name)) return undefined;
  const place = places[name] ?? 'authenticated';
  if (place === 'not-authenticated') return state.at === place ? undefined : 'you are logged in already';
  if (state.at !== 'authenticated' && state.at !== 'selected') return 'log in first';
  if (place === 'unselected') return state.at === 'selected' ? 'only before a folder is selected' : undefined;
  return place === 'selected' && state.at !== 'selected' ? 'select a folder first' : undefined;
}

/** Does one command in the state it belongs to. Throws MailFault, and WriterFault when the client is gone. */
export async function perform(session: Session, command: Performable): Promise<Completion> {
  switch (command.name) {
    case 'capability':
      await session.connection.writer.line(`* CAPABILITY ${capabilities(session)}`);
      return ok('that is all');
    case 'noop':
    case 'check':
      return ok('done');
    case 'id':
      return await id(session, command);
    case 'login':
      return await login(session, command.username, command.password);
    case 'authenticate':
      return await authenticate(session, command);
    default:
      return session.state.at === 'authenticated' || session.state.at === 'selected'
        ? await performLoggedIn(session, session.state, command)
        : bad('log in first');
  }
}

type LoggedInCommand = Exclude<
  Performable,
  { name: 'capability' | 'noop' | 'check' | 'id' | 'login' | 'authenticate' }
>;

async function performLoggedIn(session: Session, state: LoggedIn, command: LoggedInCommand): Promise<Completion> {
  const { writer } = session.connection;
  switch (command.name) {
    case 'namespace':
      // RFC 2342: one personal name space, nobody else's, nothing shared.
      await writer.line('* NAMESPACE (("" "/")) NIL NIL');
      return ok('that is all');
    case 'enable':
      await writer.line(['* ENABLED', ...enable(session, command.capabilities)].join(' '));
      return ok('enabled');
    case 'select':
    case 'examine':
      return await select(session, state, command);
    case 'create':
    case 'delete':
    case 'rename':
    case 'subscribe':
    case 'unsubscribe':
      return await changeFolders(state, command);
    case 'list':
      return await list(session, state, command);
    case 'lsub':
      return await lsub(session, state, command);
    case 'status':
      return await status(session, state, command);
    case 'append':
      return await append(session, state, command);
    case 'getquota':
    case 'getquotaroot':
      return await quota(session, state, command);
    default:
      return state.at === 'selected' ? await performSelected(session, state, command) : bad('select a folder first');
  }
}

type SelectedCommand = Extract<
  LoggedInCommand,
  { name: 'close' | 'unselect' | 'expunge' | 'fetch' | 'store' | 'copy' | 'move' | 'search' }
>;

async function performSelected(session: Session, state: Selected, command: SelectedCommand): Promise<Completion> {
  switch (command.name) {
    case 'close':
      if (!state.view.readOnly) await expungeQuietly(state.view);
      leaveFolder(session);
      // RFC 7162 §3.2.8.
      return ok(
        'closed',
        session.enabled.has('QRESYNC') ? `HIGHESTMODSEQ ${state.view.folder.highestModseq}` : undefined,
      );
    case 'unselect':
      leaveFolder(session);
      return ok('closed');
    case 'expunge':
      return await expunge(session, state, command);
    case 'fetch':
      return await fetch(session, state, command);
    case 'store':
      return await store(session, state, command);
    case 'copy':
    case 'move':
      return await copy(session, state, command);
    default:
      return await search(session, state, command);
  }
}

async function id(session: Session, { fields }: Extract<Command, { name: 'id' }>): Promise<Completion> {
  session.shared.log.debug(
    { ip: session.connection.address, client: Object.fromEntries(fields) },
    'the client says what it is',
  );
  // RFC 2971 §3.2: no version, which would only help to pick an attack.
  await session.connection.writer.line(`* ID ("name" ${nstring('ePOST')})`);
  return ok('pleased to meet you');
}
