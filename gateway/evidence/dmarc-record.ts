import type { MailauthResolver } from '../dns/message-lookups.ts';

// A longer record is no policy anybody publishes; what is read of it is bounded.
const maxRecordLength = 4_096;

/**
 * A resolver under which DMARC records have their tag names in lower case. RFC 9989 §4.7 gives the names as ABNF literals, which RFC 5234 §2.3
 * compares without case; mailauth knows them in lower case alone, and a domain that publishes `V=DMARC1; P=reject` would go unprotected.
 */
export function withPlainDmarcTags(resolver: MailauthResolver): MailauthResolver {
  return async (name, type) => {
    const records = await resolver(name, type);
    if (type !== 'TXT' || !name.toLowerCase().startsWith('_dmarc.')) return records;
    return (records as string[][]).map((strings) => [plainTags([strings].flat().join(''))]);
  };
}

/** `V=DMARC1; P=reject` as `v=DMARC1; p=reject`. Values stay as they are; what is no tag list comes out unchanged. */
export function plainTags(record: string): string {
  if (record.length > maxRecordLength) return record;
  return record
    .split(';')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? part : part.slice(0, at).toLowerCase() + part.slice(at);
    })
    .join(';');
}
