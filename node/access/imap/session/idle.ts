import { bad, type Completion, endOf, moreOrEnd, ok, type Session } from './session.ts';
import { sendUpdates } from './updates.ts';

/** IDLE (RFC 2177): tells of changes as they happen until the client says DONE. `over` is a reason to end the session. */
export async function idle(session: Session): Promise<Completion | { readonly over: string }> {
  const { connection, shared } = session;
  await connection.writer.line('+ idling');
  const until = shared.now() + shared.limits.idleCommandMs;
  for (;;) {
    await sendUpdates(session, { expunges: true });
    await connection.writer.flush();
    const line = connection.framer.nextLine();
    if (line === 'too-long') return { over: 'the line is too long' };
    if (line !== undefined)
      return /^done$/i.test(line.toString('latin1')) ? ok('no longer idle') : bad('expected DONE');
    const bye = endOf(session);
    if (bye !== undefined) return { over: bye };
    // Between the check and the wait nothing is awaited, so that no change is missed.
    if (session.state.at === 'selected' && session.state.view.behind) continue;
    const arrival = await moreOrEnd(session, until - shared.now());
    if (typeof arrival === 'object') return { over: arrival.bye };
    if (arrival === 'closed') return { over: 'the client is gone' };
    if (arrival === 'timed-out') return { over: 'idle for too long' };
  }
}
