/**
 * Return paths that prove themselves: a message goes out with `prvs=…=alice@example.org` as its reverse-path, and only what comes back to such an address,
 * in time, is a bounce of something that was sent. Form and idea of draft-levine-smtp-batv-01, which other systems know how to take apart, with a longer hash.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { opened as openedSrs, returnDays, rewritten } from './srs.ts';

export type Returned =
  /** An address like any other. */
  | { readonly kind: 'plain' }
  /** Somebody answers mail that this address has sent. */
  | { readonly kind: 'signed'; readonly address: string }
  /** Somebody answers mail that was forwarded for this sender, who is elsewhere (srs.ts). */
  | { readonly kind: 'forwarded'; readonly address: string }
  | { readonly kind: 'expired' }
  | { readonly kind: 'forged' };

export interface ReturnPaths {
  /** The reverse-path for a message taken in at `at` (ms), without the sender's tag where that is too long for one: the same for all its attempts, so that greylisting knows it again. */
  sign(sender: string, at: number): string;
  open(address: string, now: number): Returned;
  /** The reverse-path under which mail of a sender elsewhere is carried on (srs.ts); undefined where there is none for him. */
  forward(sender: string, domain: string, at: number): string | undefined;
}

const dayMs = 86_400_000;
// The draft writes the day modulo 1,000.
const dayModulus = 1_000;
// 60 bits: guessing one costs some 10^18 messages. A long name leaves room for less; with 30 bits it still costs 10^9, a day long, and the draft has 24.
const hashChars = 12;
const fewestHashChars = 6;
// RFC 5321 §4.5.3.1.1.
const maxLocalOctets = 64;
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
const rewrittenForm = /^srs[01][-+=]/i;
const signedForm = /^prvs=0(\d{3})([a-z2-7]{6,12})=(.+)$/i;
const formOctets = 'prvs=0000='.length;

/** `secret`: of whoever sends for the ring; all its gateways have the same. */
export function returnPaths(secret: Uint8Array): ReturnPaths {
  // Made once: to make it anew for each message cost more than the hash.
  const key = createSecretKey(secret);
  return {
    sign(sender, at) {
      const written = cut(sender).local;
      if (sender === '' || signedForm.test(written) || rewrittenForm.test(written)) return sender;
      const named = withRoom(sender);
      const { local, domain } = cut(named);
      const chars = hashRoom(local);
      // Such a name goes out as it is; a bounce to it is taken like any other mail.
      if (chars === 0) return sender;
      const day = dayOf(at + returnDays * dayMs);
      return `prvs=0${day}${hashOf(key, day, named).slice(0, chars)}=${local}@${domain}`;
    },
    open(address, now) {
      const { local, domain } = cut(address);
      const [, day, hash, name] = signedForm.exec(local) ?? [];
      if (day === undefined || hash === undefined || name === undefined) return openedSrs(key, address, now);
      const sender = `${name}@${domain}`;
      // A short hash is good for a long name only.
      const wanted = Buffer.from(hashOf(key, day, sender).slice(0, hashRoom(name)));
      const given = Buffer.from(hash.toLowerCase());
      if (given.length !== wanted.length || !timingSafeEqual(wanted, given)) return { kind: 'forged' };
      const daysLeft = (Number(day) - Number(dayOf(now)) + dayModulus) % dayModulus;
      return daysLeft <= returnDays ? { kind: 'signed', address: sender } : { kind: 'expired' };
    },
    forward: (sender, domain, at) => rewritten(key, sender, domain, at),
  };
}

/** Whether a sender's return path is ever signed: his name leaves room for it. */
export function canSign(address: string): boolean {
  return hashRoom(cut(withRoom(address)).local) > 0;
}

/** How long the hash before this local part is; 0 where there is no room for one. */
function hashRoom(local: string): number {
  const room = maxLocalOctets - formOctets - Buffer.byteLength(local);
  return room < fewestHashChars ? 0 : Math.min(room, hashChars);
}

/** The address, without its tag where that leaves no room for a whole hash: what comes back is for the same person. */
function withRoom(address: string): string {
  const { local, domain } = cut(address);
  const plus = local.indexOf('+');
  return plus > 0 && hashRoom(local) < hashChars ? `${local.slice(0, plus)}@${domain}` : address;
}

function dayOf(at: number): string {
  return String(Math.floor(at / dayMs) % dayModulus).padStart(3, '0');
}

/** Over the address in lower case: hosts on the way change the case of local parts, against RFC 5321 §2.4. */
function hashOf(key: KeyObject, day: string, sender: string): string {
  const digest = createHmac('sha256', key).update(`epost/return-path\0${day}\0${sender.toLowerCase()}`).digest();
  return Array.from(digest.subarray(0, hashChars), (octet) => alphabet[octet & 31]).join('');
}

function cut(address: string): { readonly local: string; readonly domain: string } {
  const at = address.lastIndexOf('@');
  return { local: address.slice(0, at), domain: address.slice(at + 1) };
}
