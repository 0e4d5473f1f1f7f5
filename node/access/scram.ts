import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';

/** What a server keeps for SCRAM-SHA-256 (RFC 5802 §5.1, RFC 7677): with it nobody can log in elsewhere, but whoever has it can guess. */
export interface ScramKeys {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

const keyBytes = 32;

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** RFC 5802 §3. Some tens of milliseconds, off the event loop. */
export async function scramKeys(password: string, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
  const salted = await new Promise<Buffer>((resolve, reject) => {
    // NFKC is what SASLprep does to what people type (RFC 4013 §2.2).
    pbkdf2(password.normalize('NFKC'), salt, iterations, keyBytes, 'sha256', (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest();
  return { salt, iterations, storedKey, serverKey: hmac(salted, 'Server Key') };
}

/** How the client binds its proof to the TLS channel (RFC 5802 §6, RFC 9266). */
export interface Channel {
  /** The mechanism asked for ends in -PLUS. */
  readonly plus: boolean;
  /** What tls-exporter gives for this connection; undefined where -PLUS is not announced. */
  readonly exporter: Uint8Array | undefined;
}

export interface ClientFirst {
  readonly kind: 'first';
  readonly username: string;
  readonly clientNonce: string;
  readonly gs2: string;
  readonly bare: string;
}

export type Wrong = { readonly kind: 'wrong'; readonly why: string };
const wrong = (why: string): Wrong => ({ kind: 'wrong', why });

// The whole exchange is lines of some hundred octets; a name has at most 320.
const maxMessageCharacters = 2_000;
const firstMessage = /^(n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]*))?,(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/s;

/** RFC 5802 §7 client-first-message. */
export function readClientFirst(message: string, channel: Channel): ClientFirst | Wrong {
  const match = message.length > maxMessageCharacters ? null : firstMessage.exec(message);
  if (match === null) return wrong('not a first message of SCRAM');
  const [, binding = '', authzid, bare = '', name = '', clientNonce = ''] = match;
  const username = saslName(name);
  if (username === undefined) return wrong('the user name is not encoded as it must be');
  // Acting for another user is something nobody may do here.
  if (authzid !== undefined && saslName(authzid) !== username) return wrong('nobody may act for another');
  const bound = binding.startsWith('p=');
  if (bound !== channel.plus) return wrong('channel binding goes with -PLUS, and with nothing else');
  if (bound && binding !== 'p=tls-exporter') return wrong('the channel binding known here is tls-exporter');
  // RFC 5802 §6: the client would have bound, and believes that we cannot: somebody took -PLUS out of what we announced.
  if (binding === 'y' && channel.exporter !== undefined)
    return wrong('-PLUS was announced, and did not reach the client');
  return { kind: 'first', username, clientNonce, gs2: message.slice(0, message.length - bare.length), bare };
}

/** RFC 5802 §5.1 saslname. */
function saslName(text: string): string | undefined {
  if (/=(?!2C|3D)/.test(text)) return undefined;
  return text.replaceAll('=2C', ',').replaceAll('=3D', '=');
}

export function serverFirst(first: ClientFirst, serverNonce: string, keys: ScramKeys): string {
  return `r=${first.clientNonce}${serverNonce},s=${Buffer.from(keys.salt).toString('base64')},i=${keys.iterations}`;
}

const finalMessage = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,[^,]*)*),p=([A-Za-z0-9+/=]+)$/;

/** Whether the client-final-message proves the password; then what proves us to the client. Constant time in what is secret. */
export function checkClientFinal(
  message: string,
  exchange: { readonly first: ClientFirst; readonly sent: string; readonly keys: ScramKeys; readonly channel: Channel },
): { readonly kind: 'proved'; readonly serverFinal: string } | Wrong {
  const match = message.length > maxMessageCharacters ? null : finalMessage.exec(message);
  if (match === null) return wrong('not a final message of SCRAM');
  const [, withoutProof = '', binding = '', nonce = '', proofText = ''] = match;
  const { first, sent, keys, channel } = exchange;
  const bound = Buffer.concat([Buffer.from(first.gs2), ...(channel.plus ? [channel.exporter ?? Buffer.alloc(0)] : [])]);
  if (!Buffer.from(binding, 'base64').equals(bound)) return wrong('bound to another channel');
  if (nonce !== /^r=([^,]*)/.exec(sent)?.[1]) return wrong('another nonce');
  const authMessage = `${first.bare},${sent},${withoutProof}`;
  const proof = Buffer.from(proofText, 'base64');
  const signature = hmac(keys.storedKey, authMessage);
  if (proof.length !== signature.length) return wrong('a proof of another length');
  const clientKey = Buffer.from(proof.map((octet, index) => octet ^ (signature[index] ?? 0)));
  const found = createHash('sha256').update(clientKey).digest();
  if (!timingSafeEqual(found, keys.storedKey)) return wrong('the proof does not hold');
  return { kind: 'proved', serverFinal: `v=${hmac(keys.serverKey, authMessage).toString('base64')}` };
}
