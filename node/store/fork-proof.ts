import type { Conduct } from '../overlay/conduct.ts';
import type { Head } from './head.ts';

/** Notes two different heads of one version: both are signed, so they prove to anybody that their writer made them. */
export function noteFork(conduct: Conduct, heads: readonly Head[]): void {
  const [one, other] = heads;
  if (one === undefined || other === undefined || one.version !== other.version) return;
  conduct.note({
    subject: { kind: 'writer', name: Buffer.from(one.writer).toString('hex') },
    offence: 'two-heads',
    what: `two heads of version ${one.version} of the log at ${Buffer.from(one.key).toString('hex')}`,
    proof: [one.bytes, other.bytes],
  });
}
