import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { Machine } from '../machines/machine.ts';
import { testDomain } from '../node/overlay/fake-overlay.ts';
import type { Asked } from './board-node.ts';

// A slow machine starts a node in some seconds; polled, so nobody waits for it when it is quick.
const patiently = { timeout: 40_000, interval: 50 };

type Reader = Machine<Asked>;
const notesOf = async (machine: Reader): Promise<unknown> => machine.ask({ ask: 'notes' });

let root: string;
let machines: [Reader, Reader, Reader];
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'epost-board-'));
  const authority = CertificateAuthority.create(testDomain, [], Date.now);
  const program = new URL('board-node.ts', import.meta.url);
  const machine = (name: string): Reader => new Machine(name, { authority, root, program });
  machines = [machine('alice'), machine('bob'), machine('carol')];
});
afterEach(async () => {
  await Promise.all(machines.map(async (machine) => machine.end()));
  await rm(root, { recursive: true, force: true });
});

it('three machines share a board; one that was killed and away catches up, and all read the same; one put out reads no more', {
  timeout: 180_000,
}, async () => {
  const [alice, bob, carol] = machines;
  await alice.start([]);
  await Promise.all([bob.start([alice.at]), carol.start([alice.at])]);
  const board = String(await alice.ask({ ask: 'begin', readers: [bob.owner, carol.owner] }));
  const has = async (machine: Reader, notes: readonly string[]): Promise<void> => {
    await vi.waitFor(async () => expect(await notesOf(machine)).toEqual(notes), patiently);
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

  await carol.end();
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
  expect(await notesOf(bob)).toEqual(['alice@example.org: hello: a first note', 'carol@example.org: back: and here']);
  for (const machine of machines) await machine.ask({ ask: 'stop' });
});
