import { mkdir } from 'node:fs/promises';
import { equalBytes } from '../identity/canonical.ts';
import { checkNodeCertificate } from '../identity/certificate.ts';
import { signingKeyFromSeed } from '../identity/keys.ts';
import { RevocationState } from '../identity/revocation.ts';
import type { Channels } from './channel.ts';
import type { OverlayOptions } from './options.ts';
import type { Overlay } from './overlay.ts';
import { RingOverlay } from './ring-overlay.ts';
import { readTableFile } from './table-file.ts';

export type { OverlayOptions };

/** Why this node cannot take part: its certificate is no good for its key or ring, or it cannot listen. */
export class OverlayStartFault extends Error {
  override readonly name = 'OverlayStartFault';
  readonly code: 'certificate' | 'listen';

  constructor(code: 'certificate' | 'listen', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/**
 * Starts this node's part of the ring. Resolves when it listens, whether or not anyone can be reached; members are
 * found and connected in the background from then on. Throws {@link OverlayStartFault}.
 */
export async function startOverlay(options: OverlayOptions): Promise<Overlay & Channels> {
  checkOwnCertificate(options);
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  const remembered = await readTableFile(options.dir, options.log);
  try {
    return await RingOverlay.start(options, remembered);
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw new OverlayStartFault('listen', `cannot listen on ${options.listen.join(', ')}: ${reason(cause)}`, cause);
  }
}

function checkOwnCertificate({ certificate, ring, peerSeed, now }: OverlayOptions): void {
  const check = checkNodeCertificate(certificate.bytes, { ring, revocations: new RevocationState(ring), now: now() });
  if (check.kind === 'invalid')
    throw new OverlayStartFault('certificate', `this node's certificate is no good: ${check.reason}`);
  if (!equalBytes(check.certificate.peerKey, signingKeyFromSeed(peerSeed).public)) {
    throw new OverlayStartFault('certificate', "this node's certificate is for another key");
  }
}

/** In one sentence: libp2p answers with paragraphs and stacks. */
function reason(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const taken = /EADDRINUSE[^\n]*? (\S+:[0-9]+)/.exec(text)?.[1];
  return taken === undefined ? (text.split('\n', 1)[0] ?? '') : `port ${taken} is in use by another program`;
}
