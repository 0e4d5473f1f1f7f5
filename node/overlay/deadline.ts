import { OverlayFault, type RequestOptions } from './overlay.ts';

/**
 * Runs `work` until the deadline passes or the caller gives up, then rejects with OverlayFault `timeout` at once. The
 * signal that `work` gets aborts in every case when the call is over, so that nothing it started has a reason to go on.
 */
export async function beforeDeadline<T>(
  options: RequestOptions,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const { promise: gaveUp, reject } = Promise.withResolvers<never>();
  const giveUp = (message: string): void => {
    const fault = new OverlayFault('timeout', `${what}: ${message}`);
    reject(fault);
    over.abort(fault);
  };
  if (options.signal?.aborted === true) throw new OverlayFault('timeout', `${what}: the caller gave up`);
  const cancelled = (): void => giveUp('the caller gave up');
  const timer = setTimeout(() => giveUp(`no answer within ${options.timeoutMs} ms`), options.timeoutMs);
  options.signal?.addEventListener('abort', cancelled, { once: true });
  try {
    return await Promise.race([work(over.signal), gaveUp]);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', cancelled);
    over.abort(new OverlayFault('timeout', `${what}: over`));
  }
}
