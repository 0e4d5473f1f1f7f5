import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { RelaxedBody, relaxedField } from '../../../gateway/dkim/canonical.ts';
import { readHeaderBlock } from '../../../gateway/header-fields.ts';
import { testdata } from '../../testdata.ts';

const folder = testdata('dkim');

interface Case {
  readonly id: string;
  readonly purpose: string;
  readonly email_b64: string;
  readonly relaxed_b64: string;
}

/** A whole message in relaxed form: each field, the blank line, the body in parts of `step` octets. */
function relaxed(message: Buffer, step: number): string {
  const block = readHeaderBlock(message);
  let text = '';
  for (const { start, end } of block.fields)
    text += `${relaxedField(message.subarray(start, end)).toString('latin1')}\r\n`;
  const at = message.indexOf('\r\n\r\n');
  const body =
    message.indexOf('\r\n') === 0 ? message.subarray(2) : at < 0 ? Buffer.alloc(0) : message.subarray(at + 4);
  text += '\r\n';
  const canonical = new RelaxedBody((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  for (let from = 0; from < body.length; from += step) canonical.add(body.subarray(from, from + step));
  canonical.end();
  return text;
}

describe.skipIf(folder === undefined)('relaxed canonical forms (../shared/testdata/dkim/canonicalization.json)', () => {
  const { cases } =
    folder === undefined
      ? { cases: [] }
      : (JSON.parse(readFileSync(path.join(folder, 'canonicalization.json'), 'utf8')) as { cases: Case[] });
  it('the suite is whole', () => expect(cases.length).toBeGreaterThan(5));
  it.for(cases)('$id: $purpose', ({ email_b64: email, relaxed_b64: wanted }) => {
    const message = Buffer.from(Buffer.from(email, 'base64').toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
    const text = Buffer.from(wanted, 'base64').toString('latin1');
    for (const step of [1, 2, 3, 1_000]) expect(relaxed(message, step)).toBe(text);
  });
});
