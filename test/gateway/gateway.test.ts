import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { verifyHere } from '../../gateway/evidence/verifier.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/gateway.ts';
import type { TraceEvent } from '../../gateway/inbound/parts.ts';
import { checkProvenance } from '../../gateway/provenance.ts';
import type { Door } from '../../node/door/door.ts';
import { GatewayPost } from '../../node/door/gateway-post.ts';
import { decodeLetter, type MailLetter } from '../../node/mail/letter.ts';
import { openSeenIds, type SeenIds } from '../../node/notify/seen.ts';
import type { Domain } from '../../policy/address.ts';
import { Limits } from '../../policy/limits.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Queue } from '../../queue/queue.ts';
import { NodeBehind } from '../node/door/node-behind.ts';
import type { Person } from '../node/notify/network.ts';
import { until } from '../node/notify/ring.ts';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import { acceptAll, plainMessage, RawClient } from './inbound/listener-under-test.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describe('the gateway beside a node', () => {
  let node: NodeBehind;
  let door: Door;
  let seen: SeenIds;
  let queue: Queue;
  let dns: DnsServer;
  let bob: Person;
  let identity: Person;
  let options: GatewayOptions;
  let gateway: Gateway | undefined;
  let client: RawClient | undefined;
  const inbox: MailLetter[] = [];
  const events: (TraceEvent & { trace: string })[] = [];

  beforeEach(async () => {
    [inbox.length, events.length] = [0, 0];
    node = await NodeBehind.start();
    const { network } = node.ring;
    const here = [node.ring.node(0).overlay];
    bob = network.person('bob', here);
    identity = network.person('gateway', here, 'gateway');
    const mailerDaemon = network.person('mailer-daemon', here, 'service');
    node.ring.attach(0, bob, async ({ body }) => {
      const letter = decodeLetter(body);
      if (letter.kind === 'mail') inbox.push(letter);
      return { verdict: 'accepted' };
    });
    door = await node.open('in process');
    seen = openSeenIds({ dir: join(node.root, 'seen'), now: network.clock });
    queue = await openEmbeddedQueue({
      dir: join(node.root, 'queue'),
      role: 'owner',
      now: Date.now,
      log: silent,
      minFreeBytes: 1,
    });
    dns = await startDnsServer({ 'sender.example': { TXT: ['v=spf1 ip4:127.0.0.1 -all'] } });
    const post = new GatewayPost({
      door,
      identity,
      mailerDaemon,
      hostname: 'mx.example.org',
      seen,
      now: network.clock,
    });
    options = {
      config: {
        hostname: 'mx.example.org',
        mx: { host: '127.0.0.1', port: 0 },
        aliases: { postmaster: bob.certificate.address },
        exemptNetworks: ['127.0.0.0/8'],
        proxies: [],
        delivery: { allowPrivate: true },
      },
      ring: { name: 'example.org' as Domain, domains: ['example.org' as Domain] },
      identity,
      post,
      door,
      queue,
      policy: () => acceptAll,
      limits: new Limits(),
      resolver: createResolver({ servers: [dns.address], timeoutMs: 500, now: Date.now }),
      verify: verifyHere(createResolver({ servers: [dns.address], timeoutMs: 500, now: Date.now }), Date.now),
      dnsLists: { block: [], allow: [], domains: [] },
      scan: { clamav: null, rspamd: null, timeoutMs: 1_000 },
      tls: { current: () => ({}), onChange: () => () => undefined },
      dkim: () => [],
      ledgerDir: join(node.root, 'ledger'),
      tlsReportDir: join(node.root, 'tls-reports'),
      onStorageBroken: () => undefined,
      trace: (trace, event) => events.push({ trace, ...event }),
      log: silent,
      now: Date.now,
      random: Math.random,
      newTraceId: () => 'trace-1',
    };
  });
  afterEach(async () => {
    client?.close();
    await gateway?.stop(1_000);
    gateway = undefined;
    await queue.close();
    await door.close();
    await seen.stop();
    await dns.close();
    await node.stop();
  });

  it('takes a message in, puts it into the ring once, and hears that it arrived', async () => {
    gateway = await startGateway(options);
    client = await RawClient.connect(gateway.ports.mx);
    await client.envelope('a@sender.example', 'postmaster@example.org');
    expect(await client.data(plainMessage)).toBe('250 2.0.0 Ok: queued as trace-1');
    await until(() => inbox.length === 1 && events.some((event) => event.what === 'receipt'));
    const [letter] = inbox;
    expect(letter).toMatchObject({
      folder: 'inbox',
      trace: 'trace-1',
      envelope: { from: 'a@sender.example', to: 'bob@example.org' },
    });
    const bytes = letter === undefined ? new Uint8Array() : await options.post.fetch(letter.message);
    expect(Buffer.from(bytes).toString()).toMatch(
      new RegExp(`^Return-Path: <a@sender.example>\\r\\n[^]*\\r\\n${plainMessage}$`),
    );
    const provenance = checkProvenance(letter?.provenance ?? new Uint8Array(), identity.keys.signing.public);
    expect(provenance).toMatchObject({
      kind: 'genuine',
      provenance: { gateway: 'gateway@example.org', spf: { result: 'pass' } },
    });
    expect(events.map((event) => event.what)).toEqual([
      'connect',
      'mail',
      'rcpt',
      'data',
      'evidence',
      'decision',
      'queued',
      'stored',
      'notified',
      'receipt',
    ]);
    expect(events.at(-1)).toMatchObject({ recipient: 'bob@example.org', verdict: 'accepted' });
  });

  it('keeps mail in the queue while the ring takes nothing, and says what it cannot look up', async () => {
    gateway = await startGateway(options);
    client = await RawClient.connect(gateway.ports.mx);
    await client.envelope('a@sender.example', 'bob@example.org');
    node.full = true;
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    await expect.poll(async () => (await queue.get('in:trace-1'))?.attempts[0]?.outcome).toBe('later');
    expect(inbox).toHaveLength(0);
    node.full = false;
    await until(() => inbox.length === 1);
    node.ring.network.directory.set(bob.certificate.address, { kind: 'unknown', reason: 'no holder answers' });
    // Who was found is believed for some seconds.
    node.ring.network.now += 6_000;
    await client.say('MAIL FROM:<a@sender.example>');
    expect(await client.say('RCPT TO:<bob@example.org>')).toMatch(/^451 4\.4\.3 /);
    expect(gateway.health()).toEqual({ ok: true });
  });

  it('says that its port is taken, and leaves nothing running', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const wrong = { ...options, config: { ...options.config, mx: { host: '127.0.0.1', port } } };
    await expect(startGateway(wrong)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    taken.close();
  });
});
