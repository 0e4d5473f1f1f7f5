import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encodeFrame, type Frame, FrameCutter } from '../../../node/overlay/frame.ts';
import { maxBodyBytes, maxFrameBytes } from '../../../node/overlay/overlay.ts';

const id = fc.nat(0xffff_ffff);
const body = fc.uint8Array({ maxLength: 300 });
const method = fc.stringMatching(/^[!-~]{1,64}$/);
const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant('request' as const), id, timeoutMs: fc.nat(0xffff_ffff), method, body }),
  fc.record({ kind: fc.constant('answer' as const), id, body }),
  fc.record({
    kind: fc.constant('refused' as const),
    id,
    code: fc.constantFrom('refused' as const, 'too-large' as const),
    message: fc.string({ maxLength: 100 }),
  }),
  fc.record({ kind: fc.constant('cancel' as const), id }),
);

function contentOf(frame: Frame): Uint8Array {
  return encodeFrame(frame).subarray(4);
}

function cut(chunks: readonly Uint8Array[]): readonly Uint8Array[] | 'broken' {
  const cutter = new FrameCutter();
  const all: Uint8Array[] = [];
  for (const chunk of chunks) {
    const some = cutter.push(chunk);
    if (some === 'broken') return 'broken';
    all.push(...some);
  }
  return all;
}

describe('a frame', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(frames, (frame) => {
        expect(decodeFrame(contentOf(frame))).toEqual(frame);
      }),
    );
  });

  it('at the largest body fits the bound', () => {
    const frame: Frame = {
      kind: 'request',
      id: 1,
      timeoutMs: 1,
      method: 'm'.repeat(64),
      body: new Uint8Array(maxBodyBytes),
    };
    expect(contentOf(frame).length).toBeLessThanOrEqual(maxFrameBytes);
    expect(decodeFrame(contentOf(frame))).toEqual(frame);
  });

  it('from a stranger is read or not, and never throws; what is read is written the same', () => {
    const mutated = fc
      .tuple(frames, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat(5))
      .map(([frame, changes, shorter]) => {
        const bytes = Uint8Array.from(contentOf(frame));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes.subarray(0, bytes.length - shorter);
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), mutated), (bytes) => {
        const frame = decodeFrame(bytes);
        // Text that is no UTF-8 is shown with replacement characters, so a refusal need not come back byte for byte.
        if (frame !== undefined && frame.kind !== 'refused')
          expect(Uint8Array.from(contentOf(frame))).toEqual(Uint8Array.from(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['nothing', ''],
    ['no id', '0100'],
    ['an unknown type', '0500000001'],
    ['a cancel that says more', '040000000100'],
    ['a request without a method', '0100000001000003e800'],
    ['a method longer than the frame', '0100000001000003e80541'],
    ['a method with a line break', '0100000001000003e8020a0a'],
    ['a refusal without a code', '0300000001'],
    ['a refusal of an unknown code', '030000000109'],
  ])('%s is not read', (_why, text) => {
    expect(decodeFrame(Buffer.from(text, 'hex'))).toBeUndefined();
  });

  it('keeps a refusal’s reason short, whatever the handler said', () => {
    const content = contentOf({ kind: 'refused', id: 1, code: 'refused', message: 'é'.repeat(5_000) });
    expect(content.length).toBeLessThan(1_100);
    expect(decodeFrame(content)).toMatchObject({ kind: 'refused' });
  });

  it('reads a deadline that is no whole number or negative as one that is', () => {
    const deadline = (timeoutMs: number) =>
      decodeFrame(contentOf({ kind: 'request', id: 1, timeoutMs, method: 'm', body: new Uint8Array() }));
    expect(deadline(1.5)).toMatchObject({ timeoutMs: 2 });
    expect(deadline(-7)).toMatchObject({ timeoutMs: 0 });
    expect(deadline(Number.POSITIVE_INFINITY)).toMatchObject({ timeoutMs: 0xffff_ffff });
  });
});

describe('cutting a stream into frames', () => {
  it('gives the same frames whatever the chunks', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 5 }), fc.array(fc.nat(60), { minLength: 1 }), (sent, sizes) => {
        const wire = Buffer.concat(sent.map(encodeFrame));
        const chunks: Uint8Array[] = [];
        for (let at = 0, n = 0; at < wire.length; n += 1) {
          const size = 1 + (sizes[n % sizes.length] ?? 0);
          chunks.push(wire.subarray(at, at + size));
          at += size;
        }
        const contents = cut(chunks);
        expect(contents === 'broken' ? contents : contents.map((content) => decodeFrame(content))).toEqual(sent);
      }),
    );
  });

  it('gives them at every split point', () => {
    const wire = Buffer.concat([
      encodeFrame({ kind: 'cancel', id: 7 }),
      encodeFrame({ kind: 'answer', id: 8, body: Buffer.from('eight') }),
    ]);
    for (let at = 0; at <= wire.length; at += 1) {
      expect(cut([wire.subarray(0, at), wire.subarray(at)])).toHaveLength(2);
    }
  });

  it.each([
    ['zero', '00000000'],
    ['less than a head', '00000004'],
    ['one more than the bound', '00020001'],
    ['as much as four bytes can say', 'ffffffff'],
  ])('is broken by a length of %s, for good', (_why, text) => {
    const cutter = new FrameCutter();
    expect(cutter.push(Buffer.from(text, 'hex'))).toBe('broken');
    expect(cutter.push(encodeFrame({ kind: 'cancel', id: 1 }))).toBe('broken');
  });
});
