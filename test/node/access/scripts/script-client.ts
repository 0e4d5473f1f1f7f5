import { WireClient } from '../wire-client.ts';

// A script fails by this only when something is wrong, so it may be long.
const limitMs = 20_000;

/** A client that gives whole responses: a line together with the literals in it, as octets in latin1. */
export class ScriptClient extends WireClient {
  static async connect(port: number): Promise<ScriptClient> {
    return new ScriptClient(await WireClient.open(port, true));
  }

  /** Octets as latin1. */
  send(octets: string): void {
    this.write(Buffer.from(octets, 'latin1'));
  }

  /** The next response without its line end; throws when none comes. */
  async response(): Promise<string> {
    const response = await this.next(endOfResponse, limitMs);
    if (typeof response === 'string') return response;
    throw new Error(response.none === 'closed' ? 'the server closed the connection' : response.none);
  }
}

function endOfResponse(text: string): number | undefined {
  let from = 0;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', from);
    if (lineEnd === -1) return undefined;
    const literal = /\{(\d+)\}$/.exec(text.slice(from, lineEnd));
    if (literal === null) return lineEnd + 2;
    from = lineEnd + 2 + Number(literal[1]);
    if (text.length < from) return undefined;
  }
}
