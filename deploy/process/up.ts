import path from 'node:path';
import { loadConfig } from '../config/load.ts';
import { withOverrides } from '../config/overrides.ts';
import type { NewHome } from '../home/create.ts';
import { layoutOf, runFolder } from '../home/layout.ts';
import { acquireLock } from '../home/lock.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { readRing } from '../home/ring-files.ts';
import { listUsers } from '../home/users.ts';
import { firstSteps } from './first-steps.ts';
import { processLifetime, wholeStopLimitMs } from './lifetime.ts';
import { stderrLog } from './log.ts';
import { loadPolicyFile } from './policy-file.ts';
import type { ReadyLine } from './ready-line.ts';
import { allReady, Supervised } from './supervisor.ts';

export interface UpOptions {
  readonly folder: string;
  /** Set on the first start: what was made, with the passwords to say once. */
  readonly made: NewHome | undefined;
  readonly json: boolean;
  readonly overrides: Readonly<Record<string, string>>;
  readonly passphraseFile: string | undefined;
}

/** Runs the node and, where this home has one, its gateway, each in its own process, until told to stop. */
export async function runUp(options: UpOptions): Promise<number> {
  const lifetime = processLifetime(wholeStopLimitMs);
  const layout = layoutOf(options.folder);
  const ring = readRing(layout);
  // Everything a person can have got wrong is told here, once, and not by two children.
  const config = withOverrides(loadConfig(layout.config), options.overrides, ring);
  if (config.gateway !== undefined) loadPolicyFile(layout.policy);
  readPassphrase(options.passphraseFile);
  const lock = await acquireLock(path.join(runFolder(layout), 'up.lock'), 'epost up');
  const log = stderrLog(config.log.level);
  const args = [
    '--home',
    layout.home,
    ...Object.entries(options.overrides).flatMap(([name, value]) => [`--${name}`, value]),
    ...(options.passphraseFile === undefined ? [] : ['--passphrase-file', options.passphraseFile]),
  ];
  const parts = [
    new Supervised('node', args, log),
    ...(config.gateway === undefined ? [] : [new Supervised('gateway', args, log)]),
  ];
  lifetime.onReload(() => {
    for (const part of parts) part.reload();
  });
  const stopAll = async (): Promise<void> => {
    // The gateway first: it hands over to the node.
    for (const part of parts.toReversed()) await part.stop();
    await lock.release();
  };

  const starting = allReady(parts.map((part) => part.start()));
  const starts = await Promise.race([starting, lifetime.stopped]);
  if (typeof starts === 'string') {
    await stopAll();
    return 0;
  }
  if (starts.kind === 'failed') {
    await stopAll();
    if (options.made !== undefined) sayMade(options.made, options.json);
    return starts.exitCode;
  }
  const { listens } = starts;
  const line: ReadyLine = {
    ready: true,
    domain: ring.name,
    mx: listens['mx'],
    submission: listens['submission'],
    submissions: listens['submissions'],
    imap: listens['imap'],
    imaps: listens['imaps'],
    http: listens['http'],
    ring: listens['ring'],
    home: layout.home,
    users: options.made?.users ?? listUsers(layout).map((address) => ({ address })),
  };
  process.stdout.write(options.json ? `${JSON.stringify(line)}\n` : firstSteps(line, options.made !== undefined));
  await lifetime.stopped;
  await stopAll();
  return 0;
}

/** The home was made though it could not be started: its passwords are said now, since they are kept nowhere. */
function sayMade({ layout, users }: NewHome, json: boolean): void {
  const lines = users.map(({ address, password }) => `  ${address}   password: ${password}`);
  process.stdout.write(
    json
      ? `${JSON.stringify({ ready: false, home: layout.home, users })}\n`
      : [
          `The home ${layout.home} was made, but could not be started (see above). Its users, said once:`,
          ...lines,
          '',
        ].join('\n'),
  );
}
