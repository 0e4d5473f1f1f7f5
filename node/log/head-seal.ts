import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { deriveKey } from '../identity/derive.ts';
import type { Secrecy } from '../store/content.ts';
import type { Head } from '../store/head.ts';
import { LogFault } from './fault.ts';
import { decodeState, encodeState, type LogState } from './log-state.ts';

const nonceBytes = 12;
const tagBytes = 16;

/** The keys of one log, all from the owner's secret and the log's name. */
export class LogKeys {
  readonly logId: Uint8Array;
  /** For groups, index nodes and snapshots: the same bytes in the same log are the same block. */
  readonly secrecy: Secrecy;
  readonly #payload: KeyObject;
  readonly #nonce: KeyObject;

  constructor(secret: Uint8Array, name: string) {
    const salt = Buffer.from(name);
    // Bound to the secret as well, so that nobody can tell from outside which of a user's logs is which.
    this.logId = deriveKey(secret, 'log/id', salt);
    this.secrecy = { kind: 'salted', salt: deriveKey(secret, 'log/blocks', salt) };
    this.#payload = createSecretKey(deriveKey(secret, 'log/payload', salt));
    this.#nonce = createSecretKey(deriveKey(secret, 'log/nonce', salt));
  }

  /** Seals a state as the body of the head `version`. */
  seal(state: LogState, version: number, writer: Uint8Array): Uint8Array {
    const plain = encodeState(state);
    const bound = this.#bound(version, writer);
    // Not from the version alone: a restored backup writes a version a second time with other content, and under one nonce
    // AES-GCM would give both away. Bound to the content, the nonce repeats only where everything does.
    const nonce = createHmac('sha256', this.#nonce).update(bound).update(plain).digest().subarray(0, nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#payload, nonce);
    cipher.setAAD(bound);
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** The state a head of this log says; throws LogFault `damaged` when it was sealed under another secret or for another place. */
  open(head: Head): LogState {
    const { body } = head;
    if (body.length < nonceBytes + tagBytes) throw new LogFault('damaged', 'the body of a head is too short');
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#payload, body.subarray(0, nonceBytes));
      decipher.setAAD(this.#bound(head.version, head.writer));
      decipher.setAuthTag(body.subarray(body.length - tagBytes));
      const sealed = body.subarray(nonceBytes, body.length - tagBytes);
      return decodeState(Buffer.concat([decipher.update(sealed), decipher.final()]));
    } catch (cause) {
      if (cause instanceof LogFault) throw cause;
      throw new LogFault('damaged', "the head does not open under this log's secret", cause);
    }
  }

  #bound(version: number, writer: Uint8Array): Uint8Array {
    return Buffer.concat([Buffer.from(`epost/log-head\0${version}\0`), this.logId, writer]);
  }
}
