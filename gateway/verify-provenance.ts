import { checkSignatures } from './evidence/check-signatures.ts';
import { keyRecordOf } from './evidence/key-record.ts';
import { belowTraceFields } from './inbound/headers.ts';
import { checkProvenance, type Provenance } from './provenance.ts';
import { sha256InSlices } from './slices.ts';

/** One thing that was looked at again, and how it ended; `unknown` is neither. */
export interface Finding {
  readonly what: string;
  readonly result: 'holds' | 'fails' | 'unknown';
  readonly detail: string;
}

export interface VerifiedProvenance {
  readonly provenance: Provenance | undefined;
  readonly findings: readonly Finding[];
}

/**
 * Checks a record of what the gateway saw, long after: its signature by `signer`, that this message is the one it speaks of, and the sender's DKIM
 * signatures with the keys that were in DNS then. Asks nobody. Without the message the last two stay `unknown`.
 */
export async function verifyProvenance(
  record: Uint8Array,
  signer: Uint8Array,
  message: Uint8Array | undefined,
): Promise<VerifiedProvenance> {
  const checked = checkProvenance(record, signer);
  if (checked.kind === 'invalid')
    return { provenance: undefined, findings: [{ what: 'record', result: 'fails', detail: checked.reason }] };
  const { provenance } = checked;
  const signed = `signed by ${provenance.gateway} on ${new Date(provenance.at).toISOString()}`;
  const findings: Finding[] = [{ what: 'record', result: 'holds', detail: signed }];
  if (message === undefined) {
    const detail = 'the message itself is not at hand; name its file, as the mail program saves its source';
    return { provenance, findings: [...findings, { what: 'message', result: 'unknown', detail }] };
  }
  const bytes = await bytesFinding(provenance, message);
  findings.push(bytes);
  // What is said of another message's signatures would say nothing of this record.
  if (bytes.result !== 'fails') findings.push(...(await dkimFindings(provenance, message)));
  return { provenance, findings };
}

async function bytesFinding({ received, handedOn, removed = [] }: Provenance, message: Uint8Array): Promise<Finding> {
  const what = 'message';
  if (!same(await sha256InSlices(message), handedOn))
    return { what, result: 'fails', detail: 'these octets are not those that the gateway handed on' };
  if (same(await sha256InSlices(belowTraceFields(message)), received))
    return { what, result: 'holds', detail: 'every octet is as it was received, below the gateway’s own fields' };
  const names = removed.length === 0 ? 'fields' : removed.join(', ');
  const detail = `as it was handed on; the gateway had taken out what claimed to be its own (${names})`;
  return { what, result: 'holds', detail };
}

/** Each signature that was seen, judged again by the key that was recorded, at the time when the message came. */
async function dkimFindings({ dkim, at, removed = [] }: Provenance, message: Uint8Array): Promise<Finding[]> {
  const records = new Map(
    dkim.flatMap(({ domain, selector, key }) =>
      key === undefined ? [] : [[keyName(selector, domain), keyRecordOf(key)] as const],
    ),
  );
  const { results } = await checkSignatures(belowTraceFields(message), {
    at: new Date(at),
    resolver: (name: string) => {
      const record = records.get(name.toLowerCase());
      return record === undefined ? Promise.reject(new NoRecord()) : Promise.resolve([[record]]);
    },
  });
  const rows = results.filter(({ signingDomain }) => signingDomain !== undefined);
  return dkim.map((seen, index): Finding => {
    const what = `dkim ${seen.selector}._domainkey.${seen.domain}`;
    if (seen.key === undefined)
      return { what, result: 'unknown', detail: `was ${seen.result}; its key is not in the record` };
    // The same header in the same order gives the same rows.
    const again = rows[index];
    if (again?.signingDomain !== seen.domain || again.selector !== seen.selector)
      return { what, result: 'fails', detail: 'the message does not carry this signature' };
    if (again.status.result === seen.result)
      return { what, result: 'holds', detail: `${seen.result}, with the key of that day` };
    const covered = removed.length > 0 ? '; it may cover a field that the gateway took out' : '';
    const result = removed.length > 0 ? 'unknown' : 'fails';
    return { what, result, detail: `was ${seen.result}, is ${again.status.result} now${covered}` };
  });
}

class NoRecord extends Error {
  readonly code = 'ENOTFOUND';
}

const keyName = (selector: string, domain: string): string => `${selector}._domainkey.${domain}`.toLowerCase();

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
