/** Small real disks, where this process may mount some: in memory, or ext4 in a file. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { missing, program } from '../../needs.ts';

const run = (name: string, ...args: readonly string[]): string =>
  execFileSync(program(name), args, { encoding: 'utf8' });

/** Why there are none here, or undefined where there are. `folder` is for the attempt. */
export function cannotMount(folder: string): string | undefined {
  const lacking = missing('mount', 'umount', 'mkfs.ext4', 'losetup');
  if (lacking !== undefined) return lacking;
  if (process.getuid?.() !== 0) return 'only root may mount a disk';
  try {
    new RealDisk(folder, 'ext4').end();
    return undefined;
  } catch {
    return 'this system does not let a disk be mounted';
  }
}

export class RealDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string;
  readonly #device: string | undefined;

  /** Of some MiB, below `folder`. Throws where that is not allowed. */
  constructor(folder: string, kind: 'tmpfs' | 'ext4') {
    this.path = join(folder, 'disk');
    this.#image = join(folder, 'image');
    mkdirSync(this.path);
    if (kind === 'tmpfs') {
      run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', this.path);
      return;
    }
    closeSync(openSync(this.#image, 'w'));
    truncateSync(this.#image, 24 * 1024 * 1024);
    run('mkfs.ext4', '-q', '-F', '-m', '0', this.#image);
    this.#device = run('losetup', '--find', '--show', this.#image).trim();
    this.mount();
  }

  mount(): void {
    run('mount', '-t', 'ext4', this.#device ?? '', this.path);
  }

  unmount(): void {
    run('umount', this.path);
  }

  /** Until nothing goes into it any more. */
  fill(): void {
    const file = openSync(join(this.path, 'filler'), 'w');
    try {
      for (const bytes of [1024 * 1024, 64 * 1024, 4 * 1024]) {
        const piece = Buffer.alloc(bytes, 1);
        try {
          for (;;) writeSync(file, piece);
        } catch (fault) {
          if ((fault as NodeJS.ErrnoException).code !== 'ENOSPC') throw fault;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(join(this.path, 'filler'));
  }

  /** As after an error of the disk: ext4 gives up, and is read-only until it is mounted anew. */
  abort(): void {
    run('mount', '-o', 'remount,abort', this.path);
  }

  /** It is gone, whatever state it was in; nobody may use it any more. */
  end(): void {
    spawnSync(program('umount'), [this.path], { stdio: 'ignore' });
    if (this.#device !== undefined) run('losetup', '--detach', this.#device);
    rmSync(this.#image, { force: true });
    rmSync(this.path, { recursive: true });
  }
}
