// Parts of mailauth that it ships without types, as far as they are used here (7.1.0, pinned).

declare module 'mailauth/lib/dkim/dkim-verifier.js' {
  import type { ARCData, DKIMResult } from 'mailauth';
  import type { KeyRecords } from './key-records.ts';

  /** What it asks of a body hash; the first is set by it at the end. */
  export interface BodyHasher {
    hash?: string;
    readonly byteLength: number;
    readonly canonicalizedLength: number;
    readonly bodyHashedBytes: number;
    digest(encoding: 'base64'): string;
    setContentType(type: unknown): void;
    getMimeStructureStart(): number;
  }

  export class DkimVerifier {
    constructor(options: {
      readonly resolver: (name: string, type: string) => Promise<string[][] | string[]>;
      readonly strict: boolean;
      readonly rejectRsaSha1: boolean;
      readonly sender?: string;
      readonly curTime?: Date;
    });
    readonly bodyHashes: Map<string, BodyHasher>;
    readonly results: DKIMResult[];
    readonly headerFrom: string[];
    readonly fromFields: number;
    readonly arc: ARCData & { keyCache: unknown };
    keyCache: KeyRecords;
    /** Returns the name under which `bodyHashes` has it. */
    addBodyHash(form: 'relaxed' | 'simple', algorithm: 'sha256' | 'sha1', maxBytes: number | ''): string;
    /** Reads the header, with the empty line at its end. */
    emitHeaders(header: Buffer): Promise<void>;
    /** Checks all signatures. */
    finalChunk(): Promise<void>;
  }
}

declare module 'mailauth/lib/tools.js' {
  export interface PublicKeyFound {
    /** PEM. */
    readonly publicKey: string;
    readonly rr: string;
    readonly modulusLength?: number;
    readonly keyType: string;
    readonly flags: readonly string[];
    readonly testing: boolean;
    readonly warnings: readonly string[];
  }

  export interface KeyRules {
    readonly strict?: boolean;
    readonly hashAlgo?: string;
  }

  /** Throws, with a `code`, where the record is no key that may be used. */
  export function getPublicKey(
    type: string,
    name: string,
    minBitLength: number | undefined,
    resolver: (name: string, type: string) => Promise<string[][] | string[]>,
    rules: KeyRules,
  ): Promise<PublicKeyFound>;

  export function toALabel(name: string): string;
}
