import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { address } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';

const soon = { timeout: 60_000, interval: 50 };

/** The only way to a node that the others know: what comes through it can be cut. */
class Door {
  readonly #server: Server;
  /** Sockets by the part of the network that they belong to. */
  readonly #sockets = new Map<Socket, 'inner' | 'cross'>();
  readonly target: number;
  part: 'inner' | 'cross' = 'inner';
  open = true;

  private constructor(target: number, server: Server) {
    this.target = target;
    this.#server = server;
    server.on('connection', (socket) => this.#pass(socket));
  }

  static async before(target: number): Promise<Door> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Door(target, server);
  }

  get address(): string {
    const { port } = this.#server.address() as { port: number };
    return `/ip4/127.0.0.1/tcp/${port}`;
  }

  #pass(socket: Socket): void {
    if (!this.open) {
      socket.destroy();
      return;
    }
    const onward = connect(this.target, '127.0.0.1');
    this.#sockets.set(socket, this.part);
    socket.pipe(onward).pipe(socket);
    const end = (): void => {
      this.#sockets.delete(socket);
      socket.destroy();
      onward.destroy();
    };
    for (const one of [socket, onward]) one.on('error', end).on('close', end);
  }

  /** Ends what crosses between the halves, and lets nothing in. */
  cut(): void {
    this.open = false;
    for (const [socket, part] of this.#sockets) if (part === 'cross') socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

describe('two halves of a ring', () => {
  let ring: Ring;
  const doors: Door[] = [];
  const overlays: Overlay[] = [];

  async function node(name: string, bootstrap: readonly string[]): Promise<{ overlay: Overlay; door: Door }> {
    const port = await freePort();
    const door = await Door.before(port);
    doors.push(door);
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`${name}@example.org`);
    const certificate = ring.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    const options = ring.options(seed, certificate, path.join(home, name));
    const listen = [`/ip4/127.0.0.1/tcp/${port}`];
    const overlay = await startOverlay({ ...options, listen, announce: [door.address], bootstrap });
    overlays.push(overlay);
    return { overlay, door };
  }

  let home = '';
  beforeEach(async () => {
    ring = await makeRing(0);
    home = await mkdtemp(path.join(tmpdir(), 'epost-halves-'));
  });
  afterEach(async () => {
    await Promise.all(overlays.splice(0).map((overlay) => overlay.stop()));
    for (const door of doors.splice(0)) door.close();
    await ring.stop();
    await rm(home, { recursive: true, force: true });
  });

  const ids = (of: readonly Overlay[]): string[] => of.map(({ self }) => self.peerId).sort();
  const upOf = (overlay: Overlay, all: readonly Overlay[]): string[] =>
    ids(all.filter((other) => other !== overlay && overlay.isUp(other.self.peerId)));
  const allUp = (all: readonly Overlay[]): void => {
    for (const one of all) expect(upOf(one, all)).toEqual(ids(all.filter((other) => other !== one)));
  };

  it('find each other when the way is open again, and what changed in one of them is known in both', async () => {
    const a = await node('a', []);
    const doorToA = `${a.door.address}/p2p/${a.overlay.self.peerId}`;
    const b = await node('b', [doorToA]);
    await vi.waitFor(() => allUp([a.overlay, b.overlay]), soon);
    for (const { door } of [a, b]) door.open = false;
    const c = await node('c', [doorToA]);
    const d = await node('d', [`${c.door.address}/p2p/${c.overlay.self.peerId}`]);
    await vi.waitFor(() => allUp([c.overlay, d.overlay]), soon);
    expect(a.overlay.members()).toHaveLength(2);

    const four = [a, b, c, d].map(({ overlay }) => overlay);
    for (const door of doors) Object.assign(door, { open: true, part: 'cross' });
    await vi.waitFor(() => allUp(four), soon);

    for (const door of doors) door.cut();
    await vi.waitFor(() => {
      allUp([a.overlay, b.overlay]);
      for (const one of [a, b]) expect(upOf(one.overlay, [c.overlay, d.overlay])).toEqual([]);
    }, soon);
    // One half takes in a new machine, the other is told that one was stolen.
    const e = await node('e', [`/ip4/127.0.0.1/tcp/${a.door.target}/p2p/${a.overlay.self.peerId}`]);
    await vi.waitFor(() => expect(a.overlay.isUp(e.overlay.self.peerId)).toBe(true), soon);
    c.overlay.offerRevocations(ring.ca.revoke([d.overlay.self.certificate.serial]));
    expect(c.overlay.isUp(d.overlay.self.peerId)).toBe(false);
    expect(a.overlay.members().map(({ peerId }) => peerId)).toContain(d.overlay.self.peerId);

    for (const door of doors) door.open = true;
    const members = [a, b, c, e].map(({ overlay }) => overlay);
    await vi.waitFor(() => {
      allUp(members);
      for (const one of members) {
        expect(
          one
            .members()
            .map(({ peerId }) => peerId)
            .sort(),
        ).toEqual(ids(members));
        expect(one.isUp(d.overlay.self.peerId)).toBe(false);
      }
    }, soon);
  }, 120_000);
});
