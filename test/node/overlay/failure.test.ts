import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { NodeCertificate } from '../../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { OverlayStartFault, startOverlay } from '../../../node/overlay/start.ts';
import { address } from './fake-overlay.ts';
import { makeRing, type Ring, type RingNode } from './ring-fixture.ts';

const soon = { timeout: 10_000, interval: 10 };
const one = new Uint8Array([1]);

/** A node in a process of its own, with a certificate for a day. */
async function startChild(ring: Ring) {
  const first = ring.nodes[0]!;
  const seed = randomBytes(32);
  const certificate = ring.ca.issueNode({
    peerKey: signingKeyFromSeed(seed).public,
    owner: address('carol@example.org'),
    days: 1,
  });
  const script = fileURLToPath(new URL('child-node.ts', import.meta.url));
  const started = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  started.stdin.end(
    JSON.stringify({
      ring: hex(ring.ca.ringBytes()),
      seed: hex(seed),
      certificate: hex(certificate.bytes),
      bootstrap: [`${first.overlay.self.addresses[0]}/p2p/${first.certificate.peerId}`],
      dir: path.join(first.dir, 'child'),
    }),
  );
  return { certificate, process: started };
}

describe('a peer in a process of its own', () => {
  let ring: Ring;
  let overlay: Overlay;
  let child: ChildProcess;
  let certificate: NodeCertificate;
  let stderr = '';

  beforeEach(async () => {
    ring = await makeRing(2);
    overlay = ring.nodes[0]!.overlay;
    const seed = randomBytes(32);
    certificate = ring.ca.issueNode({
      peerKey: signingKeyFromSeed(seed).public,
      owner: address('carol@example.org'),
      days: 1,
    });
    child = spawn(process.execPath, [fileURLToPath(new URL('child-node.ts', import.meta.url))], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
    const bootstrap = [`${overlay.self.addresses[0]}/p2p/${overlay.self.peerId}`];
    const dir = path.join(ring.nodes[0]!.dir, 'child');
    child.stdin?.end(
      JSON.stringify({
        ring: hex(ring.ca.ringBytes()),
        seed: hex(seed),
        certificate: hex(certificate.bytes),
        bootstrap,
        dir,
      }),
    );
    await vi.waitFor(() => {
      if (!overlay.isUp(certificate.peerId)) throw new Error(`the other process is not up: ${stderr}`);
    }, soon);
  });
  afterEach(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await ring.stop();
  });

  it('that is stopped costs each request its own deadline, and nobody else anything', async () => {
    expect(await overlay.request(certificate.peerId, 'echo', one, { timeoutMs: 5_000 })).toEqual(one);
    const other = ring.nodes[1]!.overlay;
    other.handle('echo', async (body) => body);
    child.kill('SIGSTOP');
    const big = new Uint8Array(64_000);
    const silent = Promise.allSettled(
      Array.from({ length: 100 }, () => overlay.request(certificate.peerId, 'echo', big, { timeoutMs: 700 })),
    );
    const lively = await Promise.all(
      Array.from({ length: 50 }, () => overlay.request(other.self.peerId, 'echo', one, { timeoutMs: 5_000 })),
    );
    expect(lively).toHaveLength(50);
    const codes = (await silent).map((result) =>
      result.status === 'rejected' ? (result.reason as { code?: string }).code : 'answered',
    );
    expect(new Set(codes)).toEqual(new Set(['timeout']));
    child.kill('SIGCONT');
    await vi.waitFor(async () => {
      expect(await overlay.request(certificate.peerId, 'echo', one, { timeoutMs: 1_000 })).toEqual(one);
    }, soon);
  });

  it('that is killed goes down at once, and requests to it end at once', async () => {
    const downs: string[] = [];
    overlay.onMembership((change) => downs.push(`${change.kind} ${change.member.peerId === certificate.peerId}`));
    child.kill('SIGKILL');
    await vi.waitFor(() => expect(downs).toEqual(['down true']), soon);
    await expect(overlay.request(certificate.peerId, 'echo', one, { timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'unreachable',
    });
    expect(overlay.members()).toHaveLength(3);
  });
});

describe('when this machine was asleep', () => {
  let ring: Ring;
  let ahead = 0;
  let child: ChildProcess;
  beforeEach(async () => {
    ahead = 0;
    ring = await makeRing(2, { now: () => Date.now() + ahead });
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    await ring.stop();
  });

  it('connections that died meanwhile are cut within seconds, the live ones stay, and the dead are dialled again', async () => {
    const [{ overlay }, other] = ring.nodes as [RingNode, RingNode];
    const { certificate, process: started } = await startChild(ring);
    child = started;
    await vi.waitFor(() => expect(overlay.isUp(certificate.peerId)).toBe(true), soon);
    const seen: string[] = [];
    overlay.onMembership(({ kind, member }) => seen.push(`${kind} ${member.owner}`));
    // Its kernel still answers for it: nothing but a question tells that it is dead.
    child.kill('SIGSTOP');
    ahead = 3_600_000;
    await vi.waitFor(() => expect(overlay.isUp(certificate.peerId)).toBe(false), { timeout: 20_000, interval: 20 });
    expect(seen).toEqual([`woke ${overlay.self.owner}`, `down ${certificate.owner}`]);
    expect(overlay.isUp(other.overlay.self.peerId)).toBe(true);
    child.kill('SIGCONT');
    await vi.waitFor(() => expect(overlay.isUp(certificate.peerId)).toBe(true), { timeout: 20_000, interval: 20 });
  });

  it('whose certificate expired meanwhile is out at once', async () => {
    const [{ overlay }] = ring.nodes as [RingNode];
    const { certificate, process: started } = await startChild(ring);
    child = started;
    await vi.waitFor(() => expect(overlay.isUp(certificate.peerId)).toBe(true), soon);
    ahead = 2 * 86_400_000;
    await vi.waitFor(() => {
      expect(overlay.isUp(certificate.peerId)).toBe(false);
      expect(overlay.members()).toHaveLength(2);
    }, soon);
  });
});

describe('over a restart', () => {
  let ring: Ring;
  beforeEach(async () => {
    ring = await makeRing(3);
  });
  afterEach(() => ring.stop());

  it('the member table is remembered: a node finds the ring without any bootstrap address', async () => {
    const [a, b, c] = ring.nodes;
    await a!.overlay.stop();
    const again = await startOverlay({ ...ring.options(a!.seed, a!.certificate, a!.dir), bootstrap: [] });
    a!.overlay = again;
    expect(
      again
        .members()
        .map((member) => member.peerId)
        .sort(),
    ).toEqual([a, b, c].map((node) => node!.certificate.peerId).sort());
    await ring.allUp();
  });

  it('a new address of a known member is taken over by all, and it is reached there', async () => {
    const [a, b, c] = ring.nodes;
    const before = c!.overlay.self.addresses;
    await ring.restart(c!);
    const after = c!.overlay.self.addresses;
    expect(after).not.toEqual(before);
    await vi.waitFor(() => {
      for (const node of [a, b]) {
        const known = node!.overlay.members().find((member) => member.peerId === c!.certificate.peerId);
        expect(known?.addresses).toEqual(after);
      }
    }, soon);
    await ring.allUp();
  });

  it('a record from a time when the clock was ahead does not hide the new address', async () => {
    const [a, , c] = ring.nodes;
    await c!.overlay.stop();
    const ahead = await startOverlay({
      ...ring.options(c!.seed, c!.certificate, c!.dir),
      now: () => Date.now() + 86_400_000,
    });
    await vi.waitFor(() => expect(a!.overlay.isUp(c!.certificate.peerId)).toBe(true), soon);
    await ahead.stop();
    // On a fresh disk it cannot know what it signed: the others tell it.
    const again = await startOverlay(ring.options(c!.seed, c!.certificate, `${c!.dir}-fresh`));
    c!.overlay = again;
    await vi.waitFor(() => {
      const known = a!.overlay.members().find((member) => member.peerId === c!.certificate.peerId);
      expect(known?.addresses).toEqual(again.self.addresses);
    }, soon);
  });

  it('a revocation is remembered', async () => {
    const [a, b] = ring.nodes;
    a!.overlay.offerRevocations(ring.ca.revoke([b!.certificate.serial]));
    await a!.overlay.stop();
    const again = await startOverlay({ ...ring.options(a!.seed, a!.certificate, a!.dir), bootstrap: [] });
    a!.overlay = again;
    expect(again.revocations().isRevoked(b!.certificate.serial)).toBe(true);
    expect(again.members()).toHaveLength(2);
  });

  it.each([
    ['cut in half', (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)],
    ['empty', () => Buffer.alloc(0)],
  ])('a table file that is %s costs the memory of it and not the start', async (_why, damage) => {
    const [a] = ring.nodes;
    await a!.overlay.stop();
    const file = path.join(a!.dir, 'members');
    const { readFile } = await import('node:fs/promises');
    await writeFile(file, damage(await readFile(file)));
    const again = await startOverlay(ring.options(a!.seed, a!.certificate, a!.dir));
    a!.overlay = again;
    await ring.allUp();
  });
});

describe('two halves', () => {
  it('that both started with nobody find each other when one learns an address of the other', async () => {
    const left = await makeRing(2);
    try {
      const [a, b] = left.nodes;
      const owner = address('late@example.org');
      const seed = randomBytes(32);
      const certificate = left.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
      // Its one bootstrap address answers nothing; it starts all the same.
      const nobody = `/ip4/127.0.0.1/tcp/9/p2p/${certificate.peerId.slice(0, -4)}aaaa`;
      const base = left.options(seed, certificate, path.join(a!.dir, 'late'));
      await expect(startOverlay({ ...base, bootstrap: ['/ip4/127.0.0.1/tcp/9'] })).rejects.toThrow('/p2p/');
      const alone = await startOverlay({ ...base, bootstrap: [nobody] });
      expect(alone.members()).toHaveLength(1);
      const bootstrap = [`${alone.self.addresses[0]}/p2p/${alone.self.peerId}`];
      const again = await (async () => {
        await b!.overlay.stop();
        return startOverlay({ ...left.options(b!.seed, b!.certificate, b!.dir), bootstrap });
      })();
      b!.overlay = again;
      await vi.waitFor(
        () => expect([a!.overlay.isUp(certificate.peerId), alone.isUp(a!.certificate.peerId)]).toEqual([true, true]),
        soon,
      );
      await alone.stop();
    } finally {
      await left.stop();
    }
  });
});

describe('starting', () => {
  it.each([
    ['with the key of another node', 'certificate'],
    ['with a certificate that expired', 'certificate'],
    ['on a port in use', 'listen'],
  ] as const)('%s is refused in one sentence', async (why, code) => {
    const ring = await makeRing(1);
    try {
      const seed = randomBytes(32);
      const days = why.includes('expired') ? -1 : 1;
      const certificate = ring.ca.issueNode({
        peerKey: signingKeyFromSeed(seed).public,
        owner: address('x@example.org'),
        days,
      });
      const base = ring.options(
        why.includes('another') ? randomBytes(32) : seed,
        certificate,
        path.join(ring.nodes[0]!.dir, 'x'),
      );
      const listen = why.includes('port') ? [...ring.nodes[0]!.overlay.self.addresses] : base.listen;
      const fault = await startOverlay({ ...base, listen }).catch((error: unknown) => error);
      expect(fault).toBeInstanceOf(OverlayStartFault);
      expect(fault).toMatchObject({ code });
    } finally {
      await ring.stop();
    }
  });
});
