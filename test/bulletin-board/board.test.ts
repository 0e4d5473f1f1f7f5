import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import type { Address } from '../../policy/address.ts';
import { address, issueUser, testDomain } from '../node/overlay/fake-overlay.ts';
import type { Asked, BoardNode } from './board-node.ts';

// A slow machine starts a node in some seconds; polled, so nobody waits for it when it is quick.
const patiently = { timeout: 40_000, interval: 50 };

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** One reader's machine: it can be stopped, killed, and started again with all it had. */
class Machine {
  readonly owner: Address;
  readonly #given: Omit<BoardNode, 'bootstrap'>;
  #child: ChildProcess | undefined;
  at = '';

  constructor(name: string, authority: CertificateAuthority, root: string) {
    this.owner = address(`${name}@example.org`);
    const { keys, certificate } = issueUser(authority, this.owner);
    const seed = randomBytes(32);
    const peerKey = signingKeyFromSeed(seed).public;
    this.#given = {
      ring: hex(authority.ringBytes()),
      revocations: hex(authority.revocations()),
      seed: hex(seed),
      node: hex(authority.issueNode({ peerKey, owner: this.owner, days: 30 }).bytes),
      certificate: hex(certificate.bytes),
      keys: hex(keys.export()),
      dir: path.join(root, name),
    };
  }

  async start(bootstrap: readonly string[]): Promise<void> {
    this.#child = fork(new URL('board-node.ts', import.meta.url));
    this.at = String(await this.#say({ ...this.#given, bootstrap }));
  }

  async #say(message: object): Promise<unknown> {
    const child = this.#child;
    if (child === undefined) throw new Error('it does not run');
    child.send(message);
    const gone = new AbortController();
    try {
      const [said] = (await Promise.race([
        once(child, 'message', { signal: gone.signal }),
        once(child, 'exit', { signal: gone.signal }).then(() => [{ fault: 'it ended' }]),
      ])) as [{ answer?: unknown; fault?: string }];
      if (said.fault !== undefined) throw new Error(said.fault);
      return said.answer;
    } finally {
      gone.abort();
    }
  }

  async ask(asked: Asked): Promise<unknown> {
    return this.#say(asked);
  }

  async notes(): Promise<unknown> {
    return this.ask({ ask: 'notes' });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

let root: string;
let machines: [Machine, Machine, Machine];
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-board-'));
  const authority = CertificateAuthority.create(testDomain, [], Date.now);
  const machine = (name: string): Machine => new Machine(name, authority, root);
  machines = [machine('alice'), machine('bob'), machine('carol')];
});
afterEach(async () => {
  await Promise.all(machines.map(async (machine) => machine.end('SIGKILL')));
  await rm(root, { recursive: true, force: true });
});

it('three machines share a board; one that was killed and away catches up, and all read the same; one put out reads no more', {
  timeout: 180_000,
}, async () => {
  const [alice, bob, carol] = machines;
  await alice.start([]);
  await Promise.all([bob.start([alice.at]), carol.start([alice.at])]);
  const board = String(await alice.ask({ ask: 'begin', readers: [bob.owner, carol.owner] }));
  const has = async (machine: Machine, notes: readonly string[]): Promise<void> => {
    await vi.waitFor(async () => expect(await machine.notes()).toEqual(notes), patiently);
  };
  for (const machine of [bob, carol])
    await vi.waitFor(async () => expect(await machine.ask({ ask: 'boards' })).toEqual([board]), patiently);

  await alice.ask({ ask: 'publish', board, title: 'hello', text: 'a first note' });
  await has(bob, ['alice@example.org: hello: a first note']);
  await has(carol, ['alice@example.org: hello: a first note']);
  await bob.ask({ ask: 'publish', board, title: 'long', text: 'x'.repeat(200_000) });
  const long = `bob@example.org: long: ${'x'.repeat(200_000)}`;
  await has(carol, ['alice@example.org: hello: a first note', long]);
  await has(alice, [long]);

  await carol.end('SIGKILL');
  await bob.ask({ ask: 'publish', board, title: 'missed', text: 'while carol was away' });
  await bob.ask({ ask: 'publish', board, title: 'also', text: 'missed' });
  const missed = ['bob@example.org: missed: while carol was away', 'bob@example.org: also: missed'];
  await has(alice, [long, ...missed]);
  await carol.start([alice.at]);
  await has(carol, ['alice@example.org: hello: a first note', long, ...missed]);

  await carol.ask({ ask: 'publish', board, title: 'back', text: 'and here' });
  await has(alice, [long, ...missed, 'carol@example.org: back: and here']);
  await has(bob, ['alice@example.org: hello: a first note', 'carol@example.org: back: and here']);
  // Whoever is put out reads nothing that is said under the next key, though the channel still brings it to him.
  await alice.ask({ ask: 'change', board, readers: [carol.owner] });
  await alice.ask({ ask: 'publish', board, title: 'without bob', text: 'one' });
  await alice.ask({ ask: 'publish', board, title: 'without bob', text: 'two' });
  const told = ['alice@example.org: without bob: one', 'alice@example.org: without bob: two'];
  await has(carol, ['alice@example.org: hello: a first note', long, ...missed, ...told]);
  expect(await bob.notes()).toEqual(['alice@example.org: hello: a first note', 'carol@example.org: back: and here']);
  for (const machine of machines) await machine.ask({ ask: 'stop' });
});
