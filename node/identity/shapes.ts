import { z } from 'zod';
import { type Address, type Domain, parseAddress, parseDomain } from '../../policy/address.ts';
import { publicKeyBytes } from './keys.ts';

/** Bytes of one exact length. */
export function bytesShape(length: number, what = `${length} bytes`): z.ZodType<Uint8Array> {
  return z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, `not ${what}`);
}

/** Shapes that certificates, lists and records share. What passes is canonical: a value has one spelling. */
export const publicKeyShape = bytesShape(publicKeyBytes, 'a 32-byte public key');

export const domainShape = z.custom<Domain>(
  (value) => typeof value === 'string' && parseDomain(value) === value,
  'not a canonical domain',
);

export const addressShape = z.custom<Address>((value) => {
  if (typeof value !== 'string') return false;
  const parsed = parseAddress(value);
  return parsed.kind === 'address' && parsed.address === value;
}, 'not a canonical address');

/** Milliseconds since the epoch. */
export const timeShape = z.int().nonnegative();

export const serialBytes = 16;

/** Serials are 128 random bits; in the API they are lower-case hex. */
export const serialShape = z.string().regex(/^[0-9a-f]{32}$/, 'not a serial');
