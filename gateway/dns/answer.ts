/** What can be asked of DNS, and what comes back. */

export interface MxRecord {
  readonly exchange: string;
  readonly priority: number;
}

export interface TlsaRecord {
  readonly certUsage: number;
  readonly selector: number;
  readonly match: number;
  readonly data: Uint8Array;
}

/** What one record of a type looks like. TXT comes as its character-strings (RFC 1035 §3.3.14). */
export interface RecordsByType {
  readonly A: string;
  readonly AAAA: string;
  readonly MX: MxRecord;
  readonly TXT: readonly string[];
  readonly PTR: string;
  readonly CNAME: string;
  readonly TLSA: TlsaRecord;
}

export type RecordType = keyof RecordsByType;

/** Three-valued: there are records, there are none (two ways), or we could not find out. */
export type Answer<Rec = unknown> =
  | {
      readonly kind: 'records';
      readonly records: readonly Rec[];
      readonly ttlMs: number;
      /** The name server says that it validated the answer (AD, RFC 4035 §3.2.3). Worth as much as the way to that server. */
      readonly authenticated?: boolean;
      /** Outlived, and given because no server answers now (RFC 8767). */
      readonly stale?: true;
    }
  | { readonly kind: 'nodata' | 'nxdomain'; readonly authenticated?: boolean }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface Resolver {
  /** Never throws. A name that cannot exist is `nxdomain`. */
  resolve<T extends RecordType>(name: string, type: T): Promise<Answer<RecordsByType[T]>>;
}
