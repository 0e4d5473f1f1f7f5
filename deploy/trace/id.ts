import { randomFillSync } from 'node:crypto';

// Crockford's alphabet: no I, L, O, U, so that an id survives being read out.
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const timeDigits = 9; // 45 bits of ms: until the year 3084
const randomDigits = 7; // 35 bits: two ids of one ms collide once in 34 thousand million

/** A new trace id: 16 characters, sorted by time, then random. */
export function newTraceId(now: number, random: (bytes: number) => Uint8Array = someRandom): string {
  let tail = '';
  for (const byte of random(randomDigits)) tail += alphabet[byte & 31] ?? '';
  return firstTraceIdAt(now).slice(0, timeDigits) + tail;
}

// Asked for many at a time: asking costs more than the octets do.
const pool = new Uint8Array(randomDigits * 256);
let used = pool.length;

function someRandom(bytes: number): Uint8Array {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.subarray(used - bytes, used);
}

/** The smallest trace id of a moment. */
export function firstTraceIdAt(now: number): string {
  let rest = Math.max(0, Math.floor(now));
  let head = '';
  for (let digit = 0; digit < timeDigits; digit += 1) {
    head = (alphabet[rest % 32] ?? '0') + head;
    rest = Math.floor(rest / 32);
  }
  return head + '0'.repeat(randomDigits);
}

/** What a person typed as a trace id, in the form it is kept in; undefined where it cannot be one. */
export function readTraceId(text: string): string | undefined {
  const id = text.trim().toUpperCase().replaceAll('O', '0').replaceAll(/[IL]/g, '1');
  return /^[0-9A-HJKMNP-TV-Z]{16}$/.test(id) ? id : undefined;
}
