import { InputFault, problemLine } from '../config/problem.ts';
import { exitCodes } from './line.ts';

export interface FaultAnswer {
  readonly exitCode: number;
  readonly text: string;
  readonly json: unknown;
}

// Codes of faults that a person can do something about, and the exit code each means. Others are failures (1).
const exitCodeOf: Readonly<Record<string, number>> = {
  'not-a-home': exitCodes.badInput,
  exists: exitCodes.badInput,
  'bad-invite': exitCodes.badInput,
  'user-exists': exitCodes.badInput,
  'no-authority': exitCodes.badInput,
  'own-node': exitCodes.badInput,
  'too-many-nodes': exitCodes.badInput,
  'wrong-passphrase': exitCodes.badInput,
  'passphrase-needed': exitCodes.badInput,
  'no-such-user': exitCodes.notFound,
  'no-such-list': exitCodes.notFound,
  'no-such-node': exitCodes.notFound,
  'in-use': exitCodes.unavailable,
  'node-away': exitCodes.unavailable,
  'queue-owned': exitCodes.unavailable,
  EADDRINUSE: exitCodes.unavailable,
  // The overlay cannot listen.
  listen: exitCodes.unavailable,
  EACCES: exitCodes.unavailable,
};

// For faults of parts that do not know how this program is called.
const passphraseHint = ' It is the first line of the file that --passphrase-file or EPOST_PASSPHRASE_FILE names.';
const whatToDo: Readonly<Record<string, string>> = {
  'passphrase-needed': passphraseHint,
  'wrong-passphrase': passphraseHint,
};

/** What to say about a fault, in a sentence or a list of problems, and with which exit code. */
export function faultAnswer(fault: unknown): FaultAnswer {
  if (fault instanceof InputFault) {
    const count = fault.problems.length === 1 ? '1 problem' : `${fault.problems.length} problems`;
    return {
      exitCode: exitCodes.badInput,
      text: `${fault.problems.map(problemLine).join('\n')}\nepost: ${count}; nothing was done\n`,
      json: { code: fault.code, problems: fault.problems },
    };
  }
  if (!(fault instanceof Error))
    return {
      exitCode: exitCodes.failed,
      text: `epost: ${String(fault)}\n`,
      json: { code: 'failed', message: String(fault) },
    };
  const code = (fault as NodeJS.ErrnoException).code ?? 'failed';
  const message = socketSentence(fault) ?? `${fault.message}${whatToDo[code] ?? ''}`;
  // A fault without a code of its own is not foreseen: where it happened helps whoever gets the report.
  const stack = 'code' in fault ? '' : `${fault.stack?.split('\n').slice(1, 6).join('\n') ?? ''}\n`;
  return {
    exitCode: exitCodeOf[code] ?? exitCodes.failed,
    text: `epost: ${message}\n${stack}`,
    json: { code, message },
  };
}

function socketSentence(
  fault: NodeJS.ErrnoException & { readonly address?: string; readonly port?: number },
): string | undefined {
  const place = `${fault.address ?? '*'}:${fault.port ?? '?'}`;
  if (fault.code === 'EADDRINUSE')
    return `port ${place} is in use by another program; stop it, or choose other ports with --port-base or in epost.yaml`;
  if (fault.code === 'EACCES' && fault.syscall === 'listen')
    return `this user may not listen on ${place}; use a port above 1023, or give the right (see README, “Run it as MX”)`;
  if (fault.code === 'EADDRNOTAVAIL') return `this host has no address ${place}; correct the host in epost.yaml`;
  return undefined;
}
