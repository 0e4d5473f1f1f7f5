import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { type ScramKeys, scramKeys } from '../../node/access/scram.ts';
import type { SealingKey } from '../../node/identity/keys.ts';
import { open, seal } from '../../node/identity/seal.ts';
import type { Address } from '../../policy/address.ts';

/**
 * The SCRAM keys of a password, sealed to the user's own public key: who gets hold of the login file alone has only the scrypt hash to guess
 * against, which is dearer than what SCRAM allows; the node opens them with the key that it serves the user's mail with.
 */
export const scramRecordSchema = z.strictObject({ sealTo: z.base64(), sealed: z.base64().max(2_000) });
export type ScramRecord = z.infer<typeof scramRecordSchema>;

const plain = z.strictObject({
  iterations: z.int().min(4_096).max(10_000_000),
  salt: z.base64(),
  storedKey: z.base64(),
  serverKey: z.base64(),
});

// RFC 7677 §4 wants 4,096 at least. The client works this off at every log-in: some 30 ms on a desktop.
export const scramIterations = 65_536;
export const scramSaltBytes = 16;

function contextOf(address: Address): Uint8Array {
  return Buffer.from(`login/scram/${address}`);
}

export async function sealScram(address: Address, password: string, sealTo: Uint8Array): Promise<ScramRecord> {
  const keys = await scramKeys(password, randomBytes(scramSaltBytes), scramIterations);
  const text: z.infer<typeof plain> = {
    iterations: keys.iterations,
    salt: Buffer.from(keys.salt).toString('base64'),
    storedKey: Buffer.from(keys.storedKey).toString('base64'),
    serverKey: Buffer.from(keys.serverKey).toString('base64'),
  };
  return sealed(address, Buffer.from(JSON.stringify(text)), sealTo);
}

function sealed(address: Address, text: Uint8Array, sealTo: Uint8Array): ScramRecord {
  const box = seal(sealTo, text, contextOf(address));
  return { sealTo: Buffer.from(sealTo).toString('base64'), sealed: Buffer.from(box).toString('base64') };
}

/** The same keys of the same password for a user who has another key now; undefined for what the old one does not open. */
export function resealScram(
  address: Address,
  record: ScramRecord,
  old: SealingKey,
  sealTo: Uint8Array,
): ScramRecord | undefined {
  const opened = open(old, Buffer.from(record.sealed, 'base64'), contextOf(address));
  return opened === undefined ? undefined : sealed(address, opened, sealTo);
}

/** undefined for what was not sealed for this user and key: then he logs in by PLAIN, and it is made anew. */
export function openScram(address: Address, { sealed }: ScramRecord, key: SealingKey): ScramKeys | undefined {
  const opened = open(key, Buffer.from(sealed, 'base64'), contextOf(address));
  if (opened === undefined) return undefined;
  try {
    const { iterations, salt, storedKey, serverKey } = plain.parse(JSON.parse(Buffer.from(opened).toString('utf8')));
    const octets = (text: string): Buffer => Buffer.from(text, 'base64');
    return { iterations, salt: octets(salt), storedKey: octets(storedKey), serverKey: octets(serverKey) };
  } catch {
    return undefined;
  }
}
