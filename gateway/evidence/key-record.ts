import { z } from 'zod';

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

/** The shape of {@link KeptKey}. */
export const keptKeyShape = z.tuple([z.string(), bytes, z.string()]);

/** A DKIM key record (RFC 6376 §3.6.1) as it was published: the text before the key, the key itself as octets, and the text after it. */
export type KeptKey = z.infer<typeof keptKeyShape>;

// RSA of 4,096 bits takes some 740 characters; nothing longer is in use, and the record of provenance is short of room.
const maxRecordChars = 1_024;

/** A key record in three quarters of its room, so that it can be put together again letter for letter; undefined where it is too long to be kept. */
export function keepKey(record: string): KeptKey | undefined {
  if (record.length > maxRecordChars || !record.isWellFormed()) return undefined;
  const [, before = '', key = '', after = ''] = /^((?:[^;]*;)*?\s*p=)([A-Za-z0-9+/]+=*)(.*)$/s.exec(record) ?? [];
  const octets = Buffer.from(key, 'base64');
  // Written in any other way than ours, it would not come back as it was.
  if (key === '' || octets.toString('base64') !== key) return [record, new Uint8Array(), ''];
  return [before, new Uint8Array(octets), after];
}

/** The record as it was published. */
export function keyRecordOf([before, key, after]: KeptKey): string {
  return `${before}${Buffer.from(key).toString('base64')}${after}`;
}
