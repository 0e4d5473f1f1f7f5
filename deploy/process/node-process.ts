import path from 'node:path';
import { imapLimits } from '../../node/access/imap/limits.ts';
import { startImap } from '../../node/access/imap/server.ts';
import { LoginGate, sleep } from '../../node/access/login-gate.ts';
import { startSubmission } from '../../node/access/submission/server.ts';
import { serveDoor } from '../../node/door/server.ts';
import { checkNodeCertificate } from '../../node/identity/certificate.ts';
import { deriveKey } from '../../node/identity/derive.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { openSeenIds } from '../../node/notify/seen.ts';
import { startPost } from '../../node/post/post.ts';
import { defaultPatience } from '../../node/store/collection.ts';
import type { Listener } from '../config/schema.ts';
import { doorPath } from '../home/ask-node.ts';
import { HomeFault } from '../home/fault.ts';
import { readHomeFile, writeFileDurably } from '../home/files.ts';
import type { Layout } from '../home/layout.ts';
import { openAuthority, readBootstrap, readRevocations, saveAuthority } from '../home/ring-files.ts';
import { newTraceId } from '../trace/id.ts';
import { startHttp } from './http-server.ts';
import { LocalLists } from './local-lists.ts';
import { LocalUsers } from './local-users.ts';
import { nodeAdmin } from './node-admin.ts';
import { type Part, type PartOptions, runPart } from './part.ts';
import { storeGauge } from './store-gauge.ts';
import { TlsFiles } from './tls-files.ts';
import { trustOf } from './trust.ts';

// A ring that is away must not keep the listeners closed; log-ins answer "unavailable" meanwhile.
const settleMs = 5_000;
const accessGraceMs = 2_000;

/** Runs the POST node of a home, with its users' listeners and its door, until told to stop. Resolves with the exit code. */
export function runNode(options: PartOptions): Promise<number> {
  return runPart('node', options, (layout, config) => new TlsFiles(layout, config), startNode);
}

async function startNode(part: Part, tls: TlsFiles): Promise<Record<string, string>> {
  const { layout, ring, config, passphrase, log, traces, lifetime, closing } = part;

  const secrecy = passphrase === undefined ? {} : { passphrase };
  const peerSeed = await readKeyFile(layout.node.key, { kind: 'node', ...secrecy });
  await renewRevocations(layout, passphrase);
  const revocations = new RevocationState(ring);
  const list = readRevocations(layout);
  if (list !== undefined) revocations.offer(list);
  const check = checkNodeCertificate(readHomeFile(layout.node.certificate, 'the node certificate'), {
    ring,
    revocations,
    now: Date.now(),
  });
  if (check.kind === 'invalid' || check.kind === 'revoked') {
    throw new HomeFault(
      'damaged',
      `this node’s certificate does not hold (${check.reason}); get a new invitation with \`epost node invite\` on the first machine`,
    );
  }

  const { quota: identityBytes, quotaForOthers: othersBytes, trash, gone } = config.node.store;
  const quota = { identityBytes, othersBytes };
  const post = await startPost({
    ring,
    peerSeed,
    certificate: check.certificate,
    listen: config.node.listen,
    announce: config.node.announce,
    bootstrap: readBootstrap(layout),
    ...(list === undefined ? {} : { revocations: list }),
    dir: layout.node.folder,
    quota,
    patience: { ...defaultPatience, trashMs: trash, goneMs: gone },
    now: Date.now,
    log,
  });
  closing.add(() => post.stop());

  const seen = openSeenIds({ dir: path.join(layout.node.folder, 'seen'), now: Date.now });
  closing.add(() => seen.stop());
  const residents = {
    layout,
    passphrase,
    hostname: config.hostname,
    post,
    decoySecret: deriveKey(peerSeed, 'login/decoy'),
    quotaBytes: identityBytes,
    trust: () => trustOf(post.overlay, Date.now),
    seen,
    now: Date.now,
    trace: traces.record,
    log,
  };
  const users = new LocalUsers(residents);
  await users.reload();
  closing.add(() => users.stop());
  const lists = new LocalLists(residents);
  await lists.reload();
  closing.add(() => lists.stop());

  const door = await serveDoor({
    path: doorPath(layout),
    post,
    now: Date.now,
    log,
    admin: nodeAdmin({ layout, post, users, lists, quota }),
  });
  closing.add(() => door.stop());
  lifetime.onReload(() => {
    log.info({}, 'reading TLS files and users again');
    try {
      tls.reload();
    } catch (fault) {
      log.error({ fault }, 'the new TLS files cannot be used; the old ones stay');
    }
    users.reload().catch((fault: unknown) => log.error({ fault }, 'the users could not be read again'));
    lists.reload().catch((fault: unknown) => log.error({ fault }, 'the lists could not be read again'));
  });

  await users.settled(settleMs);
  const { submission, submissions, imap, imaps, flagDelay } = config.access;
  // One gate for both, so that a guesser who changes the door starts no new count.
  const gate = new LoginGate({ accounts: users, now: Date.now, sleep, log });
  const imapServer = await startImap({
    listen: [
      { ...imap, tls: 'starttls' },
      { ...imaps, tls: 'implicit' },
    ],
    tls,
    accounts: users,
    gate,
    limits: { ...imapLimits, flagDelayMs: flagDelay },
    now: Date.now,
    log,
  });
  closing.add(() => imapServer.stop(accessGraceMs));
  const submit = async (listen: Listener, implicitTls: boolean): Promise<number> => {
    const server = await startSubmission({
      ...listen,
      implicitTls,
      tls,
      accounts: users,
      gate,
      hostname: config.hostname,
      now: Date.now,
      log,
      trace: traces.record,
      newTraceId: () => newTraceId(Date.now()),
    });
    closing.add(() => server.stop(accessGraceMs));
    return server.port;
  };
  const submissionPort = await submit(submission, false);
  const submissionsPort = submissions === undefined ? undefined : await submit(submissions, true);

  // Where a gateway runs too, the health page is its.
  const http =
    config.http !== null && config.gateway === undefined
      ? await startHttp({
          listen: config.http,
          health: async () => [{ part: 'node', ok: true }],
          gauges: [{ ...storeGauge, read: async () => ({ ...(await post.store.stats()) }) }],
        })
      : undefined;
  if (http !== undefined) closing.add(() => http.stop());
  const place = (listener: Listener, port: number | undefined): string => `${listener.host}:${port ?? listener.port}`;
  log.info({ peerId: post.overlay.self.peerId, addresses: post.overlay.self.addresses }, 'the node is ready');
  return {
    imap: place(imap, imapServer.ports[0]),
    imaps: place(imaps, imapServer.ports[1]),
    submission: place(submission, submissionPort),
    ...(submissions === undefined ? {} : { submissions: place(submissions, submissionsPort) }),
    ring: post.overlay.self.addresses[0] ?? '',
    ...(http === undefined ? {} : { http: http.address }),
  };
}

/** Where the authority's key lies, each start issues the revocation list anew, so that it never grows too old to be sure of. */
async function renewRevocations(layout: Layout, passphrase: string | undefined): Promise<void> {
  try {
    const authority = await openAuthority(layout, passphrase, Date.now);
    const list = authority.revocations();
    saveAuthority(layout, authority);
    writeFileDurably(layout.revocations, list);
  } catch (fault) {
    if (!(fault instanceof HomeFault) || fault.code !== 'no-authority') throw fault;
  }
}
