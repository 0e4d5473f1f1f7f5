import type { Channel } from '../scram.ts';
import type { ScramExchange } from '../scram-exchange.ts';
import { type Reply, reply, said } from './reply.ts';

/** The submission server's side of a SCRAM log-in. */
export interface ScramDoor {
  begin(channel: Channel): ScramExchange | undefined;
  prove(
    exchange: ScramExchange,
    final: string,
  ): Promise<{ readonly kind: 'account'; readonly user: string; readonly serverFinal: string } | Reply>;
}

/** How the conversation is carried on. */
export interface Dialogue {
  /** Sends a 334 and gives the client's next line. */
  ask(challenge: string): Promise<string>;
}

/** AUTH SCRAM-SHA-256 (RFC 4954, RFC 5802): who is logged in, or the reply that ends it. */
export async function scramCommand(
  door: ScramDoor,
  dialogue: Dialogue,
  channel: Channel,
  initial: string | undefined,
): Promise<
  | { readonly kind: 'account'; readonly user: string }
  | { readonly kind: 'reply'; readonly text: string; readonly code: number }
> {
  const refused = (answer: Reply) => ({ kind: 'reply' as const, code: answer.code, text: said(answer) });
  const exchange = door.begin(channel);
  if (exchange === undefined) return refused(reply(504, '5.5.4', 'SCRAM is not offered here'));
  const first = decoded(initial ?? (await dialogue.ask('')));
  if (first === undefined) return refused(notBase64);
  const challenge = await exchange.first(first);
  if (challenge.kind !== 'challenge')
    return refused(reply(501, '5.5.2', challenge.kind === 'malformed' ? challenge.why : 'decided too early'));
  const final = decoded(await dialogue.ask(challenge.text));
  if (final === undefined) return refused(notBase64);
  const proved = await door.prove(exchange, final);
  if ('code' in proved) return refused(proved);
  // RFC 4954 §4: what proves the server goes out as a challenge of its own, answered with nothing.
  if ((await dialogue.ask(proved.serverFinal)) !== '')
    return refused(reply(501, '5.5.2', 'the answer to the last challenge is empty'));
  return { kind: 'account', user: proved.user };
}

const notBase64 = reply(501, '5.5.2', 'cancelled, or not base64');

function decoded(response: string): string | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(response)) return undefined;
  return Buffer.from(response, 'base64').toString('utf8');
}
