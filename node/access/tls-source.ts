import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

/** Key and certificate for the listeners, which may change while they run. */
export interface TlsSource {
  /** What new connections use; the same object as long as nothing changed. */
  current(): SecureContextOptions;
  /** Called after a change; returns how to stop it. */
  onChange(listener: () => void): () => void;
}

/** A source that never changes. */
export function fixedTls(options: SecureContextOptions): TlsSource {
  return { current: () => options, onChange: () => () => undefined };
}

/** Makes the context for new connections, once per change. TLS 1.2 is the oldest allowed (RFC 8996, RFC 8314 §4.1). */
export function secureContexts(source: TlsSource): () => SecureContext {
  let made: { options: SecureContextOptions; context: SecureContext } | undefined;
  return () => {
    const options = source.current();
    if (made?.options !== options) {
      made = { options, context: createSecureContext({ minVersion: 'TLSv1.2', ...options }) };
    }
    return made.context;
  };
}
