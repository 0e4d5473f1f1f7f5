import type { Logger } from 'pino';
import { readGivenFile } from '../config/given-file.ts';
import type { GatewaySection } from '../config/schema.ts';

export interface Login {
  readonly user: string;
  readonly password: string;
}

/**
 * Name and password for the smarthost, or undefined where it asks for none. The password is the first line of a file of its own, read at each new
 * connection, so that a new one is used at once; a file that cannot be read then leaves the last one in use. Throws InputFault where it cannot be read now.
 */
export function smarthostLogin({ delivery }: GatewaySection, log: Logger): (() => Login) | undefined {
  const { smarthostAuth } = delivery;
  if (smarthostAuth === null) return undefined;
  const { user, passwordFile } = smarthostAuth;
  let password = firstLine(passwordFile);
  return () => {
    try {
      password = firstLine(passwordFile);
    } catch (error) {
      log.error(
        { file: passwordFile, error: String(error) },
        'the password of the smarthost cannot be read; the last one stays in use',
      );
    }
    return { user, password };
  };
}

// Longer than any password, short enough for a mistaken file name to be noticed.
const maxBytes = 1_024;

function firstLine(file: string): string {
  return (
    readGivenFile(file, 'the password of the smarthost on its first line', maxBytes)
      .toString('utf8')
      .split(/\r?\n/, 1)[0] ?? ''
  );
}
