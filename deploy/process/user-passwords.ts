import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ScramKeys } from '../../node/access/scram.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import type { Layout } from '../home/layout.ts';
import { hashPassword, passwordMatches } from '../home/password.ts';
import { openScram, scramIterations, scramSaltBytes, sealScram } from '../home/scram-record.ts';
import { keepScram, type LocalUser } from '../home/users.ts';

/** What proves who somebody is, as his login file has it now. */
export class UserPassword {
  readonly #user: LocalUser;
  readonly #secrets: Secrets;
  #login: LocalUser['login'];
  #scram: ScramKeys | undefined;
  /** HMAC of the password that was last found right, so that a program that logs in often does not cost a scrypt each time. */
  #known: Buffer | undefined;
  /** What is being tried now: several connections of one program come at once. */
  #trying: { readonly digest: Buffer; readonly right: Promise<boolean> } | undefined;

  constructor(user: LocalUser, secrets: Secrets) {
    this.#user = user;
    this.#secrets = secrets;
    this.#login = user.login;
    this.#scram = this.#open();
  }

  /** Not there for login files from before there were SCRAM keys, until the next log-in that shows the password. */
  get scram(): ScramKeys | undefined {
    return this.#scram;
  }

  /** The login file was read again. */
  replace(login: LocalUser['login']): void {
    this.#login = login;
    this.#known = undefined;
    this.#trying = undefined;
    this.#scram = this.#open();
  }

  async matches(password: string): Promise<boolean> {
    const digest = this.#secrets.digest(password);
    if (this.#known !== undefined && timingSafeEqual(this.#known, digest)) return true;
    if (this.#trying !== undefined && timingSafeEqual(this.#trying.digest, digest)) return this.#trying.right;
    const login = this.#login;
    const trying = { digest, right: passwordMatches(password, login.password) };
    this.#trying = trying;
    try {
      const right = await trying.right;
      // A new one may have come while the old one was tried.
      if (right && login === this.#login) this.#known = digest;
      return right;
    } finally {
      if (this.#trying === trying) this.#trying = undefined;
    }
  }

  /** Makes the SCRAM keys of a password that was right, where there are none yet. */
  async keepScram(password: string, layout: Layout): Promise<void> {
    if (this.#scram !== undefined) return;
    const { address, keys } = this.#user;
    const login = this.#login;
    const record = await sealScram(address, password, keys.sealing.public);
    if (login !== this.#login) return;
    keepScram(layout, address, login, record);
    this.#scram = openScram(address, record, keys.sealing);
  }

  #open(): ScramKeys | undefined {
    const { address, keys } = this.#user;
    const { scram } = this.#login;
    return scram === undefined ? undefined : openScram(address, scram, keys.sealing);
  }
}

/** What passwords are compared with when there is nobody of that name, and how right ones are remembered. */
export class Secrets {
  readonly #memoryKey = randomBytes(32);
  readonly #decoySecret: Uint8Array;
  readonly #decoy = hashPassword(randomBytes(16).toString('hex'));

  /** `decoySecret`: always the same on a node, and known to nobody else: makes up what SCRAM says of names that nobody has. */
  constructor(decoySecret: Uint8Array) {
    this.#decoySecret = decoySecret;
  }

  digest(password: string): Buffer {
    return createHmac('sha256', this.#memoryKey).update(password).digest();
  }

  /** Takes as long as a wrong password; never right. */
  async pretend(password: string): Promise<void> {
    await passwordMatches(password, await this.#decoy);
  }

  /** RFC 5802 §9: the answer for a name that nobody has looks like one for a user, and stays the same. */
  madeUp(username: string): ScramKeys {
    const parsed = parseAddress(username);
    const name: Address | string = parsed.kind === 'address' ? parsed.address : username;
    const part = (of: string): Buffer => createHmac('sha256', this.#decoySecret).update(`${of}\0${name}`).digest();
    return {
      salt: part('salt').subarray(0, scramSaltBytes),
      iterations: scramIterations,
      storedKey: part('stored'),
      serverKey: part('server'),
    };
  }
}
