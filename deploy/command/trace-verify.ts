import { readFileSync, statSync } from 'node:fs';
import { type Finding, verifyProvenance } from '../../gateway/verify-provenance.ts';
import { checkIdentityCertificate } from '../../node/identity/certificate.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { InputFault } from '../config/problem.ts';
import { readHomeFile } from '../home/files.ts';
import type { Layout } from '../home/layout.ts';
import { readRevocations, readRing } from '../home/ring-files.ts';
import { factText, type StoredEvent } from '../trace/store.ts';
import { exitCodes } from './line.ts';
import { print, printable, printJson } from './screen.ts';

// Twice what the ring takes: a larger file is another one.
const maxFileBytes = 70 * 1024 * 1024;

/** Verifies the record that a message's timeline holds, and prints what holds and what does not. Returns the exit code. */
export async function verifyTrace(
  layout: Layout,
  id: string,
  events: readonly StoredEvent[],
  messageFile: string | undefined,
  asJson: boolean,
): Promise<number> {
  const message = messageFile === undefined ? undefined : readMessageFile(messageFile);
  const event = events.find(({ provenance }) => provenance !== undefined);
  const kept = event?.['provenance'];
  if (kept === undefined) {
    process.stderr.write(
      `epost: the timeline of ${id} holds no record of provenance; only mail that a gateway took from the Internet has one, on that gateway's home and on its recipients' machines\n`,
    );
    return exitCodes.notFound;
  }
  const trust = { ring: readRing(layout), revocations: new RevocationState(readRing(layout), readRevocations(layout)) };
  // On a recipient's machine it came with the record; whose it is, the ring's authority says.
  const certificateBytes =
    event?.['certificate'] === undefined
      ? readHomeFile(layout.gateway.certificate, 'the gateway’s certificate')
      : Buffer.from(factText(event['certificate']), 'base64');
  const now = checkIdentityCertificate(certificateBytes, { ...trust, now: Date.now() });
  if (now.kind === 'invalid') return told(id, [{ what: 'certificate', result: 'fails', detail: now.reason }], asJson);
  const { address, signingKey, kind } = now.certificate;
  if (kind !== 'gateway')
    return told(id, [{ what: 'certificate', result: 'fails', detail: `${address} is no gateway` }], asJson);
  const record = Buffer.from(factText(kept), 'base64');
  const { provenance, findings } = await verifyProvenance(record, signingKey, message);
  const all = [...findings];
  if (provenance !== undefined) {
    // As it was on the day the record was made: a certificate that ran out since then was good.
    const then = checkIdentityCertificate(certificateBytes, { ...trust, now: provenance.at });
    const detail = then.kind === 'valid' ? `${address}, certified by the ring ${trust.ring.name}` : then.reason;
    const result = then.kind === 'valid' ? 'holds' : then.kind === 'unknown' ? 'unknown' : 'fails';
    all.push({ what: 'certificate', result, detail });
    all.push(
      provenance.trace === id
        ? { what: 'id', result: 'holds', detail: 'the record is of this message' }
        : { what: 'id', result: 'fails', detail: `the record is of ${printable(provenance.trace)}` },
    );
  }
  return told(id, all, asJson, provenance);
}

function told(id: string, findings: readonly Finding[], asJson: boolean, provenance?: object): number {
  const failed = findings.some(({ result }) => result === 'fails');
  if (asJson) printJson({ id, verified: !failed, findings, provenance: withHexBytes(provenance) });
  else {
    const lines = findings.map(
      ({ what, result, detail }) => `${result.padEnd(8)}  ${printable(what)}: ${printable(detail)}`,
    );
    print([`message ${id}`, ...lines].join('\n'));
  }
  return failed ? exitCodes.failed : exitCodes.done;
}

/** A message from disk. Some programs save it with the line ends of their system; it came with CRLF (RFC 5321 §2.3.8). */
function readMessageFile(file: string): Uint8Array {
  const found = statSync(file, { throwIfNoEntry: false });
  const problem = (text: string): InputFault =>
    new InputFault([
      {
        file: '',
        path: '--message',
        found: JSON.stringify(file),
        expected: text,
        suggestion: 'save the source of the message with your mail program',
      },
    ]);
  if (found?.isFile() !== true) throw problem('a file that can be read');
  if (found.size > maxFileBytes) throw problem(`a message of at most ${maxFileBytes} bytes`);
  const bytes = readFileSync(file);
  if (bytes.includes('\r\n')) return bytes;
  return Buffer.from(bytes.toString('latin1').replaceAll('\n', '\r\n'), 'latin1');
}

function withHexBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(withHexBytes);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withHexBytes(inner)]));
}
