import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

/** Certificates for STARTTLS: the one that is shown to whoever names no host, and those for other names (RFC 6066 §3). */
export interface TlsOptions extends SecureContextOptions {
  /** Each is shown to clients that ask for a name in it. */
  readonly others?: readonly SecureContextOptions[];
}

export interface Certificates {
  readonly first: SecureContext;
  /** For the name that a client asked for. */
  readonly forName: (name: string) => SecureContext;
}

/**
 * Contexts for these certificates. TLS 1.2 is the oldest spoken (RFC 8996); below it and without TLS at all are the same to an opportunistic sender,
 * so beyond that the ciphers are Node's own choice, which has no export, RC4, MD5 or anonymous ones. Throws where TLS does not take one of them.
 */
export function certificatesOf({ others = [], ...first }: TlsOptions): Certificates {
  const contextOf = (options: SecureContextOptions): SecureContext =>
    createSecureContext({ minVersion: 'TLSv1.2', honorCipherOrder: true, ...options });
  const firstContext = contextOf(first);
  const named = [first, ...others].flatMap((options, nth) => {
    const certificate = leafOf(options);
    return certificate === undefined ? [] : [{ certificate, context: nth === 0 ? firstContext : contextOf(options) }];
  });
  // A client can ask for any name: what was found is kept for a few.
  const known = new Map<string, SecureContext>();
  return {
    first: firstContext,
    forName: (asked) => {
      const name = asked.toLowerCase();
      const before = known.get(name);
      if (before !== undefined) return before;
      // RFC 6066 §3: to an unknown name the first is shown, which most senders take, rather than none.
      const context =
        named.find(({ certificate }) => certificate.checkHost(name) !== undefined)?.context ?? firstContext;
      if (known.size >= maxKnownNames) known.clear();
      known.set(name, context);
      return context;
    },
  };
}

const maxKnownNames = 1_000;

function leafOf({ cert }: SecureContextOptions): X509Certificate | undefined {
  const pem = Array.isArray(cert) ? cert[0] : cert;
  return pem === undefined ? undefined : new X509Certificate(pem);
}
