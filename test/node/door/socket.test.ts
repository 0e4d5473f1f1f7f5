import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectDoor, reconnectDelayMs } from '../../../node/door/client.ts';
import type { Door } from '../../../node/door/door.ts';
import { encodeFrame, maxFrameBytes } from '../../../node/door/frame.ts';
import { serveDoor } from '../../../node/door/server.ts';
import { makeReceipt, type Receipt } from '../../../node/notify/receipt.ts';
import { decodeOuter } from '../../../node/notify/sealed.ts';
import type { Address } from '../../../policy/address.ts';
import { quiet } from '../notify/network.ts';
import { until } from '../notify/ring.ts';
import { block, NodeBehind } from './node-behind.ts';

const lease = { identity: 'gateway@example.org' as Address, until: 2_000_000_000_000 };

let node: NodeBehind;
let door: Door | undefined;
beforeEach(async () => {
  node = await NodeBehind.start();
  door = undefined;
});
afterEach(async () => {
  await door?.close();
  await node.stop();
});

const options = () => ({ post: node.post, admin: node.admin, now: node.ring.network.clock, log: quiet });

describe('the socket of a door', () => {
  it('opens for its own user alone', async () => {
    door = await node.open('over a socket');
    expect((await stat(node.path)).mode & 0o777).toBe(0o600);
  });

  it('may not have a longer path than the system takes, and the fault says what to do', async () => {
    const path = `${node.root}/${'x'.repeat(108)}`;
    const fault = { code: 'path-too-long', message: /shorter path/ };
    await expect(serveDoor({ ...options(), path })).rejects.toMatchObject(fault);
    expect(() => connectDoor({ path, log: quiet })).toThrow(expect.objectContaining({ code: 'path-too-long' }));
  });

  it('left behind by a killed node is taken over; of a living node it is not', async () => {
    const killed = spawnSync(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(node.path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(killed.signal).toBe('SIGKILL');
    expect((await stat(node.path)).isSocket()).toBe(true);
    await node.serve();
    await expect(serveDoor({ ...options(), path: node.path })).rejects.toMatchObject({ code: 'in-use' });
  });

  const raw: [why: string, bytes: () => Buffer][] = [
    ['announces a frame of 2^31 bytes', () => Buffer.from([0x80, 0, 0, 0])],
    ['announces one byte more than a frame has', () => Buffer.from(Uint32Array.of(maxFrameBytes + 1).buffer).reverse()],
    ['sends bytes that are no frame', () => Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from('abc')])],
    [
      'asks more at once than the protocol allows',
      () =>
        Buffer.concat(
          Array.from({ length: 200 }, (_, number) =>
            encodeFrame({ kind: 'ask', number, method: 'call', value: { method: 'never', args: null } }),
          ),
        ),
    ],
  ];
  it.each(raw)('cuts off a visitor that %s, and goes on with the others', async (_why, bytes) => {
    door = await node.open('over a socket');
    const visitor = connect(node.path);
    const closed = new Promise((resolve) => visitor.on('close', resolve));
    visitor.on('error', () => undefined);
    visitor.resume();
    visitor.write(bytes());
    await closed;
    expect(await door.call('echo', 1)).toBe(1);
  });
});

describe('a door whose node is away', () => {
  it('says so to every call, and "unknown" to a look-up, which is not "nobody"', async () => {
    door = connectDoor({ path: node.path, log: quiet });
    await expect(door.fetch(randomBytes(32))).rejects.toMatchObject({ code: 'node-away' });
    await expect(door.call('echo', null)).rejects.toMatchObject({ code: 'node-away' });
    expect(await door.lookup('bob@example.org' as Address)).toMatchObject({ kind: 'unknown' });
    expect(door.connected()).toBe(false);
  });

  it('fails what was under way when the node went', async () => {
    door = await node.open('over a socket');
    const call = door.call('never', null);
    call.catch(() => undefined);
    await door.call('echo', null);
    const stopped = node.unserve();
    await expect(call).rejects.toMatchObject({ code: 'node-away' });
    // A method of the program that never ends must not keep the node from stopping for ever: it is left to the process.
    await Promise.race([stopped, until(() => door?.connected() === false)]);
  });

  it('says nothing of what an ordinary close cut off', async () => {
    const { network } = node.ring;
    const gateway = network.person('gateway', [node.ring.node(0).overlay], 'gateway');
    const warnings: string[] = [];
    await node.serve();
    const mine = connectDoor({
      path: node.path,
      log: { ...quiet, warn: (_facts: object, message: string) => warnings.push(message) },
    });
    await until(() => mine.connected());
    mine.attach({ certificate: gateway.certificate, accept: async () => undefined })();
    await mine.close();
    expect(warnings).toEqual([]);
  });

  it('does not let a gateway take the mail of a user', async () => {
    const { network } = node.ring;
    const bob = network.person('bob', [node.ring.node(0).overlay]);
    const got: Uint8Array[] = [];
    node.ring.attach(0, bob, async ({ body }) => {
      got.push(body);
      return { verdict: 'accepted' };
    });
    door = await node.open('over a socket');
    let taken = 0;
    door.attach({
      certificate: bob.certificate,
      accept: async () => {
        taken++;
        return undefined;
      },
    });
    await door.call('echo', null);
    await door.notify(node.ring.letter(network.person('alice'), bob, '1'));
    await until(() => got.length === 1);
    expect(taken).toBe(0);
  });

  it('opens by itself when the node is back, with its recipients and its watches', async () => {
    const { network } = node.ring;
    const gateway = network.person('gateway', [node.ring.node(0).overlay], 'gateway');
    door = await node.open('over a socket');
    const got: Uint8Array[] = [];
    door.attach({
      certificate: gateway.certificate,
      accept: async (sealed) => {
        got.push(sealed);
        const { id } = decodeOuter(sealed);
        const by = { by: gateway.certificate, signing: gateway.keys.signing, now: network.now };
        return makeReceipt({ id, verdict: 'accepted', ...by }).bytes;
      },
    });
    const receipts: Receipt[] = [];
    door.onReceipt((receipt) => receipts.push(receipt));
    // A letter whose recipient is not there while the door is open.
    const bob = network.person('bob', [node.ring.node(0).overlay]);
    await door.notify(node.ring.letter(gateway, bob, 'watched'));
    await node.unserve();
    await until(() => door?.connected() === false);
    node.ring.attach(0, bob, async () => ({ verdict: 'accepted' }));
    await until(() => node.ring.node(0).notify.stats().outstanding === 0);
    await node.ring.node(0).notify.send(node.ring.letter(bob, gateway, 'while away'));
    await node.serve();
    await until(() => got.length > 0 && receipts.length > 0);
    expect(receipts[0]).toMatchObject({ verdict: 'accepted', by: 'bob@example.org' });
  });

  it('asks for the node more and more seldom, but at least every 5 s', () => {
    expect([0, 1, 2, 20].map(reconnectDelayMs)).toEqual([50, 100, 200, 5000]);
  });
});

it('a flood of blocks goes through in bounded pieces', async () => {
  door = await node.open('over a socket');
  const blocks = Array.from({ length: 600 }, () => block(randomBytes(20_000)));
  await door.insert(blocks, lease);
  expect(node.blocks.size).toBe(600);
  expect(node.mostUnderWay).toBeLessThanOrEqual(64);
});
