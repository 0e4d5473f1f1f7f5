/** DANE for SMTP (RFC 7672): what the TLSA records of one mail server ask for. */
import type { Resolver } from '../../dns/answer.ts';
import { type TlsDemand, usableRecords } from '../smtp/tls-demand.ts';

export type Dane =
  /** The server has no TLSA records, or none that are proven. */
  | { readonly kind: 'none' }
  | { readonly kind: 'demand'; readonly demand: TlsDemand }
  /** Whether it has some could not be found out: it must not be used now (RFC 7672 §2.1.2). */
  | { readonly kind: 'unknown'; readonly why: string };

/** Only for a server whose MX and address records were validated (§2.2); an answer that fails validation comes as a failure of the resolver. */
export async function daneOf(name: string, port: number, resolver: Resolver): Promise<Dane> {
  const answer = await resolver.resolve(`_${port}._tcp.${name}`, 'TLSA');
  if (answer.kind === 'unknown') return { kind: 'unknown', why: answer.reason };
  if (answer.kind !== 'records' || answer.authenticated !== true) return { kind: 'none' };
  const records = usableRecords(answer.records);
  // RFC 7672 §2.2: records that nobody can use still say that there is TLS.
  return { kind: 'demand', demand: records.length === 0 ? { kind: 'encrypted' } : { kind: 'dane', records } };
}
