/** What to publish for a DKIM key (RFC 6376 §3.6.1, RFC 8463 §4). */
import { createPublicKey } from 'node:crypto';
import type { DkimKey } from './keys.ts';

export interface DkimRecord {
  readonly name: string;
  readonly type: 'TXT';
  /** The whole value. */
  readonly value: string;
  /** The value as DNS character-strings (RFC 1035 §3.3: at most 255 octets each). */
  readonly strings: readonly string[];
}

export function dkimRecord(key: DkimKey, domain: string): DkimRecord {
  const publicKey = createPublicKey(key.privateKey);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // RFC 8463 §4: the Ed25519 key alone, which is the end of its SPKI form; RFC 6376 §3.6.1: RSA with its envelope.
  const ed25519 = key.algorithm === 'ed25519-sha256';
  const value = `v=DKIM1; k=${ed25519 ? 'ed25519' : 'rsa'}; p=${(ed25519 ? spki.subarray(-32) : spki).toString('base64')}`;
  return {
    name: `${key.selector}._domainkey.${domain}`,
    type: 'TXT',
    value,
    strings: value.match(/.{1,255}/g) ?? [],
  };
}
