/**
 * The Sender Rewriting Scheme: what is forwarded leaves under an address of this ring, so that SPF holds, and what comes back to it goes to the sender that the
 * address names. Form of libsrs2 and the paper of Wong (SRS0, SRS1), with a longer hash; addresses are ours to read for two weeks.
 */
import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import { parseAddress } from '../../policy/address.ts';

export type Rewritten =
  | { readonly kind: 'plain' }
  /** Whom a bounce to it goes to. */
  | { readonly kind: 'forwarded'; readonly address: string }
  | { readonly kind: 'expired' }
  | { readonly kind: 'forged' };

/** Five days of tries here, as many at a host that relays, and some for whoever looks after his queue once a week. */
export const returnDays = 14;

const dayMs = 86_400_000;
// Two digits of five bits.
const dayModulus = 1_024;
// 40 bits: guessing one costs some 10^12 messages, and more of them leaves no room for the address.
const hashChars = 8;
const maxLocalOctets = 64;
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

// The separator behind SRS0 may be one of three; what others wrote is carried as it is.
const theirs0 = /^srs0([-+=].+)$/i;
const theirs1 = /^srs1[-+=][^=]+=([^=]+)=(.+)$/i;
const ours0 = /^srs0[-+=]([a-z2-7]{8})=([a-z2-7]{2})=([^=]+)=(.+)$/i;
const ours1 = /^srs1[-+=]([a-z2-7]{2})([a-z2-7]{8})=([^=]+)=([-+=].+)$/i;

/** The address that stands for a sender; undefined where it would be longer than a local part may be, or the sender is none that mail goes to. */
export function rewritten(key: KeyObject, sender: string, domain: string, at: number): string | undefined {
  if (parseAddress(sender).kind === 'invalid') return undefined;
  const { local, domain: senders } = cut(sender);
  const day = dayText(at);
  const [, first] = theirs0.exec(local) ?? [];
  const [, host = '', rest = ''] = theirs1.exec(local) ?? [];
  const made =
    first !== undefined
      ? onward(key, day, senders, first)
      : rest !== ''
        ? onward(key, day, host, rest)
        : `SRS0=${hashOf(key, `0\0${day}\0${senders}\0${local}`)}=${day}=${senders}=${local}`;
  return Buffer.byteLength(made) > maxLocalOctets ? undefined : `${made}@${domain}`;
}

/** Of an address that was rewritten elsewhere already: back to who did so first, over no one in between. */
function onward(key: KeyObject, day: string, host: string, rest: string): string {
  return `SRS1=${day}${hashOf(key, `1\0${day}\0${host}\0${rest}`)}=${host}=${rest}`;
}

export function opened(key: KeyObject, address: string, now: number): Rewritten {
  const { local } = cut(address);
  const zero = ours0.exec(local);
  if (zero !== null) {
    const [, hash = '', day = '', domain = '', name = ''] = zero;
    return judged(key, hash, day, `0\0${day}\0${domain}\0${name}`, `${name}@${domain}`, now);
  }
  const one = ours1.exec(local);
  if (one !== null) {
    const [, day = '', hash = '', host = '', rest = ''] = one;
    return judged(key, hash, day, `1\0${day}\0${host}\0${rest}`, `SRS0${rest}@${host}`, now);
  }
  return /^srs[01][-+=]/i.test(local) ? { kind: 'forged' } : { kind: 'plain' };
}

function judged(key: KeyObject, hash: string, day: string, text: string, address: string, now: number): Rewritten {
  // Hosts on the way change the case of local parts, against RFC 5321 §2.4.
  const wanted = Buffer.from(hashOf(key, text));
  if (!timingSafeEqual(wanted, Buffer.from(hash.toLowerCase()))) return { kind: 'forged' };
  const age = (dayOf(now) - dayNumber(day) + dayModulus) % dayModulus;
  return age <= returnDays ? { kind: 'forwarded', address } : { kind: 'expired' };
}

function hashOf(key: KeyObject, text: string): string {
  const digest = createHmac('sha256', key).update(`epost/srs\0${text.toLowerCase()}`).digest();
  return Array.from(digest.subarray(0, hashChars), (octet) => alphabet[octet & 31]).join('');
}

function dayOf(at: number): number {
  return Math.floor(at / dayMs) % dayModulus;
}

function dayText(at: number): string {
  const day = dayOf(at);
  return `${alphabet[day >> 5]}${alphabet[day & 31]}`;
}

function dayNumber(text: string): number {
  return Array.from(text.toLowerCase()).reduce((sum, letter) => sum * 32 + alphabet.indexOf(letter), 0);
}

function cut(address: string): { readonly local: string; readonly domain: string } {
  const at = address.lastIndexOf('@');
  return { local: address.slice(0, at), domain: address.slice(at + 1) };
}
