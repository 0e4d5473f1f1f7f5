import { type Member, maxBodyBytes, maxMethodBytes, OverlayFault, type RequestHandler } from './overlay.ts';

/** The methods that a node answers, and how: the same for requests from peers and from the node itself. */
export class Handlers {
  readonly #byMethod = new Map<string, RequestHandler>();

  handle(method: string, handler: RequestHandler): void {
    if (!isMethod(method)) throw new RangeError(`a method name is 1 to ${maxMethodBytes} printable ASCII characters`);
    if (this.#byMethod.has(method)) throw new Error(`the method ${method} has a handler already`);
    this.#byMethod.set(method, handler);
  }

  /** The handler's answer. Throws OverlayFault `refused` where there is none or it threw, `too-large` when it is too long. */
  async answer(method: string, body: Uint8Array, from: Member, signal: AbortSignal): Promise<Uint8Array> {
    const handler = this.#byMethod.get(method);
    if (handler === undefined) throw new OverlayFault('refused', `no such method: ${method}`);
    const answer = await this.#call(handler, body, from, signal);
    checkBody(answer, 'the answer');
    return answer;
  }

  async #call(handler: RequestHandler, body: Uint8Array, from: Member, signal: AbortSignal): Promise<Uint8Array> {
    try {
      return await handler(body, from, signal);
    } catch (cause) {
      throw new OverlayFault('refused', cause instanceof Error ? cause.message : String(cause), cause);
    }
  }
}

export function isMethod(method: string): boolean {
  return method.length > 0 && method.length <= maxMethodBytes && /^[!-~]+$/.test(method);
}

/** Throws OverlayFault `too-large` for what does not fit into a frame. */
export function checkBody(body: Uint8Array, what: string): void {
  if (body.length > maxBodyBytes) {
    throw new OverlayFault('too-large', `${what} has ${body.length} bytes, at most ${maxBodyBytes} fit`);
  }
}
