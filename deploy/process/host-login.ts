import type { HostLogin } from '../../gateway/relay/static-routes.ts';
import { readGivenFile } from '../config/given-file.ts';

export interface LoginLog {
  error(fields: object, message: string): void;
}

/**
 * Name and password for a host that mail goes through. The password is the first line of a file of its own, read at each new connection, so that a new one is
 * used at once; a file that cannot be read then leaves the last one in use. Throws InputFault where it cannot be read now.
 */
export function hostLogin(given: { readonly user: string; readonly passwordFile: string }, log: LoginLog): HostLogin {
  const { user, passwordFile } = given;
  let password = firstLine(passwordFile);
  return {
    user,
    password() {
      try {
        password = firstLine(passwordFile);
      } catch (error) {
        const facts = { file: passwordFile, error: String(error) };
        log.error(facts, 'the password for a mail host cannot be read; the last one stays in use');
      }
      return password;
    },
  };
}

// Longer than any password, short enough for a mistaken file name to be noticed.
const maxBytes = 1_024;

function firstLine(file: string): string {
  const content = readGivenFile(file, 'the password for a mail host on its first line', maxBytes);
  return content.toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}
