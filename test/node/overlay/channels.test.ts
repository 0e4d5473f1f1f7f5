import { lpStream } from '@libp2p/utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Channel, type FrameVerdict, maxChannelFrameBytes } from '../../../node/overlay/channel.ts';
import { Offences } from '../../../node/overlay/gossip-channels.ts';
import { makeRing, type Ring } from './ring-fixture.ts';
import { protocols, Rogue, say } from './rogue.ts';

// A slow machine with other tests beside it: polled, so nobody waits for it when it is quick.
const patiently = { timeout: 20_000, interval: 20 };
const limit = 60_000;
const topic = 'news';

let ring: Ring;
beforeEach(async () => {
  ring = await makeRing(4);
});
afterEach(async () => ring.stop());

interface Ear {
  readonly channel: Channel;
  readonly heard: string[];
}

/** What a node of the ring hears on the topic. */
function listen(number: number, verdict: (text: string) => FrameVerdict = () => 'pass'): Ear {
  const heard: string[] = [];
  const channel = ring.nodes[number]!.overlay.join(topic, (frame) => {
    const text = Buffer.from(frame).toString();
    heard.push(text);
    return verdict(text);
  });
  return { channel, heard };
}

/** Resolves when what this one says arrives there: they know of each other by then. */
async function linked(from: Ear, to: Ear): Promise<void> {
  let number = 0;
  await vi.waitFor(async () => {
    await from.channel.publish(Buffer.from(`hello ${number++}`));
    expect(to.heard.some((text) => text.startsWith('hello'))).toBe(true);
  }, patiently);
}

describe('a channel', () => {
  it('brings a frame to all who take part, once, and to nobody else, nor back', { timeout: limit }, async () => {
    const [a, b, c] = [listen(0), listen(1), listen(2)];
    const elsewhere: string[] = [];
    ring.nodes[3]!.overlay.join('other', (frame) => {
      elsewhere.push(Buffer.from(frame).toString());
      return 'pass';
    });
    await linked(a, b);
    await linked(a, c);
    await a.channel.publish(Buffer.from('news'));
    await a.channel.publish(Buffer.from('news'));
    await a.channel.publish(Buffer.from('last'));
    await vi.waitFor(() => {
      for (const { heard } of [b, c]) expect(heard).toContain('last');
      for (const { heard } of [b, c]) expect(heard).toContain('news');
    }, patiently);
    for (const { heard } of [b, c]) expect(heard.filter((text) => text === 'news')).toHaveLength(1);
    expect(a.heard).toEqual([]);
    expect(elsewhere).toEqual([]);
  });

  it('that was left brings nothing more, and can be joined again', { timeout: limit }, async () => {
    const [a, b] = [listen(0), listen(1)];
    await linked(a, b);
    b.channel.close();
    const again = listen(1);
    const before = b.heard.length;
    await linked(a, again);
    expect(b.heard).toHaveLength(before);
  });

  it('has several who take part on one node: each hears the others, and leaves alone', { timeout: limit }, async () => {
    const [alice, bob, far] = [listen(0, () => 'drop'), listen(0), listen(1)];
    await linked(far, alice);
    await linked(far, bob);
    await alice.channel.publish(Buffer.from('from alice'));
    expect(bob.heard).toContain('from alice');
    expect(alice.heard).not.toContain('from alice');
    await linked(alice, far);
    alice.channel.close();
    const before = alice.heard.length;
    bob.heard.length = 0;
    await linked(far, bob);
    expect(alice.heard).toHaveLength(before);
  });

  it('takes a frame that nobody hears, and none that is too large', async () => {
    const { channel } = listen(0);
    await channel.publish(new Uint8Array(maxChannelFrameBytes));
    await expect(channel.publish(new Uint8Array(maxChannelFrameBytes + 1))).rejects.toMatchObject({
      code: 'too-large',
    });
  });

  it('outlives its overlay as nothing: leaving afterwards is no fault', async () => {
    const { channel } = listen(0);
    await ring.nodes[0]!.overlay.stop();
    channel.close();
  });

  it('is not listened to from a peer that keeps sending what no honest one sends', { timeout: limit }, async () => {
    const bad = listen(0);
    // Hands nothing on, so that what the ear hears of the bad one comes from it alone.
    const good = listen(1, () => 'drop');
    const ear = listen(2, (text) => (text.startsWith('bad') ? 'offence' : 'pass'));
    await linked(bad, ear);
    await linked(good, ear);
    for (let number = 0; number < 40; number++) await bad.channel.publish(Buffer.from(`bad ${number}`));
    const hears = async (text: string): Promise<void> => {
      await good.channel.publish(Buffer.from(text));
      await vi.waitFor(() => expect(ear.heard).toContain(text), patiently);
    };
    // A score is looked at once a second.
    let round = 0;
    await vi.waitFor(async () => {
      round++;
      await bad.channel.publish(Buffer.from(`harmless ${round}`));
      for (const turn of ['first', 'second', 'third']) await hears(`good ${round}, ${turn}`);
      expect(ear.heard).not.toContain(`harmless ${round}`);
    }, patiently);
  });
});

/** An RPC of gossipsub with one published frame: `publish` is field 2, in it `data` 2 and `topic` 4. */
function published(name: string, text: string): Uint8Array {
  const field = (number: number, bytes: Uint8Array) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const message = Buffer.concat([field(2, Buffer.from(text)), field(4, Buffer.from(name))]);
  return field(2, message);
}

describe('a peer without a certificate', () => {
  it('brings no frame into a channel, and is cut', { timeout: limit }, async () => {
    const ear = listen(0);
    const rogue = await Rogue.start();
    try {
      const connection = await rogue.connect(ring.nodes[0]!.overlay.self);
      const frame = published(`/epost/example.org/channel/${topic}`, 'from a stranger');
      await say(connection, protocols.channel, frame);
      await vi.waitFor(() => expect(connection.status).not.toBe('open'), patiently);
      expect(ear.heard).toEqual([]);
    } finally {
      await rogue.stop();
    }
  });

  it('brings one in the same bytes once it has one: the frame above is a good one', { timeout: limit }, async () => {
    const ear = listen(0);
    const node = await ring.addNode();
    await node.overlay.stop();
    const rogue = await Rogue.start(node.seed);
    try {
      const victim = ring.nodes[0]!.overlay;
      const connection = await rogue.connect(victim.self);
      await say(connection, protocols.admit, rogue.hello(node.certificate.bytes, {}));
      await vi.waitFor(() => expect(victim.isUp(rogue.peerId)).toBe(true), patiently);
      const stream = await connection.newStream(protocols.channel);
      await lpStream(stream).write(published(`/epost/example.org/channel/${topic}`, 'from a member'));
      await vi.waitFor(() => expect(ear.heard).toEqual(['from a member']), patiently);
    } finally {
      await rogue.stop();
    }
  });
});

describe('offences', () => {
  it('fade with time, have an end, and are of one peer alone', () => {
    let now = 0;
    const offences = new Offences(() => now);
    for (let count = 0; count < 100; count++) offences.note('a');
    expect(offences.of('a')).toBe(30);
    expect(offences.of('b')).toBe(0);
    now += 10 * 60_000;
    expect(offences.of('a')).toBe(20);
    now -= 60 * 60_000;
    expect(offences.of('a')).toBe(30);
    now += 24 * 3_600_000;
    expect(offences.of('a')).toBe(0);
  });
});
