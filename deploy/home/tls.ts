import { existsSync } from 'node:fs';
import { generate } from 'selfsigned';
import { writeFileDurably } from './files.ts';
import type { Layout } from './layout.ts';

const days = 825; // the longest that clients of people accept for a certificate they added by hand

/** A self-signed certificate for the try-out, RSA-2048, for this host name and loopback; does nothing where one is there. */
export async function makeSelfSignedTls(layout: Layout, hostname: string, now: number): Promise<void> {
  if (existsSync(layout.tls.certificate) && existsSync(layout.tls.key)) return;
  const made = await generate([{ name: 'commonName', value: hostname }], {
    // RSA: with several copies of its ASN.1 package in the tree, selfsigned 5.5 fails for elliptic curves.
    keySize: 2048,
    algorithm: 'sha256',
    notBeforeDate: new Date(now - 60_000),
    notAfterDate: new Date(now + days * 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: hostname },
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  writeFileDurably(layout.tls.key, made.private);
  writeFileDurably(layout.tls.certificate, made.cert);
}
