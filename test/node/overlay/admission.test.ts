import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { signNodeCertificate } from '../../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { encodeFrame } from '../../../node/overlay/frame.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { address, testDomain } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';
import { poke, protocols, Rogue, say } from './rogue.ts';

const soon = { timeout: 4_000, interval: 10 };

describe('admission', () => {
  let ring: Ring;
  let rogue: Rogue;

  beforeEach(async () => {
    ring = await makeRing(1);
    rogue = await Rogue.start();
  });
  afterEach(async () => {
    await rogue.stop();
    await ring.stop();
  });

  function victim() {
    const node = ring.nodes[0];
    if (node === undefined) throw new Error('one was made');
    return node.overlay;
  }

  function certificateFor(seed: Uint8Array, ca: CertificateAuthority = ring.ca, days = 1) {
    return ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner: address('mallory@example.org'), days });
  }

  const echo = encodeFrame({ kind: 'request', id: 1, timeoutMs: 1_000, method: 'greet', body: new Uint8Array([7]) });
  // Identify answers without a question.
  const questions: ['request' | 'identify', Uint8Array][] = [
    ['request', echo],
    ['identify', new Uint8Array()],
  ];

  it.each(questions)(
    'a peer without a certificate that speaks %s gets nothing and is disconnected',
    async (name, bytes) => {
      let called = false;
      victim().handle('greet', async (body) => {
        called = true;
        return body;
      });
      const connection = await rogue.connect(victim().self);
      expect(await poke(connection, protocols[name], bytes, 1_000)).toHaveLength(0);
      await vi.waitFor(() => expect(connection.status).not.toBe('open'), soon);
      expect(called).toBe(false);
      expect(victim().isUp(rogue.peerId)).toBe(false);
    },
  );

  it.each(questions)(
    'with a certificate the same %s is answered, so that the refusal above says something',
    async (name, bytes) => {
      victim().handle('greet', async (body) => body);
      const connection = await rogue.connect(victim().self);
      const hello = rogue.hello(certificateFor(rogue.seed).bytes);
      expect(await say(connection, protocols.admit, hello)).toBeInstanceOf(Uint8Array);
      expect((await poke(connection, protocols[name], bytes, 1_000)).length).toBeGreaterThan(0);
      expect(connection.status).toBe('open');
    },
  );

  it('asking at once beside the admission does not help', async () => {
    const connection = await rogue.connect(victim().self);
    const [, answer] = await Promise.all([
      say(connection, protocols.admit, rogue.hello(ring.nodes[0]?.certificate.bytes ?? new Uint8Array())),
      poke(connection, protocols.request, echo, 1_000),
    ]);
    expect(answer).toHaveLength(0);
  });

  it('a ping before admission is not answered, and silence ends in disconnection', async () => {
    const connection = await rogue.connect(victim().self);
    const answer = await rogue.host.services.ping
      .ping(connection.remotePeer, { signal: AbortSignal.timeout(1_000) })
      .catch(() => 'nothing');
    expect(answer).toBe('nothing');
    await vi.waitFor(() => expect(connection.status).not.toBe('open'), { timeout: 10_000, interval: 50 });
  });

  const bad: [string, (r: Rogue) => Uint8Array][] = [
    [
      'a certificate of another authority',
      (r) => r.hello(certificateFor(r.seed, CertificateAuthority.create(testDomain, [], Date.now)).bytes),
    ],
    ['an expired certificate', (r) => r.hello(certificateFor(r.seed, ring.ca, -1).bytes)],
    ['the certificate of another node', (r) => r.hello(ring.nodes[0]?.certificate.bytes ?? new Uint8Array())],
    [
      'a certificate signed by the node itself',
      (r) => {
        const key = signingKeyFromSeed(r.seed);
        const claims = {
          serial: '00'.repeat(16),
          ring: testDomain,
          peerKey: key.public,
          owner: address('m@example.org'),
          notBefore: 0,
          notAfter: Date.now() * 2,
        };
        return r.hello(signNodeCertificate(claims, key).bytes);
      },
    ],
    [
      'an identity certificate',
      (r) => {
        const { public: key } = signingKeyFromSeed(r.seed);
        return r.hello(
          ring.ca.issueIdentity({
            kind: 'user',
            address: address('m@example.org'),
            signingKey: key,
            sealingKey: key,
            days: 1,
          }).bytes,
        );
      },
    ],
    ['a record that another key signed', (r) => r.hello(certificateFor(r.seed).bytes, { record: new Uint8Array(200) })],
    ['a field too many', (r) => r.hello(certificateFor(r.seed).bytes, { more: 1 })],
    ['garbage', () => Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['nothing', () => new Uint8Array()],
    ['more than the bound', () => new Uint8Array(200_000)],
    ['nesting without end', () => new Uint8Array(100_000).fill(0x81)],
  ];
  it.each(bad)('%s does not admit, and the connection is cut', async (_why, hello) => {
    const connection = await rogue.connect(victim().self);
    expect(await say(connection, protocols.admit, hello(rogue))).toBeTypeOf('string');
    await vi.waitFor(() => expect(connection.status).not.toBe('open'), soon);
    expect(victim().members()).toHaveLength(1);
  });

  it('a revoked certificate does not admit, even where the list comes with the one who shows it', async () => {
    const certificate = certificateFor(rogue.seed);
    const revocations = ring.ca.revoke([certificate.serial]);
    const connection = await rogue.connect(victim().self);
    expect(await say(connection, protocols.admit, rogue.hello(certificate.bytes, { revocations }))).toBeTypeOf(
      'string',
    );
    await vi.waitFor(() => expect(connection.status).not.toBe('open'), soon);
    expect(victim().revocations().isRevoked(certificate.serial)).toBe(true);
  });

  it('a second admission on one connection cuts nothing that was admitted', async () => {
    const connection = await rogue.connect(victim().self);
    const hello = rogue.hello(certificateFor(rogue.seed).bytes);
    expect(await say(connection, protocols.admit, hello)).toBeInstanceOf(Uint8Array);
    expect(await say(connection, protocols.admit, hello)).toBeTypeOf('string');
    expect(victim().isUp(rogue.peerId)).toBe(true);
  });

  it('a bootstrap peer without a certificate is not joined, and gets no answer from the node that dialled it', async () => {
    const { seed, certificate, dir } = await ring.addNode();
    const node = ring.nodes[1];
    await node?.overlay.stop();
    const { promise: asked, resolve } = Promise.withResolvers<Uint8Array>();
    rogue.host.addEventListener('connection:open', ({ detail }) =>
      resolve(poke(detail, protocols.request, echo, 1_000)),
    );
    const dialled = await startOverlay({
      ...ring.options(seed, certificate, `${dir}-again`),
      bootstrap: [rogue.address],
    });
    try {
      // Whatever the rogue asks in the moment before it is cut.
      expect(await asked).toHaveLength(0);
      expect(dialled.isUp(rogue.peerId)).toBe(false);
      expect(dialled.members()).toHaveLength(1);
    } finally {
      await dialled.stop();
    }
  });

  it('every protocol of the host stands behind the gate but admission itself', async () => {
    // A protocol that a later libp2p adds by itself would show up here first.
    const connection = await rogue.connect(victim().self);
    await say(connection, protocols.admit, rogue.hello(certificateFor(rogue.seed).bytes));
    const identified = await rogue.host.services.identify.identify(connection);
    expect([...identified.protocols].sort()).toEqual(Object.values(protocols).sort());
  });
});
