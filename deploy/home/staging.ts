import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { HomeFault } from './fault.ts';
import { syncFolder } from './files.ts';
import { type Layout, layoutOf } from './layout.ts';

const stagingName = '.making';
// What a home that was never finished may have left; anything else is somebody's, and is not touched.
const ownNames = new Set([
  stagingName,
  'epost.yaml',
  'policy.yaml',
  'ca',
  'node',
  'users',
  'gateway',
  'tls',
  'trace',
  'run',
  'ring',
  'lost+found',
]);

/**
 * Makes a home in one step: `make` fills a folder beside its place, whose entries are then moved in, the ring file last.
 * A folder without a ring file is no home: after a crash in between the next call begins again. Refuses a folder that
 * holds a home or anything else.
 */
export async function makeHome<Made>(
  folder: string,
  make: (staging: Layout) => Promise<Made>,
): Promise<{ layout: Layout; made: Made }> {
  const layout = layoutOf(folder);
  refuseOccupied(layout);
  const staging = layoutOf(path.join(layout.home, stagingName));
  rmSync(staging.home, { recursive: true, force: true });
  mkdirSync(staging.home, { recursive: true, mode: 0o700 });
  const made = await make(staging);
  const entries = readdirSync(staging.home).filter((name) => name !== 'ring');
  for (const name of [...entries, 'ring']) {
    rmSync(path.join(layout.home, name), { recursive: true, force: true });
    renameSync(path.join(staging.home, name), path.join(layout.home, name));
    syncFolder(layout.home);
  }
  rmSync(staging.home, { recursive: true, force: true });
  return { layout, made };
}

function refuseOccupied(layout: Layout): void {
  if (existsSync(layout.ring))
    throw new HomeFault(
      'exists',
      `${layout.home} is an ePOST home already; start it with \`epost up --home ${layout.home}\``,
    );
  const found = existsSync(layout.home) ? readdirSync(layout.home) : [];
  const foreign = found.find((name) => !ownNames.has(name));
  if (foreign !== undefined)
    throw new HomeFault('exists', `${layout.home} holds ${foreign} and is not an ePOST home; choose another --home`);
}
