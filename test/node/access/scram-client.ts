import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/** The client's half of SCRAM-SHA-256 (RFC 5802), written for the tests from the standard, sharing nothing with the server's. */
export class ScramClient {
  readonly #password: string;
  readonly #gs2: string;
  readonly #binding: Uint8Array;
  readonly #bare: string;
  #expected = '';

  constructor(options: { username: string; password: string; nonce: string; gs2?: string; binding?: Uint8Array }) {
    this.#password = options.password;
    this.#gs2 = options.gs2 ?? 'n,,';
    this.#binding = options.binding ?? new Uint8Array();
    this.#bare = `n=${options.username},r=${options.nonce}`;
  }

  first(): string {
    return this.#gs2 + this.#bare;
  }

  final(serverFirst: string): string {
    const [, nonce = '', salt = '', iterations = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
    const salted = pbkdf2Sync(this.#password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest();
    const clientKey = hmac(salted, 'Client Key');
    const channel = Buffer.concat([Buffer.from(this.#gs2), this.#binding]).toString('base64');
    const message = `${this.#bare},${serverFirst},c=${channel},r=${nonce}`;
    const signature = hmac(createHash('sha256').update(clientKey).digest(), message);
    const proof = clientKey.map((octet, index) => octet ^ signature[index]!);
    this.#expected = `v=${hmac(hmac(salted, 'Server Key'), message).toString('base64')}`;
    return `c=${channel},r=${nonce},p=${Buffer.from(proof).toString('base64')}`;
  }

  /** What a server sends that has the password's keys. */
  get serverFinal(): string {
    return this.#expected;
  }
}
