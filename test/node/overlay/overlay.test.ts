import { overlayContract } from './overlay-contract.ts';
import { makeRing } from './ring-fixture.ts';

overlayContract('the overlay over libp2p', async () => {
  const ring = await makeRing(3);
  return {
    ca: ring.ca,
    overlays: ring.nodes.map(({ overlay }) => overlay),
    kill: async (index) => ring.nodes[index]?.overlay.stop(),
    restart: async (index) => {
      const node = ring.nodes[index];
      if (node === undefined) throw new Error(`no node ${index}`);
      return ring.restart(node);
    },
    stop: () => ring.stop(),
  };
});
