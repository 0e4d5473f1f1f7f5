import type { Stream } from '@libp2p/interface';
import { beforeDeadline } from './deadline.ts';
import type { Frame } from './frame.ts';
import { FrameStream } from './frame-stream.ts';
import type { Handlers } from './handlers.ts';
import { type Log, type Member, OverlayFault } from './overlay.ts';
import { maxInFlight } from './peer-line.ts';

// A caller's deadline beyond this is not believed: a handler must not be kept for hours by a peer that forgot it.
export const maxDeadlineMs = 120_000;
// Handlers that go on after their signal aborted still cost: a peer that asks and cancels in turn may have this many.
const maxWorking = 4 * maxInFlight;

type Request = Extract<Frame, { kind: 'request' }>;

/**
 * Answers the requests of one admitted member on one stream. At most {@link maxInFlight} are worked on; beyond that the
 * stream is not read until one is done and its answer is on the way, so that the peer waits, not our memory.
 */
export function serveRequests(
  stream: Stream,
  from: Member,
  handlers: Handlers,
  { log, used, broke }: { readonly log: Log; readonly used: () => void; readonly broke: (what: string) => void },
): void {
  const running = new Map<number, AbortController>();
  let working = 0;
  let paused = false;

  const frames = new FrameStream(stream, {
    frame(frame) {
      if (frame.kind === 'request') begin(frame);
      else if (frame.kind === 'cancel') cancel(frame.id);
      else cut('an answer on the stream of a server');
    },
    broken: broke,
    closed() {
      for (const control of running.values()) control.abort();
    },
  });

  function cut(what: string): void {
    broke(what);
    frames.abort(what);
  }

  function begin(request: Request): void {
    used();
    // Twice the bound: what arrived in the same chunk as the request that made us pause.
    if (running.has(request.id) || running.size >= 2 * maxInFlight) {
      cut('an id in use, or too many requests at once');
      return;
    }
    const control = new AbortController();
    running.set(request.id, control);
    if (running.size >= maxInFlight && !paused) {
      paused = true;
      frames.pause();
    }
    answer(request, control.signal)
      .catch((error: unknown) => {
        log.debug({ err: error, peer: from.peerId, method: request.method }, 'an answer could not be sent');
      })
      .finally(() => done(request.id, control))
      .catch((error: unknown) => log.error({ err: error, peer: from.peerId }, 'a request could not be ended'));
  }

  function cancel(id: number): void {
    const control = running.get(id);
    if (control === undefined) return;
    control.abort();
    done(id, control);
  }

  function done(id: number, control: AbortController): void {
    if (running.get(id) !== control) return;
    running.delete(id);
    if (paused && running.size < maxInFlight) {
      paused = false;
      frames.resume();
    }
  }

  async function work({ method, body }: Request, signal: AbortSignal): Promise<Uint8Array> {
    if (working >= maxWorking) throw new OverlayFault('refused', 'too many requests are still worked on');
    working += 1;
    try {
      return await handlers.answer(method, body, from, signal);
    } finally {
      working -= 1;
    }
  }

  async function answer(request: Request, cancelled: AbortSignal): Promise<void> {
    const { id, method, timeoutMs } = request;
    try {
      const options = { timeoutMs: Math.min(timeoutMs, maxDeadlineMs), signal: cancelled };
      const answered = await beforeDeadline(options, method, (signal) => work(request, signal));
      await frames.send({ kind: 'answer', id, body: answered });
    } catch (error) {
      // Over by deadline or cancel: nobody waits for an answer any more.
      if (!frames.open || (error instanceof OverlayFault && error.code === 'timeout')) return;
      if (!(error instanceof OverlayFault)) throw error;
      log.debug({ err: error.cause ?? error, peer: from.peerId, method }, 'a request was refused');
      const code = error.code === 'too-large' ? 'too-large' : 'refused';
      await frames.send({ kind: 'refused', id, code, message: error.message });
    }
  }
}
