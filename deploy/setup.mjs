// Makes a fresh clone ready: installs what the lock file names when it is not installed yet. Plain JavaScript, since it
// runs on whatever Node the machine has, before the pinned one is there. Does nothing, in a few ms, on later starts.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const installed = new URL('../node_modules/.package-lock.json', import.meta.url);
const wanted = new URL('../package-lock.json', import.meta.url);
const fresh = existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs;
if (!fresh) {
  const npm = process.env.npm_execpath;
  // Not `npm ci`: it refuses a lock file that lacks the binaries of other platforms, which not every registry mirror has. This installs just what
  // the lock file says too, and leaves it as it is.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  // Standard output stays clean: `npm start -- --json` promises one JSON line there.
  const stdio = ['ignore', 2, 2];
  const done = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio })
    : spawnSync('npm', args, { cwd: root, stdio });
  if (done.status !== 0) {
    process.stderr.write(
      'epost: installing the packages of package-lock.json failed (see above); check the network and run the command again\n',
    );
    process.exit(1);
  }
}
