import { describe, expect, it } from 'vitest';
import { FakeOverlayNetwork } from './fake-overlay.ts';
import { overlayContract } from './overlay-contract.ts';

overlayContract('the fake overlay', async () => {
  const network = new FakeOverlayNetwork();
  const nodes = network.addMany(3);
  const peerId = (index: number): string => nodes[index]?.certificate.peerId ?? '';
  return {
    ca: network.ca,
    overlays: nodes.map(({ overlay }) => overlay),
    kill: async (index) => network.kill(peerId(index)),
    restart: async (index) => network.restart(peerId(index)),
    stop: () => network.stop(),
  };
});

describe('what only the fake can do', () => {
  const echo = async (body: Uint8Array): Promise<Uint8Array> => body;
  const ask = { timeoutMs: 50 };

  it('a partition parts the groups and heals', async () => {
    const network = new FakeOverlayNetwork();
    const [a, b, c] = network.addMany(3).map(({ overlay }) => overlay);
    if (a === undefined || b === undefined || c === undefined) throw new Error('three were asked for');
    const seen: string[] = [];
    a.onMembership(({ kind }) => seen.push(kind));
    network.partition([a.self.peerId, b.self.peerId], [c.self.peerId]);
    expect([a.isUp(b.self.peerId), a.isUp(c.self.peerId), c.isUp(a.self.peerId)]).toEqual([true, false, false]);
    network.heal();
    expect(a.isUp(c.self.peerId)).toBe(true);
    expect(seen).toEqual(['down', 'up']);
    await network.stop();
  });

  it('a silent node costs the deadline; a lost answer was handled', async () => {
    const network = new FakeOverlayNetwork();
    const [a, b] = network.addMany(2).map(({ overlay }) => overlay);
    if (a === undefined || b === undefined) throw new Error('two were asked for');
    let handled = 0;
    b.handle('echo', async (body) => {
      handled += 1;
      return echo(body);
    });
    network.silence(b.self.peerId);
    await expect(a.request(b.self.peerId, 'echo', new Uint8Array(1), ask)).rejects.toMatchObject({ code: 'timeout' });
    expect([handled, a.isUp(b.self.peerId)]).toEqual([0, true]);
    network.silence(b.self.peerId, false);
    network.fate = () => 'lose-answer';
    await expect(a.request(b.self.peerId, 'echo', new Uint8Array(1), ask)).rejects.toMatchObject({ code: 'timeout' });
    expect(handled).toBe(1);
    await network.stop();
  });

  it('a node added later joins for the others', async () => {
    const network = new FakeOverlayNetwork();
    const { overlay: a } = network.add();
    const seen: string[] = [];
    a.onMembership(({ kind }) => seen.push(kind));
    const { overlay: b } = network.add();
    expect(seen).toEqual(['joined', 'up']);
    expect([a.members().length, b.members().length]).toEqual([2, 2]);
    await network.stop();
  });
});
