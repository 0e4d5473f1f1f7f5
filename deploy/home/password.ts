import { randomBytes, randomInt, scrypt, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/** What is kept of a password: nothing that can be logged in with. */
export const passwordRecordSchema = z.strictObject({
  algorithm: z.literal('scrypt'),
  // Bounds, so that a damaged or planted file cannot ask for all memory.
  n: z
    .int()
    .min(2 ** 14)
    .max(2 ** 20),
  r: z.int().min(1).max(32),
  p: z.int().min(1).max(16),
  salt: z.base64(),
  hash: z.base64(),
});
export type PasswordRecord = z.infer<typeof passwordRecordSchema>;

// N=2^15, r=8: about 100 ms and 32 MiB on this kind of machine. OWASP's floor for scrypt is 2^17 with p=1 or 2^15 with p=3.
const cost = { n: 2 ** 15, r: 8, p: 3 };
const hashBytes = 32;

export async function hashPassword(password: string): Promise<PasswordRecord> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, cost);
  return { algorithm: 'scrypt', ...cost, salt: salt.toString('base64'), hash: hash.toString('base64') };
}

/** Whether the password is the one that was hashed; takes the same time whatever is wrong with it. */
export async function passwordMatches(password: string, record: PasswordRecord): Promise<boolean> {
  const wanted = Buffer.from(record.hash, 'base64');
  const found = await derive(password, Buffer.from(record.salt, 'base64'), record);
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

// No 0/O, 1/l/I: people type this from paper.
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
const groups = 4;
const groupLength = 4;

/** A password for people to copy: four groups of four, 80 bits from the system's random source. */
export function generatePassword(): string {
  const group = (): string => Array.from({ length: groupLength }, () => alphabet[randomInt(alphabet.length)]).join('');
  return Array.from({ length: groups }, group).join('-');
}

function derive(password: string, salt: Uint8Array, { n, r, p }: { n: number; r: number; p: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // NFKC, so that the same password typed on another keyboard is the same bytes (RFC 8265 §4.2 in spirit).
    scrypt(password.normalize('NFKC'), salt, hashBytes, { N: n, r, p, maxmem: 256 * n * r }, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });
}
