import { z } from 'zod';
import { parseDomain } from '../../policy/address.ts';
import type { KnownEvidence } from '../../policy/evidence.ts';
import type { IdentityCertificate } from '../identity/certificate.ts';
import { readSigned } from '../identity/signed.ts';

// gateway/provenance.ts makes it no longer.
const maxBytes = 2_560;
const text = z.string().max(320);
// More than this is in it; what is not needed here may change without a new version of every node.
const shape = z.object({
  version: z.literal(1),
  author: z.object({ kind: z.enum(['single', 'none', 'ambiguous']), address: text }),
  spf: z.object({ result: z.enum(['pass', 'fail', 'softfail', 'neutral', 'none', 'unknown']), domain: text }),
  dmarc: z.object({
    result: z.enum(['pass', 'fail', 'none', 'unknown']),
    domain: text,
    policy: z.enum(['none', 'quarantine', 'reject']),
  }),
  arc: z.object({ result: z.enum(['pass', 'fail', 'none', 'unknown']), sealer: text }),
  dkim: z.array(z.object({ domain: text, result: z.string().max(32) })).max(20),
  decision: z.object({ verdict: z.string().max(32), rule: z.string().max(64) }),
});

/** What the ring's gateway says it saw when it took a message from the Internet, as evidence; undefined where it says nothing that can be read. */
export function seenOutside(provenance: Uint8Array, gateway: IdentityCertificate): KnownEvidence | undefined {
  const read = readSigned('provenance', provenance, { shape, maxBytes, signer: gateway.signingKey });
  if (read.kind === 'invalid') return undefined;
  const { author, spf, dmarc, arc, dkim, decision } = read.value;
  const verified = dkim.filter(({ result }) => result === 'pass').map(({ domain }) => domain);
  return {
    author: {
      kind: author.kind,
      address: author.address,
      domain: parseDomain(author.address.slice(author.address.lastIndexOf('@') + 1)) ?? '',
    },
    spf,
    dmarc,
    arc,
    dkim: { result: verified.length > 0 ? 'pass' : dkim.length > 0 ? 'fail' : 'none', domains: verified },
    organisation: { verdict: decision.verdict === 'junk' ? 'junk' : 'accept', rule: decision.rule },
  };
}
