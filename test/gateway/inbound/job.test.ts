import { encode } from '@ipld/dag-cbor';
import { describe, expect, it } from 'vitest';
import { decodeInboundJob, encodeInboundJob, type InboundJob } from '../../../gateway/inbound/job.ts';
import { address } from './listener-under-test.ts';

const facts: Omit<InboundJob, 'message'> = {
  version: 1,
  trace: 't1',
  envelopeFrom: 'a@sender.example',
  recipients: [address('alice@example.org')],
  returned: [],
  folder: 'inbox',
  provenance: new Uint8Array([1, 2, 3]),
  receivedAt: 1,
  senderProven: true,
};
const octets = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('an accepted message as a job', () => {
  it('comes back as it was, in one piece, octet for octet', async () => {
    const parts = [octets('Received: x\r\n'), octets('\xa0From: \xff\r\n\r\n'), octets('')];
    const { message, ...rest } = decodeInboundJob(await encodeInboundJob(facts, parts));
    expect(rest).toEqual(facts);
    expect(Buffer.from(message as Uint8Array)).toEqual(Buffer.concat(parts));
  });

  it('is read where the message lies in the ring', async () => {
    const stored = { size: 7, hash: new Uint8Array(32) };
    expect(decodeInboundJob(await encodeInboundJob(facts, stored)).message).toEqual(stored);
  });

  it('is read as it was written before the message stood behind its facts', () => {
    const message = new Uint8Array([1, 2, 3]);
    expect(decodeInboundJob(encode({ ...facts, message })).message).toEqual(message);
  });

  it('that was cut, or is none, is an error', async () => {
    const body = await encodeInboundJob(facts, [octets('x')]);
    for (const bent of [body.subarray(0, 3), body.subarray(0, 20), new Uint8Array(), octets('\x03abc')])
      expect(() => decodeInboundJob(bent)).toThrow();
  });
});
