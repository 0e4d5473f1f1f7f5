import { parseDomain } from '../../policy/address.ts';
import { parseHostPort } from '../config/schema.ts';
import { maxPortBase } from '../config/template.ts';
import type { Option } from './line.ts';

// The options that several commands share, each said once.

export const homeOption: Option = {
  value: 'DIR',
  help: 'the folder that holds everything (default: $EPOST_HOME, else ./data)',
};
export const jsonOption: Option = { help: 'answer as JSON, for programs' };
export const passphraseOption: Option = {
  value: 'FILE',
  help: 'first line: the pass phrase of the key files (or $EPOST_PASSPHRASE_FILE)',
};

export const setupOptions: Readonly<Record<string, Option>> = {
  home: homeOption,
  domain: {
    value: 'NAME',
    help: 'the mail domain to serve (default: example.org)',
    check: (text) => (parseDomain(text) === undefined ? 'a domain name such as example.org' : undefined),
  },
  hostname: {
    value: 'NAME',
    help: 'the name of this host (default: mx. and the domain)',
    check: (text) => (parseDomain(text) === undefined ? 'a host name such as mx.example.org' : undefined),
  },
  'port-base': { value: 'N', help: 'is added to every default port', check: numberBetween(0, maxPortBase) },
  dns: { value: 'HOST:PORT', help: 'resolver for all mail lookups (default: the system’s)', check: hostPort },
  smarthost: {
    value: 'HOST:PORT',
    help: 'takes all outgoing mail (default: straight to the MX hosts)',
    check: hostPort,
  },
  'mx-port': {
    value: 'N',
    help: 'port of the MX hosts for outgoing mail (default: 25)',
    check: numberBetween(1, 65_535),
  },
  'redis-url': {
    value: 'URL',
    help: 'keep the queue in this Redis instead of the home',
    check: (text) => (/^rediss?:\/\/\S+$/.test(text) ? undefined : 'redis://HOST:PORT/DB'),
  },
  'passphrase-file': passphraseOption,
  json: jsonOption,
};

export function homeOf(values: Readonly<Record<string, string>>, environment: NodeJS.ProcessEnv): string {
  return values['home'] ?? environment['EPOST_HOME'] ?? './data';
}

export function passphraseFileOf(
  values: Readonly<Record<string, string>>,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  // Set and empty is a shell's way to unset it for one command.
  return values['passphrase-file'] ?? (environment['EPOST_PASSPHRASE_FILE'] || undefined);
}

export function numberBetween(least: number, most: number): (text: string) => string | undefined {
  return (text) =>
    /^[0-9]{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most
      ? undefined
      : `a whole number from ${least} to ${most}`;
}

function hostPort(text: string): string | undefined {
  return parseHostPort(text) === undefined ? 'HOST:PORT such as 127.0.0.1:53 or [::1]:53' : undefined;
}
