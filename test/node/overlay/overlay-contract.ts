import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CertificateAuthority } from '../../../node/identity/authority.ts';
import { type MembershipChange, maxBodyBytes, type Overlay, OverlayFault } from '../../../node/overlay/overlay.ts';

/** A ring that a test can break, whoever implements it. */
export interface BreakableRing {
  readonly ca: CertificateAuthority;
  readonly overlays: readonly Overlay[];
  kill(index: number): Promise<void>;
  restart(index: number): Promise<Overlay>;
  stop(): Promise<void>;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const soon = { timeout: 10_000, interval: 10 };

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'answered',
    (error: unknown) => (error instanceof OverlayFault ? error.code : `another error: ${String(error)}`),
  );
}

/** What every Overlay promises. One table, run against the real one and the fake, so that the fake cannot lie. */
export function overlayContract(name: string, makeThree: () => Promise<BreakableRing>): void {
  describe(`${name}: a ring of three`, () => {
    let ring: BreakableRing;
    let a: Overlay;
    let b: Overlay;
    let c: Overlay;

    beforeEach(async () => {
      ring = await makeThree();
      [a, b, c] = ring.overlays as [Overlay, Overlay, Overlay];
      await vi.waitFor(() => {
        for (const one of ring.overlays)
          for (const other of ring.overlays) expect(one.isUp(other.self.peerId)).toBe(true);
      }, soon);
    });
    afterEach(() => ring.stop());

    it('every node knows all members, itself included, by the same certificates', () => {
      const seen = ring.overlays.map((one) =>
        one
          .members()
          .map((member) => member.peerId)
          .sort(),
      );
      expect(new Set(seen.map((ids) => ids.join()))).toEqual(
        new Set([
          [a, b, c]
            .map((o) => o.self.peerId)
            .sort()
            .join(),
        ]),
      );
      const known = a.members().find((member) => member.peerId === b.self.peerId);
      expect(Buffer.compare(known?.certificate.bytes ?? new Uint8Array(), b.self.certificate.bytes)).toBe(0);
      expect(known?.owner).toBe(b.self.owner);
    });

    it('the closest members are the same everywhere and nearest first', () => {
      for (let n = 0; n < 20; n += 1) {
        const key = createHash('sha256').update(String(n)).digest();
        const distance = (peerKey: Uint8Array): string => {
          const position = createHash('sha256').update(peerKey).digest();
          return Buffer.from(position.map((byte, at) => byte ^ (key[at] ?? 0))).toString('hex');
        };
        const expected = [...a.members()].sort((x, y) => (distance(x.peerKey) < distance(y.peerKey) ? -1 : 1));
        for (const one of ring.overlays) {
          expect(one.closest(key, 2).map((m) => m.peerId)).toEqual(expected.slice(0, 2).map((m) => m.peerId));
        }
        expect(a.closest(key, 9)).toHaveLength(3);
      }
    });

    it('a request is answered by the handler of its method, which learns who asks', async () => {
      b.handle('greet', async (body, from) => text(`${words(body)} from ${from.peerId}`));
      const answer = await a.request(b.self.peerId, 'greet', text('hello'), { timeoutMs: 5_000 });
      expect(words(answer)).toBe(`hello from ${a.self.peerId}`);
    });

    it('a request to oneself calls the handler directly', async () => {
      a.handle('greet', async (body, from) => text(`${words(body)} ${from.peerId === a.self.peerId}`));
      expect(words(await a.request(a.self.peerId, 'greet', text('hello'), { timeoutMs: 5_000 }))).toBe('hello true');
    });

    it('a handler that throws refuses, and its message arrives', async () => {
      b.handle('no', async () => Promise.reject(new Error('quota used up')));
      for (const one of [a, b]) {
        const asked = one.request(b.self.peerId, 'no', text(''), { timeoutMs: 5_000 });
        await expect(asked).rejects.toMatchObject({
          code: 'refused',
          message: expect.stringContaining('quota used up'),
        });
      }
    });

    it('a method that nobody handles is refused', async () => {
      expect(await codeOf(a.request(b.self.peerId, 'nothing', text(''), { timeoutMs: 5_000 }))).toBe('refused');
    });

    it('a handler that never answers costs the caller his deadline and no more, and learns that it is over', async () => {
      let over = false;
      b.handle('hang', async (_body, _from, signal) => {
        signal.addEventListener('abort', () => {
          over = true;
        });
        return Promise.withResolvers<Uint8Array>().promise;
      });
      b.handle('echo', async (body) => body);
      expect(await codeOf(a.request(b.self.peerId, 'hang', text(''), { timeoutMs: 100 }))).toBe('timeout');
      await vi.waitFor(() => expect(over).toBe(true), soon);
      expect(words(await a.request(b.self.peerId, 'echo', text('still here'), { timeoutMs: 5_000 }))).toBe(
        'still here',
      );
    });

    it('a caller who gives up gets an answer at once, and the handler is told', async () => {
      const { promise: told, resolve } = Promise.withResolvers<void>();
      const { promise: started, resolve: begin } = Promise.withResolvers<void>();
      b.handle('hang', async (_body, _from, signal) => {
        signal.addEventListener('abort', () => resolve());
        begin();
        return Promise.withResolvers<Uint8Array>().promise;
      });
      const giveUp = new AbortController();
      const asked = codeOf(a.request(b.self.peerId, 'hang', text(''), { timeoutMs: 60_000, signal: giveUp.signal }));
      await started;
      giveUp.abort();
      expect(await asked).toBe('timeout');
      await told;
    });

    it('bodies and answers up to the bound pass unchanged; longer ones are too large and hurt nothing else', async () => {
      const full = new Uint8Array(maxBodyBytes).map((_, at) => at % 251);
      b.handle('echo', async (body) => body);
      b.handle('much', async () => new Uint8Array(maxBodyBytes + 1));
      const answer = await a.request(b.self.peerId, 'echo', full, { timeoutMs: 5_000 });
      expect(Buffer.compare(answer, full)).toBe(0);
      const longer = new Uint8Array(maxBodyBytes + 1);
      expect(await codeOf(a.request(b.self.peerId, 'echo', longer, { timeoutMs: 5_000 }))).toBe('too-large');
      expect(await codeOf(a.request(b.self.peerId, 'much', text(''), { timeoutMs: 5_000 }))).toBe('too-large');
      expect(words(await a.request(b.self.peerId, 'echo', text('fine'), { timeoutMs: 5_000 }))).toBe('fine');
    });

    it('many requests at once each get their own answer', async () => {
      b.handle('echo', async (body) => body);
      const asked = Array.from({ length: 300 }, async (_, n) => {
        const answer = await a.request(b.self.peerId, 'echo', text(`#${n}`), { timeoutMs: 10_000 });
        return words(answer) === `#${n}`;
      });
      expect((await Promise.all(asked)).every(Boolean)).toBe(true);
    });

    it('a peer id that is no member is unreachable', async () => {
      const nobody = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf';
      expect(a.isUp(nobody)).toBe(false);
      expect(await codeOf(a.request(nobody, 'echo', text(''), { timeoutMs: 1_000 }))).toBe('unreachable');
    });

    it('a killed node goes down but stays a member; requests to it break; it comes back under its old name', async () => {
      const seen: string[] = [];
      const note = (change: MembershipChange): void => {
        if (change.member.peerId === c.self.peerId) seen.push(change.kind);
      };
      a.onMembership(note);
      c.handle('hang', () => Promise.withResolvers<Uint8Array>().promise);
      const asked = codeOf(a.request(c.self.peerId, 'hang', text(''), { timeoutMs: 60_000 }));
      // The request must be on its way before the node dies.
      b.handle('echo', async (body) => body);
      await a.request(b.self.peerId, 'echo', text(''), { timeoutMs: 5_000 });
      await ring.kill(2);
      expect(await asked).toBe('unreachable');
      await vi.waitFor(() => expect(a.isUp(c.self.peerId)).toBe(false), soon);
      expect(a.members()).toHaveLength(3);
      expect(await codeOf(a.request(c.self.peerId, 'hang', text(''), { timeoutMs: 2_000 }))).toBe('unreachable');
      const again = await ring.restart(2);
      again.handle('echo', async (body) => body);
      expect(again.self.peerId).toBe(c.self.peerId);
      await vi.waitFor(() => expect(a.isUp(c.self.peerId)).toBe(true), soon);
      expect(words(await a.request(c.self.peerId, 'echo', text('back'), { timeoutMs: 5_000 }))).toBe('back');
      expect(seen).toEqual(['down', 'up']);
    });

    it('a revoked node is out everywhere as soon as one node hears of it', async () => {
      const seen: string[] = [];
      b.onMembership((change) => seen.push(`${change.kind} ${change.member.peerId === c.self.peerId}`));
      a.offerRevocations(ring.ca.revoke([c.self.certificate.serial]));
      await vi.waitFor(() => {
        for (const one of [a, b]) {
          expect(one.isUp(c.self.peerId)).toBe(false);
          expect(one.members()).toHaveLength(2);
        }
      }, soon);
      await vi.waitFor(() => expect(seen).toEqual(['down true', 'revoked true']), soon);
      expect(b.revocations().isRevoked(c.self.certificate.serial)).toBe(true);
      expect(b.closest(new Uint8Array(32), 3)).toHaveLength(2);
      expect(await codeOf(a.request(c.self.peerId, 'echo', text(''), { timeoutMs: 2_000 }))).toBe('unreachable');
      expect(await codeOf(c.request(a.self.peerId, 'echo', text(''), { timeoutMs: 2_000 }))).toBe('unreachable');
    });

    it('a list that the authority did not sign changes nothing', () => {
      const before = a.revocations().current()?.version;
      a.offerRevocations(text('nonsense'));
      expect(a.revocations().current()?.version).toBe(before);
      expect(a.members()).toHaveLength(3);
    });

    it('a method has one handler', () => {
      a.handle('once', async (body) => body);
      expect(() => a.handle('once', async (body) => body)).toThrow('once');
    });

    it('after stop nothing can be asked, and the others see it go down', async () => {
      await c.stop();
      expect(await codeOf(c.request(a.self.peerId, 'echo', text(''), { timeoutMs: 2_000 }))).toBe('unreachable');
      await vi.waitFor(() => expect(a.isUp(c.self.peerId)).toBe(false), soon);
    });
  });
}
