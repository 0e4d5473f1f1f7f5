import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import type { NodeCertificate } from '../../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Channels } from '../../../node/overlay/channel.ts';
import type { TableBounds } from '../../../node/overlay/member-table.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { address, silentLog, testDomain } from './fake-overlay.ts';

export interface ProcessRing {
  /** Those in this process. */
  readonly overlays: readonly (Overlay & Channels)[];
  readonly certificates: readonly NodeCertificate[];
  /** One more, in this process, that knows one address. */
  addNode(): Promise<Overlay & Channels>;
  stop(): Promise<void>;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A ring of real nodes, most of them in processes of their own, with a store each. Every node begins with the address of the first. */
export async function childRing(given: {
  readonly here: number;
  readonly perProcess: number;
  readonly processes: number;
  readonly table: TableBounds;
  /** In one more process: nodes that lie in lookups. */
  readonly liars?: number;
}): Promise<ProcessRing> {
  const ca = CertificateAuthority.create(testDomain, [], Date.now);
  const list = ca.revocations();
  const home = await mkdtemp(path.join(tmpdir(), 'epost-processes-'));
  const certificates: NodeCertificate[] = [];
  const overlays: (Overlay & Channels)[] = [];
  const children: ChildProcess[] = [];

  function certify() {
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`user${certificates.length}@example.org`);
    const certificate = ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    certificates.push(certificate);
    return { seed, certificate, dir: path.join(home, String(certificates.length)) };
  }

  async function addNode(): Promise<Overlay & Channels> {
    const { seed, certificate, dir } = certify();
    const overlay = await startOverlay({
      ring: ca.ring,
      peerSeed: seed,
      certificate,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap: bootstrap(),
      dir,
      revocations: list,
      table: given.table,
      now: Date.now,
      log: silentLog,
    });
    overlay.handle('echo', async (body) => body);
    overlays.push(overlay);
    return overlay;
  }

  function bootstrap(): string[] {
    const first = overlays[0]?.self;
    return first === undefined ? [] : [`${first.addresses[0]}/p2p/${first.peerId}`];
  }

  async function addProcess(count: number, lying: boolean): Promise<void> {
    const child = spawn(process.execPath, [fileURLToPath(new URL('child-nodes.ts', import.meta.url))], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    const nodes = Array.from({ length: count }, certify).map(({ seed, certificate, dir }) => ({
      seed: hex(seed),
      certificate: hex(certificate.bytes),
      dir,
    }));
    const common = { ring: hex(ca.ringBytes()), list: hex(list), bootstrap: bootstrap(), table: given.table };
    const words = { ...common, nodes, lying };
    child.stdin?.end(JSON.stringify(words));
    if (child.stdout === null) throw new Error('no output of the child');
    for await (const line of createInterface({ input: child.stdout })) if (line === 'ready') return;
    throw new Error('the nodes of a process did not start');
  }

  for (let n = 0; n < given.here; n += 1) await addNode();
  const { processes, perProcess, liars = 0 } = given;
  await Promise.all([
    ...Array.from({ length: processes }, () => addProcess(perProcess, false)),
    ...(liars === 0 ? [] : [addProcess(liars, true)]),
  ]);
  return {
    overlays,
    certificates,
    addNode,
    async stop() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all([
        ...children.map((child) =>
          child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined,
        ),
        ...overlays.map((overlay) => overlay.stop()),
      ]);
      await rm(home, { recursive: true, force: true });
    },
  };
}
