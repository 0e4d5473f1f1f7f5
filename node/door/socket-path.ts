import { DoorFault } from './fault.ts';

// sun_path of unix(7) has 108 bytes with the closing zero; longer paths would be cut off silently, or refused as EINVAL.
const maxPathBytes = 107;

/** Throws DoorFault `path-too-long`, with what to do about it. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > maxPathBytes) {
    throw new DoorFault(
      'path-too-long',
      `the path of the node's socket has ${length} bytes and the system allows ${maxPathBytes}; use a home folder with a shorter path: ${path}`,
    );
  }
}
